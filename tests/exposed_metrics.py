"""Whether what a server exposes to Prometheus is what it should be: Debian's `promtool` has no
complaint, Prometheus's own parser reads it, and the table in the documentation has just that."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

_DOCS = Path(__file__).parents[1] / "docs"
_ROW = re.compile(r"^\| `([a-z_]+)(?:\{([a-z0-9_, ]*)\})?` \| (.+) \|$", re.MULTILINE)
# What a histogram's samples have beside its own labels.
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def has_no_complaint_from_promtool(text: bytes) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not there (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def exposed(text: bytes) -> dict[str, frozenset[str]]:
    """Names as they stand in the exposition, a histogram's without its suffix, and their labels."""
    found: dict[str, frozenset[str]] = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation, family.name
        for sample in family.samples:
            is_histogram = family.type == "histogram"
            name = _SUFFIX.sub("", sample.name) if is_histogram else sample.name
            labels = frozenset(sample.labels) - ({"le"} if is_histogram else set())
            assert found.setdefault(name, labels) == labels, name
    return found


def documented(page: str, prefix: str) -> dict[str, frozenset[str]]:
    """Of the tables of a page: names and labels."""
    text = (_DOCS / page).read_text()
    found = {
        name: frozenset(labels.replace(" ", "").split(",")) if labels else frozenset()
        for name, labels, _ in _ROW.findall(text)
        if name.startswith(prefix)
    }
    assert found, f"{page} has no table of metrics"
    return found
