"""A page that describes a part, and what its blocks need to be typed: a terminal in a folder."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests import world
from tests.docs.pages import DOCS, Block, blocks
from tests.docs.terminals import Terminal

BIN = Path(sys.executable).parent

needs_a_shell = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("bash", "curl")), reason="no bash or curl here"
)


class Page:
    """name: in docs/. covered: the first words of every block, in the page's order, and how a test
    covers it."""

    def __init__(self, name: str, covered: Mapping[str, str]) -> None:
        self._blocks = blocks(DOCS / name)
        for each, words in zip(self._blocks, covered, strict=True):
            assert each.text.startswith(words), f"{each}: not {words!r}"

    def block(self, words: str) -> Block:
        """The one that begins so."""
        (found,) = [each for each in self._blocks if each.text.startswith(words)]
        return found

    def text(self, words: str, changes: Mapping[str, str] | None = None) -> str:
        """What to type: the block that begins so with some of it replaced, all of which must be
        there."""
        text = self.block(words).text
        for old, new in (changes or {}).items():
            assert old in text, f"{self.block(words)} has no {old!r}"
            text = text.replace(old, new)
        return text


@contextmanager
def terminal_in(folder: Path) -> Iterator[Terminal]:
    """Its servers end with it."""
    opened = Terminal(folder, BIN)
    try:
        yield opened
    finally:
        opened.close()


def serve(terminal: Terminal, text: str) -> None:
    """Type a block whose last command is a server, and wait until it listens."""
    terminal.run(f"{text.rstrip()} &\n", None)


def write_signing_key(path: Path) -> None:
    """The key that `world.app` signs with, PEM."""
    path.write_bytes(
        world.key("owner").private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
