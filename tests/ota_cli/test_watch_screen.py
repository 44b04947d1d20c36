"""What `agent --watch` draws, on terminals of every size and from answers of every kind."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from ota_cli.watch.screen import Screen
from ota_cli.watch.sessions import parse_sessions
from ota_cli.watch.view import View
from tests.ota_cli.admin_port import answer, fleet, session

SIZES = [(80, 24), (200, 60), (40, 10), (100, 30), (120, 50), (79, 23), (20, 6), (300, 90), (1, 1)]
NASTY = session(
    board="[red]x[/red]\x1b[2J\x1b]0;t\x07\u202e\u200b\r\n\ud800 \u0301\u0301\u0301 " + "漢字" * 90,
    peer="[2001:db8:1234:5678:9abc:def0:1234:5678]:50123" * 4,
    firmware="\x9b31m" + "thermo" * 40,
    state="sending",
    protocol=2**62,
    bytes=2**62,
    total=2**62,
    bytes_per_s=1e18,
    age_s=1e18,
)
HUGE = answer(
    *[NASTY] * 100,
    agent={
        "version": "9" * 300, "host": "ff02:" * 60, "workers": 2**62, "workers_missing": 2**61,
        "is_finishing": True,
    },
    count=2**62,
    totals=dict.fromkeys(answer()["totals"], 2**62),
    firmware=answer()["firmware"] * 300,
)  # fmt: skip
ANSWERS = {"none": answer(), "few": fleet(5), "many": fleet(400), "huge": HUGE}


def view_of(said: Any) -> View:
    return View("http://127.0.0.1:4434", parse_sessions(said), 100.0)


def drawn(
    view: View, width: int, height: int, *, now: float = 100.0, styles: bool = False, **options: Any
) -> list[str]:
    """The lines of the screen; styles: with their colours."""
    file = io.StringIO()
    console = Console(
        file=file, width=width, height=height, force_terminal=styles, legacy_windows=False,
        color_system="standard" if styles else None, no_color=options.pop("no_color", False),
        _environ={},
    )  # fmt: skip
    clock = datetime(2026, 1, 1, 3, 12, tzinfo=UTC)
    console.print(Screen(view, width, height, **options).picture(now, clock))
    return file.getvalue().removesuffix("\n").split("\n")


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_nothing_folds_or_runs_over_the_edge(size: tuple[int, int], said: Any) -> None:
    width, height = size
    view = view_of(said)
    for trouble in (None, "nothing answers there"):
        view.trouble = trouble
        for is_ascii in (False, True):
            lines = drawn(view, width, height, is_ascii=is_ascii)
            assert len(lines) == height, lines
            assert max(map(cell_len, lines)) <= width, lines
            assert all(line.isprintable() for line in lines), lines
            assert not is_ascii or "".join(lines).isascii(), lines


def test_80_by_24_shows_every_piece_of_every_board_that_fits() -> None:
    lines = drawn(view_of(fleet(400)), 80, 24)
    assert lines[0].split("   ")[:4] == [
        "OTA agent 0.1.0", "3 workers", "0.0.0.0:4433", "up 3h12m",
    ]  # fmt: skip
    assert lines[1] == "serves thermo 2.0.0 ESP32 (default)"
    assert "400 connected" in lines[2]
    assert lines[3].split("   ") == [
        "1,234 sent", "8 failed", "7 refused", "56 up to date", "9 turned away", "1.29 GB",
    ]  # fmt: skip
    assert lines[5].split() == [
        "board", "P", "state", "firmware", "progress", "%", "bytes", "per", "s", "left",
    ]  # fmt: skip
    assert lines[8].split() == [
        "factory-…mo-00002", "2", "sending", "thermo", "2.0.0", "━╸───────", "19%",
        "210", "kB", "2.00", "kB", "6:59",
    ]  # fmt: skip
    assert lines[9].startswith("[2001:db8:1234:5… 2 sending")  # no name yet: its address
    assert lines[23].split() == ["and", "383", "more", "q", "leaves"]


def test_200_by_60_has_room_for_names_addresses_and_words() -> None:
    lines = drawn(view_of(fleet(400)), 200, 60)
    assert lines[3].startswith("since start   1,234 sent")
    assert lines[5].split() == [
        "board", "address", "protocol", "state", "firmware", "progress", "%", "bytes", "rate",
        "left", "age",
    ]  # fmt: skip
    assert "thermo 2.0.0 ESP32 " in lines[7]
    assert "105 kB of 1.05 MB  1.00 kB/s  15:43  41:40" in lines[7]
    assert "factory-7/hall-3" in lines[8]
    assert lines[9].startswith("-    ")
    assert lines[59].startswith("and 347 more ")
    assert max(map(cell_len, lines[6:59])) > 190


def test_40_by_10_keeps_who_what_and_how_far() -> None:
    lines = drawn(view_of(fleet(400)), 40, 10)
    assert lines[5].split() == ["board", "state", "%", "left"]
    assert lines[7].split() == ["24:0a:c4:00:00:01", "sending", "9%", "15:43"]
    assert lines[9].startswith("and 397 more")


def test_all_boards_are_shown_where_they_fit_and_none_is_said_to_be_missing() -> None:
    lines = drawn(view_of(fleet(17)), 80, 24)
    assert all(line for line in lines[6:23])
    assert not any(line.startswith("and ") for line in lines)
    lines = drawn(view_of(answer()), 80, 24)
    assert lines[6] == "no boards connected"
    assert lines[2] == "0 sending at 0 B/s   0 connected"


def test_a_progress_without_an_end_has_no_bar_and_one_of_nothing_is_done() -> None:
    boards = (
        session(board="endless", total=None),
        session(board="nothing", peer="b", bytes=0, total=0, bytes_per_s=0.0),
        session(board="over", peer="c", bytes=9, total=3),
        session(board="stalled", peer="d", bytes_per_s=0.0),
        session(board="waiting", peer="e", state="attesting", bytes=0, total=None, firmware=None),
    )
    endless, nothing, over, stalled, waiting = drawn(view_of(answer(*boards)), 80, 24)[6:11]
    assert endless.split()[5:] == ["524", "kB", "51.2", "kB", "-"]
    assert nothing.split()[5:] == ["━━━━━━━━━", "100%", "0", "B", "0", "B", "-"]
    assert "100%" in over
    assert stalled.split()[6:] == ["50%", "524", "kB", "0", "B", "-"]
    assert waiting.split() == ["waiting", "2", "attesting", "-"]


def test_what_a_board_says_is_neither_markup_nor_a_control_sequence() -> None:
    line = drawn(view_of(answer(NASTY)), 200, 10)[6]
    assert line.startswith("[red]x[/red]\\x1b")
    name = "[red]x[/red]\\x1b[2J\\u202e"
    assert name in drawn(view_of(answer(session(board="[red]x[/red]\x1b[2J\u202e"))), 200, 10)[6]
    name = "x \\x1b[2J\\x07 y "
    assert name in drawn(view_of(answer(session(board="x\r\n\x1b[2J\x07\ty"))), 200, 10)[6]
    for each in "\x1b\x07\u202e\u200b\r\x9b":
        assert each not in line


def test_missing_workers_are_red_and_nothing_is_coloured_without_colours() -> None:
    view = view_of(answer(session(), agent={"workers_missing": 1, "is_finishing": True}))
    first, *rest = drawn(view, 80, 24, styles=True)
    assert "\x1b[1;31m1 of 3 workers missing\x1b[0m" in first
    assert "finishing" in first
    assert any("\x1b[32msending" in line for line in rest)
    plain = "".join(drawn(view, 80, 24, styles=True, no_color=True))
    assert not any(f"\x1b[{code}m" in plain or f";{code}m" in plain for code in range(30, 48))


def test_a_silent_agent_is_said_to_be_silent_and_its_boards_stay_on_the_screen() -> None:
    view = view_of(fleet(10))
    assert drawn(view, 80, 24, now=102.0)[4] == ""
    assert drawn(view, 80, 24, now=112.0)[4] == "no answer for 12 s, trying again"
    view.fail("nothing answers there")
    lines = drawn(view, 80, 24, now=112.0)
    assert lines[4] == "no answer for 12 s, trying again: nothing answers there"
    assert "thermo-0" in lines[6]
    assert drawn(view, 27, 6, now=112.0)[1] == "no answer for 12 s, trying…"
    view.take(parse_sessions(fleet(10)), 113.0)
    assert drawn(view, 80, 24, now=113.0)[4] == ""


def test_rate_and_number_are_of_all_boards_if_the_agent_tells_and_else_at_least_that() -> None:
    cut = {**answer(*[session(peer=f"192.0.2.1:{port}") for port in range(5)]), "count": 900}
    assert drawn(view_of(cut), 80, 24)[2] == "5+ sending at 256 kB/s or more   900 connected"
    told = {**cut, "sending": 800, "bytes_per_s": 4.2e7}
    assert drawn(view_of(told), 80, 24)[2] == "800 sending at 42.0 MB/s   900 connected"


def test_a_catalogue_names_what_fits_and_counts_the_rest() -> None:
    firmware = [
        {**answer()["firmware"][0], "chip": f"ESP32-S{number}", "is_default": not number}
        for number in range(300)
    ]
    said = answer(firmware=firmware)
    assert drawn(view_of(said), 80, 24)[1] == (
        "serves thermo 2.0.0 ESP32-S0 (default), thermo 2.0.0 ESP32-S1 and 298 more"
    )
    assert drawn(view_of(said), 20, 24)[1].endswith("…")
    assert drawn(view_of(answer(firmware=[])), 80, 24)[1] == "no firmware to serve"


def test_an_ipv6_listener_is_in_brackets() -> None:
    assert "   [::]:4433   " in drawn(view_of(answer(agent={"host": "::"})), 80, 24)[0]
