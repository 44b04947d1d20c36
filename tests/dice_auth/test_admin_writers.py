"""Several who write at once, over the admin API and with commands: nothing that was acknowledged is
lost, and nothing is left half done."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.dice_auth.administering import FAST, Administered, Answer, Operator, administered
from tests.dice_auth.boards import board
from tests.dice_auth.server_process import COMMAND

_OPERATORS = 5
_COMMANDERS = 5
_ROUNDS = 6
SHARED = "shared"


class Writers:
    """A server of two workers, and what goes round it to the same registry."""

    def __init__(self, administration: Administered, url: str) -> None:
        self.administration = administration
        self._url = url

    def command(self, *words: str) -> bool:
        """Whether the command did it. Whatever else goes wrong is a failure."""
        done = subprocess.run(
            [COMMAND, *words, "--registry", self._url],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        assert done.returncode == 0 or " is not " in done.stderr, done.stderr
        return done.returncode == 0

    def boards(self) -> dict[str, dict[str, object]]:
        """What the command line finds in the registry."""
        done = subprocess.run(
            [COMMAND, "list", "--json", "--registry", self._url],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return {each["id"]: each for each in json.loads(done.stdout)}


@pytest.fixture
def writers(registry_url: str, tmp_path: Path) -> Iterator[Writers]:
    with administered(registry_url, tmp_path, "--workers", "2", *FAST) as found:
        yield Writers(found, registry_url)
        assert found.server.counters()["dice_auth_registry_faults_total"] == 0


def together(*works: Callable[[], None]) -> None:
    """All of them at once; raises what one of them raises."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], None]) -> None:
        barrier.wait(30)
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(begin, work) for work in works]:
            future.result()


def acknowledged(answer: Answer, *statuses: int) -> Answer:
    assert answer.status in statuses, answer.body
    return answer


def test_ten_writers_lose_nothing(writers: Writers, tmp_path: Path) -> None:
    """Each has boards of its own, and all of them one that they share: operators count in a label
    by what they have read, and set labels of their own; commands set the application, revoke and
    reinstate."""
    expected: dict[str, tuple[str, str]] = {}  # id -> state, application
    counted: list[int] = []
    with writers.administration.operator() as operator:
        acknowledged(operator.enrol(SHARED, root=board(200).root_pem, labels={"count": "0"}), 201)

    def operate(number: int) -> None:
        with writers.administration.operator() as operator:
            for turn in range(_ROUNDS):
                name, root = (
                    f"operator {number} {turn}",
                    board(number * _ROUNDS + turn + 1).root_pem,
                )
                acknowledged(operator.enrol(name, root=root), 201)
                acknowledged(operator.change(name, {"application": f"of {turn}"}), 200)
                expected[name] = "active", f"of {turn}"
                if turn % 3 == 1:
                    acknowledged(operator.revoke(name, f"lost {turn}"), 201)
                    expected[name] = "revoked", f"of {turn}"
                if turn % 4 == 3:
                    acknowledged(operator.remove(name), 204)
                    del expected[name]
                _count(operator, counted)
            acknowledged(operator.change(SHARED, {"labels": {f"of {number}": "done"}}), 200)

    def command(number: int) -> None:
        name, root = f"command {number}", tmp_path / f"{number}.pem"
        root.write_text(board(100 + number).root_pem)
        assert writers.command("submit", name, "--root", str(root), "--application", "first")
        expected[name] = "active", "first"
        root.write_text(board(200).root_pem)
        assert writers.command("submit", SHARED, "--root", str(root), "--application", name)
        if number % 2:
            assert writers.command("revoke", name, "--reason", "stolen")
            expected[name] = "revoked", "first"
        else:
            assert writers.command("del", name)
            del expected[name]

    together(
        *(lambda number=number: operate(number) for number in range(_OPERATORS)),  # type: ignore[misc]
        *(lambda number=number: command(number) for number in range(_COMMANDERS)),  # type: ignore[misc]
    )
    found = writers.boards()
    shared = found.pop(SHARED)
    assert {name: (each["state"], each["application"]) for name, each in found.items()} == expected
    assert len(counted) == _OPERATORS * _ROUNDS
    labels = {f"of {number}": "done" for number in range(_OPERATORS)}
    assert shared["labels"] == labels | {"count": str(len(counted))}
    assert shared["application"] in {f"command {number}" for number in range(_COMMANDERS)}
    lines = writers.administration.server.events("admin-write")
    assert {line["status"] for line in lines} <= {200, 201, 204, 412}
    with writers.administration.operator() as operator:
        for name in found:
            shown = operator.get(f"/boards/{name.replace(' ', '%20')}").json
            assert {key: shown[key] for key in found[name]} == found[name]


