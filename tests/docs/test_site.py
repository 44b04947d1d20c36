"""The documentation site: built strictly, small, whole without JavaScript, all of it from here."""

import importlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

MOST_BYTES = 300_000
ROOMS = [
    "dice", "esp32_akri", "esp_image", "esp_partition", "ota_crypto", "ota_service",
    "virtual_esp32",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """What a page loads, where it points, the ids in it, and its text outside of scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self._script = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        self._script = tag == "script"
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preconnect", "preload"):
            self.loads.append(found.get("href") or "")
        if tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.loads.append(found.get("src") or "")

    def handle_data(self, data: str) -> None:
        if not self._script:
            self.text += data


def test_every_page_with_all_that_it_loads_is_small_and_loads_nothing_from_elsewhere(
    site: Path,
) -> None:
    """Counted unpacked; the search index comes when somebody searches (documentation/theme)."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for path in pages:
        total = path.stat().st_size
        for address in Page(path).loads:
            assert "//" not in address, f"{path.name} loads {address}"
            where = site if address.startswith("/") else path.parent
            total += (where / address.lstrip("/")).stat().st_size
        assert total < MOST_BYTES, f"{path.relative_to(site)}: {total}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", sheet.read_text()), sheet


def test_every_page_says_everything_without_javascript(site: Path) -> None:
    for path in DOCS.rglob("*.md"):
        title = re.search(r"^# (.+)$", path.read_text(), re.M)
        assert title is not None, path
        page = Page(site / path.relative_to(DOCS).with_suffix(".html"))
        assert title[1].replace("`", "") in page.text, path
    laptop = Page(site / "tutorials" / "laptop.html")
    assert "attestation server listening on http://127.0.0.1:8000" in laptop.text


def test_what_is_searched_is_all_pages(site: Path) -> None:
    docs = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    pages = {entry["location"].partition("#")[0] for entry in docs}
    assert {
        path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")
    } <= pages
    assert any("key-untrusted" in entry["text"] for entry in docs)


def test_every_public_name_of_a_room_is_on_its_page(site: Path) -> None:
    missing = []
    for room in ROOMS:
        ids = Page(site / "reference" / "api" / f"{room}.html").ids
        own = {each.rpartition(".")[2] for each in ids if each.startswith(f"{room}.")}
        missing += [
            (room, name) for name in importlib.import_module(room).__all__ if name not in own
        ]
    assert missing == []
