"""docs/tutorials/laptop.md, followed to the letter: it ends with an updated board."""

import shutil
from pathlib import Path

import pytest

from tests.docs.follow_tutorial import PAGE
from tests.docs.pages import blocks
from tests.docs.terminals import followed, matches, pairs
from tests.ports import free_port

needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "make", "curl"))), reason="no bash, make or curl here"
)


def with_free_ports(text: str) -> str:
    for port, other in PORTS.items():
        text = text.replace(f":{port}", f":{other}")
    return text


PORTS = {port: free_port() for port in (8000, 4433, 8032)}


@needs_tools
def test_the_laptop_tutorial_ends_with_an_updated_board_that_refuses_what_it_should(
    checkout: Path,
) -> None:
    with followed(PAGE, checkout, with_free_ports) as terminals:
        servers = [terminal for terminal in terminals.values() if terminal.serves]
        assert len(servers) == 3
        for terminal in servers:
            terminal.interrupt()
        board, agent = terminals["Terminal 4"].log, terminals["Terminal 3"].log
    assert "confirmed: ota_1" in board
    assert [agent.count(f'"outcome": "{word}"') for word in ("sent", "refused")] == [2, 1]
    flash = checkout / "build" / "laptop" / "flash.bin"
    assert flash.stat().st_size == 4 * 1024 * 1024


def test_every_block_of_the_tutorial_is_typed_or_printed() -> None:
    typed = [block for block, _ in pairs(blocks(PAGE))]
    assert all(block.title.startswith("Terminal ") for block in typed)
    assert len(typed) >= 14


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("a\n", "a  \n", True),
        ("a\n", "a\nb\n", False),
        ("a\n...\n", "a\nb\nc\n", True),
        ("...\nc\n", "c\n", True),
        ("a ... c\n", "a b c\n", True),
        ("a ... c\n", "a b\nc\n", False),
    ],
)
def test_what_is_shown_is_what_is_printed(shown: str, printed: str, expected: bool) -> None:
    assert matches(shown, printed) is expected
