"""The pages of docs/ as tests read them: sections, tables and code blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

from sybil import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_INFO = re.compile(r'[ \t]*(?P<language>[\w-]*)(?: title="(?P<title>[^"]*)")?[ \t]*\n')
_LEXER = RawFencedCodeBlockLexer(_INFO)


def read(page: str) -> str:
    """A page, by its path in docs/."""
    return (DOCS / page).read_text()


def section(page: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read(page), re.M | re.S)
    assert found is not None, f"{page}: no heading {heading}"
    return found.group(1)


def table_rows(text: str) -> list[list[str]]:
    """The cells of each row of the first table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@dataclass(frozen=True)
class Block:
    """A fenced block. line: of its fence; title: as `title="..."` beside the language."""

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.language}"


def blocks(path: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in their order, without their indent; all of them, or those in
    these languages. A fence that is never closed, or without a language, is an error."""
    text = path.read_text()
    document = Document(text, str(path))
    found = []
    for region in _LEXER(document):
        language, title = region.lexemes["language"], region.lexemes["title"] or ""
        line = text[: region.start].count("\n") + 1
        assert language, f"{path.name}:{line}: a block that does not say its language"
        found.append(Block(path.name, line, language, title, region.lexemes["source"].text))
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.M)), f"{path}: fences left over"
    return [block for block in found if not languages or block.language in languages]
