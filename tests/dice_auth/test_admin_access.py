"""Who may use the admin API, how often, and what the log and the counters say of it."""

import signal
import ssl
from pathlib import Path

import pytest

from dice_auth.admin_tokens import new_token
from tests.dice_auth.administering import (
    FAST,
    Administered,
    Operator,
    Tokens,
    administered,
    write_lines,
)
from tests.dice_auth.boards import board
from tests.dice_auth.certificates import CertificateAuthority
from tests.dice_auth.server_process import server_process, wait_until

FIRST = board(1)
# Paths and methods of all kinds, one that is not there among them.
EVERYTHING = (
    ("GET", "/boards"), ("POST", "/boards"), ("POST", "/batches"), ("GET", "/boards/x"),
    ("PATCH", "/boards/x"), ("DELETE", "/boards/x"), ("PUT", "/boards/x/revocation"),
    ("DELETE", "/boards/x/revocation"), ("GET", "/nothing"), ("PUT", "/openapi.json"),
)  # fmt: skip


def test_without_tokens_there_is_no_admin_api(sqlite_url: str, tmp_path: Path) -> None:
    with server_process(sqlite_url, tmp_path) as server:
        for path in ("/api/v1/boards", "/api/v1/openapi.json", "/api/v1", "/api"):
            assert server.exchange("GET", path) == (404, "Not found")
        # Nor is what it is made of loaded.
        assert "pydantic_core" not in Path(f"/proc/{server.process.pid}/maps").read_text()


def test_nobody_is_served_without_a_token_that_counts(sqlite_administration: Administered) -> None:
    found = sqlite_administration
    stored = found.tokens.path.read_text().split("sha256:")[1][:64]
    for token in (None, "", " ", "x" * 43, found.tokens.write[:-1], stored, f"sha256:{stored}"):
        operator = Operator(found.server.port, token)
        for method, path in EVERYTHING:
            refused = operator.ask(method, path)
            assert (refused.status, refused.check) == (401, "token")
            assert refused.headers["www-authenticate"].startswith("Bearer realm=")
        operator.close()
    with found.operator(None) as operator:
        for header in (f"Basic {found.tokens.write}", found.tokens.write):
            headers = {"Authorization": header}
            assert operator.ask("GET", "/boards", headers=headers).check == "token"
        assert operator.ask("GET", f"/boards?access_token={found.tokens.write}").status == 401
    with found.operator() as operator:
        assert operator.get("/boards").json["boards"] == []


def test_a_token_for_reading_writes_nothing(sqlite_administration: Administered) -> None:
    found = sqlite_administration
    with found.operator() as operator:
        operator.enrol(FIRST.board_id)
    with found.operator(found.tokens.read) as operator:
        before = operator.get("/boards").json
        assert operator.get(f"/boards/{FIRST.board_id}").status == 200
        for method, path in EVERYTHING:
            if method != "GET":
                refused = operator.ask(method, path.replace("x", FIRST.board_id), {})
                assert (refused.status, refused.check) == (403, "scope")
                assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
        assert operator.get("/boards").json == before


def test_the_document_is_anybodys(sqlite_administration: Administered) -> None:
    with sqlite_administration.operator(None) as anybody:
        document = anybody.get("/openapi.json").json
        assert document["openapi"].startswith("3.1")
        paths = {path.removeprefix("/api/v1") for path in document["paths"]}
        assert paths == {
            "/boards", "/boards/{board_id}", "/boards/{board_id}/revocation", "/batches",
            "/openapi.json",
        }  # fmt: skip


@pytest.mark.parametrize("by_signal", [False, True])
def test_tokens_are_taken_up_and_given_up_without_restart(
    sqlite_url: str, tmp_path: Path, by_signal: bool
) -> None:
    with administered(sqlite_url, tmp_path, "--workers", "2", *FAST) as found:
        text, stored = new_token("second", "read")

        def statuses(token: str) -> set[int]:
            """Of both workers, in all likelihood."""
            answers = set()
            for _ in range(8):
                with found.operator(token) as operator:
                    answers.add(operator.get("/boards").status)
            return answers

        def tell() -> None:
            if by_signal:
                found.server.process.send_signal(signal.SIGHUP)

        assert statuses(text) == {401}
        write_lines(found.tokens.path, stored)
        tell()
        wait_until(lambda: statuses(text) == {200}, 5)
        wait_until(lambda: statuses(found.tokens.write) == {401}, 5)
        found.tokens.path.write_text("a mistake\n")
        tell()
        wait_until(lambda: len(found.server.events("not-reloaded")) >= 2, 5)
        assert statuses(text) == {200}
        reason = str(found.server.events("not-reloaded")[0]["reason"])
        assert reason.endswith("line 1: expected NAME SCOPE sha256: and 64 hex digits")
        found.tokens.path.unlink()
        tell()
        wait_until(lambda: statuses(text) == {401}, 5)


def test_tokens_do_not_cross_a_network_in_the_clear(sqlite_url: str, tmp_path: Path) -> None:
    ca = CertificateAuthority(tmp_path, "ca")
    files = ca.issue("server")
    tls = ("--cert", str(files.certificate), "--key", str(files.key))
    for options, is_open in (((), False), (("--plain-http",), True), (tls, True)):
        with administered(sqlite_url, tmp_path, "--listen", "0.0.0.0:0", *options) as found:
            context = None
            if options == tls:
                context = ssl.create_default_context(cafile=str(ca.certificate))
            operator = Operator(found.server.port, found.tokens.write, context)
            answer = operator.get("/boards")
            if is_open:
                assert answer.status == 200
            else:
                assert (answer.status, answer.check) == (403, "transport")
                assert operator.get("/openapi.json").check == "transport"
            assert len(found.server.events("no-admin-api")) == (0 if is_open else 1)
            operator.close()


