"""docs/reference/configuration.md is held to the code."""

import ast
import json
import re

import pytest

from dice_auth.errors import PolicyError
from dice_auth.policy import parse_policy
from ota_service import config
from ota_service.config import Config
from tests import world
from tests.docs.pages import ROOT, section, table_rows

PAGE = "reference/configuration.md"
BOARD = {row[0].strip("`"): row[1:] for row in table_rows(section(PAGE, "Settings of a board"))}
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
# A value of each kind that is not taken.
WRONG = {
    "1 to 65535": 65536,
    "a number from 1 on": 0,
    "a number from 0 on": -1,
    "seconds, at most a day": 86401,
    "true or false": 1,
    "a text": 7,
    "a text, null": 7,
    "`mac`, `provisioned`": "mc",
    "`different`, `newer`, `any`": "never",
    "1, 2, null": 3,
    "32 bytes or 64 hex digits, null": "abc",
    "a list of key digests: 32 bytes, or 64 hex digits": ["abc"],
    "a list of `A.B.C.D`, `A.B.C.D/BITS` or names": ["10.0.0.0/99"],
    "certificates, PEM or DER, or names of files, or a list of these": 7,
}
# Of each kind, what is taken: all that is named, or some of it.
RIGHT: dict[str, list[object]] = {
    "1 to 65535": [1, 65535],
    "a number from 1 on": [1, 1000],
    "a number from 0 on": [0, 1000],
    "seconds, at most a day": [1, 86400],
    "true or false": [True, False],
    "a text": ["some text"],
    "a text, null": ["some text", None],
    "`mac`, `provisioned`": ["mac", "provisioned"],
    "`different`, `newer`, `any`": ["different", "newer", "any"],
    "1, 2, null": [1, 2, None],
    "32 bytes or 64 hex digits, null": [bytes(32), "5a" * 32, None],
    "a list of key digests: 32 bytes, or 64 hex digits": [[], [bytes(32), "5a" * 32]],
    "a list of `A.B.C.D`, `A.B.C.D/BITS` or names": [[], ["10.0.0.1", "10.0.0.0/8", "agent"]],
    "certificates, PEM or DER, or names of files, or a list of these": [
        world.authority("test CA").ca, world.authority("test CA").ca_pem,
        [world.authority("test CA").ca],
    ],
}  # fmt: skip


def test_every_setting_is_there_and_no_other() -> None:
    assert sorted(BOARD) == sorted(config._SETTINGS)


@pytest.mark.parametrize("setting", BOARD)
def test_its_default_is_the_codes(setting: str) -> None:
    default = config._SETTINGS[setting][0]
    shown = json.loads(BOARD[setting][0].strip("`"))
    assert shown == (list(default) if isinstance(default, tuple) else default)
    Config({setting: shown})  # and may be given


@pytest.mark.parametrize("setting", BOARD)
def test_what_it_may_not_be_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        Config({setting: WRONG[BOARD[setting][1]]})


@pytest.mark.parametrize("setting", BOARD)
def test_what_it_may_be_is_taken(setting: str) -> None:
    for value in RIGHT[BOARD[setting][1]]:
        # Protocol 2 is for boards with a secret of their own.
        Config({"identity": "provisioned", setting: value})


def test_every_environment_variable_is_there_and_no_other() -> None:
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        if "environ" not in text and "envvar" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and VARIABLE.fullmatch(value):
                found.add(value)
    text = section(PAGE, "The servers").split("### ")[1]
    assert {row[0].strip("`") for row in table_rows(text)} == found


def test_every_key_of_the_policy_is_there_and_no_other() -> None:
    text = section(PAGE, "The servers").split("### ")[2]
    names = {row[0].strip("`") for row in table_rows(text)}
    known = set()
    for table, prefix in (("", ""), ("[applications.thermo]\n", "applications.NAME.")):
        with pytest.raises(PolicyError) as refused:
            parse_policy(table + "unknown_key = 1\n")
        keys = str(refused.value).split("expected one of ")[1].split(", ")
        known |= {prefix + key for key in keys}
    assert names == known - {"applications"}