def _count(operator: Operator, counted: list[int]) -> None:
    """One more, by reading and writing, until nobody came between."""
    while True:
        seen = acknowledged(operator.get(f"/boards/{SHARED}"), 200)
        count = int(seen.json["labels"]["count"]) + 1
        change = {"labels": {"count": str(count)}}
        if (
            acknowledged(operator.change(SHARED, change, seen.headers["etag"]), 200, 412).status
            == 200
        ):
            counted.append(count)
            return


def test_of_those_who_have_seen_the_same_one_wins(writers: Writers) -> None:
    """Each round the same revision for all: changes, a revocation, a removal."""
    rounds = 12
    winners: list[str] = []
    barrier = threading.Barrier(4)

    def race(number: int) -> None:
        with writers.administration.operator() as operator:
            for turn in range(rounds):
                name = f"raced {turn}"
                if number == 0:
                    acknowledged(operator.enrol(name, root=board(turn + 1).root_pem), 201)
                barrier.wait(30)
                tag = operator.get(f"/boards/raced%20{turn}").headers["etag"]
                barrier.wait(30)
                headers = {"If-Match": tag}
                if number == 3 and turn % 2:
                    answer = operator.remove(name, **headers)
                elif number == 3:
                    answer = operator.revoke(name, "stolen", **headers)
                else:
                    answer = operator.change(name, {"application": f"of {number}"}, tag)
                if acknowledged(answer, 200, 201, 204, 404, 412).status < 300:
                    winners.append(f"{name} {number}")

    together(*(lambda number=number: race(number) for number in range(4)))  # type: ignore[misc]
    assert sorted(winner.rsplit(" ", 1)[0] for winner in winners) == sorted(
        f"raced {turn}" for turn in range(rounds)
    )
    found = writers.boards()
    for winner in winners:
        name, number = winner.rsplit(" ", 1)
        turn = int(name.split()[1])
        if number != "3":
            assert found[name]["application"] == f"of {number}"
            assert found[name]["state"] == "active"
        elif turn % 2:
            assert name not in found
        else:
            assert (found[name]["state"], found[name]["application"]) == ("revoked", "")


def test_a_command_makes_what_was_seen_before_it_stale(writers: Writers, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_text(board(1).root_pem)
    other = tmp_path / "other.pem"
    other.write_text(board(2).root_pem)
    submit = ("submit", "door", "--root")
    with writers.administration.operator() as operator:
        assert writers.command(*submit, str(root))
        for words in (
            (*submit, str(root), "--label", "site=lab"),
            (*submit, str(other), "--replace"),
            ("revoke", "door", "--reason", "stolen"),
            ("revoke", "door", "--undo"),
        ):
            tag = operator.get("/boards/door").headers["etag"]
            assert writers.command(*words)
            refused = operator.change("door", {"application": "x"}, tag)
            assert (refused.status, refused.check) == (412, "precondition"), words
        assert operator.get("/boards/door").json["application"] == ""


def test_all_who_enrol_one_root_at_once_agree_whose_it_is(writers: Writers) -> None:
    won: list[str] = []

    def enrol(number: int) -> None:
        with writers.administration.operator() as operator:
            for turn in range(5):
                name = f"{number} {turn}"
                answer = operator.enrol(name, root=board(turn + 1).root_pem)
                if acknowledged(answer, 201, 409).status == 201:
                    won.append(name)

    together(*(lambda number=number: enrol(number) for number in range(6)))  # type: ignore[misc]
    assert sorted(name.split()[1] for name in won) == [str(turn) for turn in range(5)]
    assert set(writers.boards()) == set(won)