def test_too_many_requests_are_told_when_to_come_back(sqlite_url: str, tmp_path: Path) -> None:
    """Rate 5: ten requests at once, five of them writes."""
    with administered(sqlite_url, tmp_path, "--admin-rate", "5") as found:
        with found.operator(found.tokens.read) as reader, found.operator() as writer:
            reads = [reader.get("/boards") for _ in range(14)]
            assert [each.status for each in reads[:10]] == [200] * 10
            late = [each for each in reads if each.status != 200]
            assert late
            assert {each.check for each in late} == {"rate"}
            assert all(1 <= int(each.headers["retry-after"]) <= 2 for each in late)
            writes = [writer.remove("nobody").status for _ in range(8)]
            assert writes[:5] == [404] * 5
            assert 429 in writes[5:]
        with found.operator("x" * 43) as stranger, found.operator(found.tokens.write) as writer:
            statuses = [stranger.get("/boards").status for _ in range(4)]
            assert statuses[0] == 401
            assert statuses[-1] == 429
            # Whoever has a token is not kept out by others at its address.
            wait_until(lambda: writer.get("/boards").status == 200, 3)
        assert found.server.counters()['dice_auth_admin_refused_total{check="rate"}'] >= 4


def test_every_write_is_a_line_that_says_who_what_and_what_came_of_it(
    registry_url: str, tmp_path: Path
) -> None:
    with administered(registry_url, tmp_path, *FAST) as found:
        with found.operator() as operator:
            operator.enrol(FIRST.board_id)
            operator.enrol(FIRST.board_id)
            operator.change(FIRST.board_id, {"application": "thermo"})
            operator.change(FIRST.board_id, {"application": "door"}, '"stale"')
            operator.revoke(FIRST.board_id, "stolen")
            operator.reinstate(FIRST.board_id)
            operator.remove(FIRST.board_id)
            operator.ask("POST", "/batches", {"boards": [{"id": FIRST.board_id}]})
            operator.ask("POST", "/boards", b"{")
            operator.get("/boards")
        with found.operator(found.tokens.read) as operator:
            operator.remove(FIRST.board_id)
        with found.operator("no-such-token-anywhere") as operator:
            operator.remove(FIRST.board_id)
        lines = found.server.events("admin-write")
        assert {line["token"] for line in lines} == {"ops"}
        assert all(str(line["peer"]).startswith("127.0.0.1:") for line in lines)
        assert [(line["action"], line["result"], line["status"]) for line in lines] == [
            ("enrol", "enrolled", 201), ("enrol", "unchanged", 200), ("change", "changed", 200),
            ("change", "precondition", 412), ("revoke", "revoked", 201),
            ("reinstate", "reinstated", 204), ("remove", "removed", 204),
            ("enrol-batch", "1 enrolled", 200), (None, "malformed", 400),
        ]  # fmt: skip
        boards = [line["board"] for line in lines]
        assert boards == [FIRST.board_id] * 7 + [[FIRST.board_id], None]
        refused = found.server.events("admin-refused")
        assert [(line["token"], line["failed"]) for line in refused] == [
            ("viewer", "scope"), (None, "token"),
        ]  # fmt: skip
        counters = found.server.counters()
        assert counters["dice_auth_admin_reads_total"] == 1
        for action, count in {
            "enrol": 1,
            "enrol-batch": 1,
            "change": 1,
            "remove": 1,
            "revoke": 1,
        }.items():
            assert counters[f'dice_auth_admin_writes_total{{action="{action}"}}'] == count
        assert counters['dice_auth_admin_refused_total{check="scope"}'] == 1
        assert counters['dice_auth_admin_refused_total{check="token"}'] == 1
        log = found.server.log.read_text()
        assert found.tokens.write not in log
        assert "no-such-token-anywhere" not in log


def test_a_registry_that_does_not_answer_is_503(sqlite_administration: Administered) -> None:
    path = sqlite_administration.tokens.path.parent / "registry.db"
    with sqlite_administration.operator() as operator:
        path.rename(path.with_suffix(".away"))
        for answer in (
            operator.get("/boards"), operator.enrol(FIRST.board_id), operator.remove("x"),
            operator.revoke("x", "stolen"), operator.change("x", {}),
        ):  # fmt: skip
            assert (answer.status, answer.check) == (503, "registry")
            assert int(answer.headers["retry-after"]) > 0
        path.with_suffix(".away").rename(path)
        assert operator.get("/boards").status == 200


def test_a_head_has_no_body_and_the_headers(sqlite_administration: Administered) -> None:
    with sqlite_administration.operator() as operator:
        enrolled = operator.enrol(FIRST.board_id)
        answer = operator.ask("HEAD", f"/boards/{FIRST.board_id}")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["etag"] == enrolled.headers["etag"]
        assert operator.get("/boards").status == 200  # the connection goes on


def test_the_file_has_no_token(tmp_path: Path) -> None:
    tokens = Tokens.made_in(tmp_path)
    assert tokens.write not in tokens.path.read_text()
    assert tokens.read not in tokens.path.read_text()
