"""The admin API's boards, on both registries."""

import json
from base64 import b64encode
from collections.abc import Iterator

import pytest

from dice import certificate
from tests.dice_auth.administering import Administered, Answer, Operator
from tests.dice_auth.boards import board
from tests.dice_auth.server_process import wait_until

FIRST, SECOND, THIRD = board(1), board(2), board(3)
STRANGE_IDS = (
    "lab/7",
    "a/revocation",
    "tür 7 ☃",
    "%2F",
    "a%20b",
    "?x=1#y",
    "..",
    "boards",
    "+",
    "a;b",
)


@pytest.fixture(params=["sqlite", "redis"])
def administration(request: pytest.FixtureRequest) -> Administered:
    """A server of this module's, without boards."""
    if request.param == "redis":
        request.getfixturevalue("redis_peer")
    found: Administered = request.getfixturevalue(f"{request.param}_administration")
    return found


@pytest.fixture
def operator(administration: Administered) -> Iterator[Operator]:
    with administration.operator() as found:
        yield found


@pytest.fixture
def sqlite_operator(sqlite_administration: Administered) -> Iterator[Operator]:
    with sqlite_administration.operator() as found:
        yield found


def pages(operator: Operator, query: str) -> Iterator[list[str]]:
    """The ids of each page, to the last."""
    cursor = ""
    for _ in range(200):
        answer = operator.get(f"/boards?{query}" + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status == 200, answer.body
        yield [each["id"] for each in answer.json["boards"]]
        if (cursor := answer.json["next"]) is None:
            return
    raise AssertionError("pages without an end")


def ids(operator: Operator, query: str) -> list[str]:
    return sorted(each for page in pages(operator, query) for each in page)


def test_a_board_is_enrolled_shown_and_judged_from_then_on(
    administration: Administered, operator: Operator
) -> None:
    assert administration.server.ask(FIRST.pem) in (401, 503)  # Redis: not indexed yet
    enrolled = operator.enrol(FIRST.board_id, application="thermo", labels={"site": "lab"})
    assert enrolled.status == 201
    assert enrolled.headers["location"] == f"/api/v1/boards/{FIRST.board_id}"
    assert administration.server.ask(FIRST.pem) == 200
    shown = operator.get(f"/boards/{FIRST.board_id}")
    assert shown.json == enrolled.json
    assert shown.headers["etag"] == enrolled.headers["etag"] == f'"{shown.json["revision"]}"'
    assert shown.headers["cache-control"] == "no-store"
    assert shown.json | {"enrolled_at": None, "revision": None} == {
        "id": FIRST.board_id, "key_id": FIRST.key_id.hex(), "root": FIRST.root_pem,
        "state": "active", "revoked_at": None, "reason": None,
        "application": "thermo", "labels": {"site": "lab"}, "enrolled_at": None,
        "first_seen": None, "last_seen": None, "last_verdict": None, "last_version": None,
        "revision": None,
    }  # fmt: skip


def test_enrolling_again_changes_nothing_or_is_refused(operator: Operator) -> None:
    labels = {"site": "lab", "line": "3"}
    first = operator.enrol(FIRST.board_id, application="thermo", labels=labels)
    again = operator.enrol(FIRST.board_id)
    turned = operator.enrol(FIRST.board_id, labels=dict(reversed(labels.items())))
    assert (first.status, again.status, turned.status) == (201, 200, 200)
    assert first.json == again.json == turned.json
    for other in (
        {"application": "door"}, {"labels": {}}, {"labels": labels | {"site": "hall"}},
        {"labels": labels | {"more": ""}}, {"root": SECOND.root_pem},
    ):  # fmt: skip
        refused = operator.enrol(FIRST.board_id, **other)
        assert (refused.status, refused.check) == (409, "already-enrolled"), other
    refused = operator.enrol("another name", root=FIRST.root_pem)
    assert (refused.status, refused.check) == (409, "already-enrolled")
    assert operator.get(f"/boards/{FIRST.board_id}").json == first.json


def test_a_root_is_taken_as_pem_and_as_base64(operator: Operator) -> None:
    assert operator.enrol("pem", root=FIRST.root_pem).status == 201
    assert operator.enrol("base64", root=b64encode(SECOND.root).decode()).status == 201
    assert operator.get("/boards/base64").json["root"] == SECOND.root_pem


@pytest.mark.parametrize(
    ("board_id", "more"),
    [
        ("no MAC address", {}),
        ("door", {"root": "nothing"}),
        ("door", {"root": ""}),
        ("door", {"root": certificate.to_pem(FIRST.certificate)}),
        ("", {"root": FIRST.root_pem}),
        ("x" * 129, {"root": FIRST.root_pem}),
        ("a\nb", {"root": FIRST.root_pem}),
        ("a\ud800b", {"root": FIRST.root_pem}),
        (FIRST.board_id, {"application": "x" * 65}),
        (FIRST.board_id, {"labels": {"": "x"}}),
        (FIRST.board_id, {"labels": {f"n{number}": "" for number in range(17)}}),
        (FIRST.board_id, {"labels": ["site"]}),
        (FIRST.board_id, {"application": 7}),
        (FIRST.board_id, {"uds": "00" * 32}),
    ],
)
def test_what_is_no_board_is_refused(sqlite_operator: Operator, board_id: str, more: dict) -> None:  # type: ignore[type-arg]
    refused = sqlite_operator.enrol(board_id, **more)
    assert (refused.status, refused.check) == (422, "content")
    assert ids(sqlite_operator, "limit=9") == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "check"),
    [
        (b"{", {}, 400, "malformed"),
        (b"", {}, 422, "content"),
        (b"[" * 15_000, {}, 400, "malformed"),
        (b"\xff", {}, 400, "malformed"),
        (b'{"id": "x"}', {"Content-Type": "text/plain"}, 415, "media-type"),
        (b'{"id": "x"}', {"Content-Encoding": "gzip"}, 415, "media-type"),
        (b" " * 20_000, {}, 413, "too-large"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    sqlite_operator: Operator, body: bytes, headers: dict[str, str], status: int, check: str
) -> None:
    refused = sqlite_operator.ask("POST", "/boards", body, headers)
    assert (refused.status, refused.check) == (status, check)


def test_an_error_names_the_members_it_is_about(sqlite_operator: Operator) -> None:
    refused = sqlite_operator.enrol(FIRST.board_id, labels={"site": 7}, colour="red")
    assert refused.status == 422
    assert [each["at"] for each in refused.json["errors"]] == ["body.labels.site", "body.colour"]


def test_ids_of_any_kind_have_a_path(operator: Operator) -> None:
    for number, board_id in enumerate(STRANGE_IDS, 10):
        enrolled = operator.enrol(board_id, root=board(number).root_pem)
        assert enrolled.status == 201, board_id
        path = enrolled.headers["location"].removeprefix("/api/v1")
        assert operator.get(path).json["id"] == board_id
        assert operator.revoke(board_id, "stolen").status == 201
        assert operator.reinstate(board_id).status == 204
    assert ids(operator, "limit=3") == sorted(STRANGE_IDS)
    for board_id in STRANGE_IDS:
        assert operator.remove(board_id).status == 204
    assert ids(operator, "limit=3") == []


def test_a_path_that_is_no_text_is_refused(sqlite_operator: Operator) -> None:
    for path in ("/boards/%ff", "/boards/%ed%a0%80"):
        refused = sqlite_operator.get(path)
        assert (refused.status, refused.check) == (400, "malformed")
    for path in ("/", "/boards/", "/boards/a/b", "/boardsx", "/boards//revocation", "/openapi"):
        refused = sqlite_operator.get(path)
        assert (refused.status, refused.check) == (404, "not-found"), path
    refused = sqlite_operator.ask("POST", "/boards/a", {})
    assert (refused.status, refused.check) == (405, "method")
    assert refused.headers["allow"] == "DELETE, GET, HEAD, PATCH"


def test_pages_together_have_every_board_and_none_is_too_long(operator: Operator) -> None:
    boards = [
        {"id": f"board {number:03}", "root": board(number).root_pem} for number in range(1, 99)
    ]
    answer = operator.ask("POST", "/batches", {"boards": boards})
    assert answer.json == {"enrolled": 98, "unchanged": 0}
    expected = sorted(each["id"] for each in boards)
    for limit in (1, 7, 98, 200):
        found = list(pages(operator, f"limit={limit}"))
        assert max(map(len, found)) <= limit
        assert sorted(each for page in found for each in page) == expected, limit
    assert "root" not in operator.get("/boards?limit=1").json["boards"][0]


def test_a_list_can_be_of_some_boards_only(operator: Operator) -> None:
    operator.enrol(FIRST.board_id, application="thermo", labels={"site": "lab=1"})
    operator.enrol(SECOND.board_id, application="door", labels={"site": "hall"})
    operator.revoke(SECOND.board_id, "stolen")
    for query, expected in (
        ("application=thermo", [FIRST]), ("label=site%3Dlab%3D1", [FIRST]),
        ("state=revoked", [SECOND]), ("state=active", [FIRST]),
        ("state=revoked&application=thermo", []), ("label=x%3D", []),
    ):  # fmt: skip
        assert ids(operator, f"{query}&limit=1") == [each.board_id for each in expected], query
    for query in ("limit=0", "limit=201", "limit=x", "state=lost", "label=site", "limt=1"):
        assert operator.get(f"/boards?{query}").check == "content", query
    for cursor in ("x", "*", "eA==", "////"):
        assert operator.get(f"/boards?cursor={cursor}").check == "malformed", cursor


def test_a_batch_is_enrolled_whole_or_not_at_all(operator: Operator) -> None:
    good = [{"id": each.board_id} for each in (FIRST, SECOND)]
    for bad in ({"id": "no MAC"}, {"id": FIRST.board_id}, {"id": "x", "root": FIRST.root_pem}):
        refused = operator.ask("POST", "/batches", {"boards": [*good, bad]})
        assert refused.status in (409, 422), bad
        assert ids(operator, "limit=9") == []
    operator.enrol(FIRST.board_id)
    assert operator.ask("POST", "/batches", {"boards": good}).json == {
        "enrolled": 1, "unchanged": 1,
    }  # fmt: skip
    assert operator.ask("POST", "/batches", {"boards": []}).check == "content"
    assert operator.ask("POST", "/batches", {"boards": good * 251}).check == "content"
    large = operator.ask("POST", "/batches", b" " * 800_000)
    assert (large.status, large.check) == (413, "too-large")


def test_a_large_batch_fits(operator: Operator) -> None:
    """500 roots as PEM are some 600 KB."""
    boards = [
        {"id": f"{number}", "root": board(number % 200 + 1).root_pem, "labels": {"n": str(number)}}
        for number in range(500)
    ]
    assert 500_000 < len(json.dumps({"boards": boards})) < 786_432
    refused = operator.ask("POST", "/batches", {"boards": boards})
    assert (refused.status, refused.check) == (409, "already-enrolled")  # read to its end


def test_a_board_is_changed_by_what_is_given_alone(operator: Operator) -> None:
    operator.enrol(
        "door", root=FIRST.root_pem, application="door", labels={"site": "lab", "line": "3"}
    )
    changed = operator.change("door", {"labels": {"line": None, "floor": "2"}})
    assert changed.json["labels"] == {"site": "lab", "floor": "2"}
    assert changed.json["application"] == "door"
    changed = operator.change("door", {"application": None, "labels": None})
    assert (changed.json["application"], changed.json["labels"]) == ("", {})
    changed = operator.change("door", {"root": SECOND.root_pem})
    assert changed.json["key_id"] == SECOND.key_id.hex()
    assert operator.change("door", {}).json == changed.json
    assert operator.get("/boards/door").json == changed.json
    assert operator.change("door", {"labels": {f"n{n}": "" for n in range(17)}}).check == "content"
    assert operator.change("door", {"root": None}).check == "content"
    assert operator.change("door", {"root": "x"}).check == "content"
    assert operator.change("nobody", {}).check == "not-enrolled"


def test_a_root_that_is_revoked_or_taken_is_given_to_nobody(operator: Operator) -> None:
    operator.enrol("first", root=FIRST.root_pem)
    operator.enrol("second", root=SECOND.root_pem)
    operator.enrol("third", root=THIRD.root_pem)
    refused = operator.change("first", {"root": SECOND.root_pem})
    assert (refused.status, refused.check) == (409, "already-enrolled")
    operator.revoke("third", "stolen")
    assert operator.change("third", {"application": "door"}).status == 200
    operator.remove("third")
    refused = operator.change("first", {"root": THIRD.root_pem})
    assert (refused.status, refused.check) == (409, "revoked")
    assert operator.enrol("fourth", root=THIRD.root_pem).check == "revoked"
    assert operator.get("/boards/first").json["root"] == FIRST.root_pem


def test_a_change_needs_a_revision_and_the_right_one(operator: Operator) -> None:
    enrolled = operator.enrol(FIRST.board_id)
    old = enrolled.headers["etag"]
    missing = operator.ask("PATCH", f"/boards/{FIRST.board_id}", {"application": "x"})
    assert (missing.status, missing.check) == (428, "precondition-required")
    changed = operator.change(FIRST.board_id, {"application": "x"}, old)
    assert changed.status == 200
    new = changed.headers["etag"]
    assert new != old
    weak = f"W/{new}"
    for stale in (old, weak, '"nothing"', f"{old}, {old}", f"{old}, {weak}", '"W/"'):
        for refused in (
            operator.change(FIRST.board_id, {"application": "y"}, stale),
            operator.remove(FIRST.board_id, **{"If-Match": stale}),
            operator.revoke(FIRST.board_id, "stolen", **{"If-Match": stale}),
        ):
            assert (refused.status, refused.check) == (412, "precondition"), stale
            assert "changed meanwhile" in refused.json["detail"] or stale == weak, stale
            assert ("weak entity tags" in refused.json["detail"]) == (weak in stale), stale
    for wrong in ("nothing", '"', "", '* , "x"', new[:-1]):
        assert operator.change(FIRST.board_id, {}, wrong).check == "malformed", wrong
    assert operator.get(f"/boards/{FIRST.board_id}").json == changed.json
    assert operator.remove(FIRST.board_id, **{"If-Match": f"{old}, {new}"}).status == 204


def test_what_is_seen_of_a_board_is_no_change_of_it(
    administration: Administered, operator: Operator
) -> None:
    revision = operator.enrol(FIRST.board_id).headers["etag"]
    assert administration.server.ask(FIRST.pem) == 200
    path = f"/boards/{FIRST.board_id}"
    wait_until(lambda: operator.get(path).json["last_verdict"] == "accepted", 15)
    assert operator.get(path).headers["etag"] == revision


def test_a_revoked_board_is_refused_until_it_is_taken_back(
    administration: Administered, operator: Operator
) -> None:
    def outcome(answer: Answer) -> tuple[int, str]:
        return answer.status, answer.check if answer.status >= 400 else ""

    operator.enrol(FIRST.board_id)
    assert outcome(operator.reinstate(FIRST.board_id)) == (404, "not-revoked")
    assert outcome(operator.revoke("nobody", "stolen")) == (404, "not-enrolled")
    assert outcome(operator.revoke(FIRST.board_id, "")) == (422, "content")
    first = operator.revoke(FIRST.board_id, "stolen")
    again = operator.revoke(FIRST.board_id, "stolen")
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert outcome(operator.revoke(FIRST.board_id, "lost")) == (409, "already-revoked")
    assert administration.server.ask(FIRST.pem) == 401
    shown = operator.get(f"/boards/{FIRST.board_id}").json
    assert (shown["state"], shown["reason"]) == ("revoked", "stolen")
    assert shown["revoked_at"] == first.json["revoked_at"]

    assert operator.remove(FIRST.board_id).status == 204
    assert outcome(operator.remove(FIRST.board_id)) == (404, "not-enrolled")
    assert outcome(operator.enrol(FIRST.board_id)) == (409, "revoked")
    assert operator.reinstate(FIRST.board_id).status == 204
    assert operator.enrol(FIRST.board_id).status == 201
    assert administration.server.ask(FIRST.pem) == 200
