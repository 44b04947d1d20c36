"""What `agent --watch` makes of numbers, and of answers that are not an agent's."""

import copy
import math
from typing import Any

import pytest

from ota_cli.watch.address import admin_url
from ota_cli.watch.amounts import count_text, duration_text, size_text
from ota_cli.watch.cells import Cells
from ota_cli.watch.sessions import WrongField, parse_sessions
from ota_cli.watch.view import View
from tests.ota_cli.admin_port import answer, session


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (999.7, "1.00 kB"), (1000, "1.00 kB"), (9_994, "9.99 kB"),
     (9_996, "10.0 kB"), (99_940, "99.9 kB"), (99_960, "100 kB"), (999_499, "999 kB"),
     (999_501, "1.00 MB"), (1_048_576, "1.05 MB"), (2**63, "9.22 EB")],
)  # fmt: skip
def test_sizes_have_three_digits_and_a_unit(size: float, text: str) -> None:
    assert size_text(size) == text


def test_counts_do_without_a_space() -> None:
    assert [count_text(each) for each in (7, 1234, 12_345_678)] == ["7", "1.23k", "12.3M"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (42.9, "0:42"), (3599, "59:59"), (3600, "1h00m"), (35_999, "9h59m"),
     (36_000, "10h"), (172_799, "47h"), (172_800, "2d"), (1e9, ">999d"), (1e300, ">999d")],
)  # fmt: skip
def test_durations_have_at_most_five_characters(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert len(text) <= 5


def test_a_rate_moves_steadily_and_begins_and_ends_at_once() -> None:
    view = View("", parse_sessions(answer(session(bytes_per_s=1000.0))), 0.0)
    board = view.sessions.sessions[0]
    assert view.rate(board) == view.bytes_per_s == 1000
    rates = []
    for second in range(1, 20):
        view.take(parse_sessions(answer(session(bytes_per_s=2000.0))), float(second))
        rates.append(view.rate(board))
    assert rates == sorted(rates)
    assert 1200 < rates[0] < 1400
    assert 1600 < rates[2] < 1700
    assert rates[-1] == pytest.approx(2000, abs=3)
    assert view.seconds_left(board) == pytest.approx(524_288 / rates[-1])
    view.take(parse_sessions(answer(session(bytes_per_s=0.0))), 20.0)
    assert view.rate(board) == view.bytes_per_s == 0
    assert view.seconds_left(board) is None


def test_the_rate_of_all_is_steady_too_and_never_less_than_that_of_the_boards_listed() -> None:
    boards = [session(peer=f"192.0.2.1:{port}", bytes_per_s=1000.0) for port in range(9)]
    view = View("", parse_sessions(answer(*boards)), 0.0)
    view.take(parse_sessions({**answer(*boards[:4]), "count": 9}), 1.0)  # a smaller screen
    assert (view.sending, view.is_least, view.bytes_per_s) == (4, True, 4000)
    for second in range(2, 4):
        view.take(parse_sessions({**answer(), "sending": 9, "bytes_per_s": 9000.0}), second)
    assert 6000 < view.bytes_per_s < 9000


def test_a_board_that_left_leaves_no_rate_behind() -> None:
    view = View("", parse_sessions(answer(session())), 0.0)
    board = view.sessions.sessions[0]
    view.take(parse_sessions(answer()), 1.0)
    assert view.rate(board) == 0
    assert (view.sending, view.is_least) == (0, False)


WRONG = [
    (("agent",), []), (("agent", "port"), "4433"), (("agent", "port"), True),
    (("agent", "workers"), -1), (("agent", "started"), "yesterday"),
    (("agent", "started"), "2026-11-26T17:00:00"), (("agent", "started"), 5),
    (("agent", "is_finishing"), 0), (("agent", "version"), None),
    (("firmware",), None), (("firmware", 0), "thermo"), (("firmware", 0, "chip"), 9),
    (("totals", "sent"), 1.5), (("totals", "bytes"), 2**70), (("totals",), None),
    (("count",), None), (("sessions",), {}), (("sessions", 0), None),
    (("sessions", 0, "peer"), None), (("sessions", 0, "board"), 17),
    (("sessions", 0, "bytes_per_s"), math.nan), (("sessions", 0, "bytes_per_s"), math.inf),
    (("sessions", 0, "bytes_per_s"), -1), (("sessions", 0, "total"), "1"),
    (("sending",), "all"), (("bytes_per_s",), -5),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), WRONG, ids=str)
def test_a_field_of_another_type_is_named(place: tuple[Any, ...], value: Any) -> None:
    said: Any = copy.deepcopy(answer(session()))
    inner = said
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    name = "".join(f"[{step}]" if type(step) is int else f".{step}" for step in place)
    with pytest.raises(WrongField, match="expected") as found:
        parse_sessions(said)
    assert str(found.value).startswith(f"{name.removeprefix('.')}: expected ")


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_what_is_no_object_is_no_answer(value: Any) -> None:
    with pytest.raises(WrongField, match=r"^expected an object"):
        parse_sessions(value)


def test_what_is_unknown_may_be_null_and_what_is_new_is_let_be() -> None:
    said = answer(session(board=None, protocol=None, firmware=None, total=None, mood="good"))
    found = parse_sessions({**said, "weather": "fine"}).sessions[0]
    assert (found.board, found.protocol, found.firmware, found.total) == (None,) * 4


@pytest.mark.parametrize(
    ("text", "url"),
    [("4434", "http://127.0.0.1:4434"), ("agent.example:80", "http://agent.example:80"),
     ("agent.example", "http://agent.example:4434"), ("[::1]:5", "http://[::1]:5"),
     ("http://agent.example:1/", "http://agent.example:1"),
     ("http://127.0.0.1:1/sessions", "http://127.0.0.1:1"),
     ("", None), ("0", None), ("65536", None), ("99999999", None), ("::1", None),
     ("h:", "http://h:4434"),
     ("a b", None), ("https://h:1", None), ("http://h:1/x", None), ("http://h:1?x", None),
     ("u:p@h:1", None), ("h:x", None), ("٣", None), ("\x1b[2J", None)],
)  # fmt: skip
def test_an_admin_port_is_a_url_or_less(text: str, url: str | None) -> None:
    assert admin_url(text) == url


def test_a_name_is_cut_in_the_middle_and_wide_characters_stay_whole() -> None:
    assert Cells(False).middle_cut("factory-7/hall-3/thermo-00017", 12) == "factor…00017"
    assert Cells(True).middle_cut("factory-7/hall-3/thermo-00017", 12) == "facto..00017"
    assert Cells(False).middle_cut("漢字漢字漢字", 6) == "漢 …字"
    assert Cells(True).end_cut("thermö", 40) == "therm\\xf6"
    assert Cells(False).end_cut("thermo", 1) == "t"
