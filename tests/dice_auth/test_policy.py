"""Policies as text: what is read, and where a mistake is."""

import dataclasses
import re
from pathlib import Path

import pytest

from dice import main_flow
from dice.certificate import parse
from dice.extension import DiceExtension
from dice.input_values import InputValues
from dice_auth.appraisal import APPRAISAL_CHECKS
from dice_auth.errors import PolicyError
from dice_auth.policy import DEFAULT_POLICY, Policy, ReferenceValues, parse_policy
from dice_auth.settings import read_policy
from dice_auth.toml_lines import line_of

ONE, TWO = "ab" * 32, "CD" * 32

WHOLE = f"""
# Reference values
allow_mac_identity = true
unknown_applications = "refuse"
modes = ["normal", "recovery"]

[applications.thermo]
image_digests = [
    "{ONE}",  # 1.2.3
    "{TWO}",
]
code_hashes = ["{ONE}", "{"01" * 64}"]
configurations = ["{ONE}02"]
modes = ["debug"]

[applications."with space"]
image_digests = "any"
"""


def test_a_whole_policy_is_read() -> None:
    one, two = bytes.fromhex(ONE), bytes.fromhex(TWO)
    recovery = frozenset({1, 3})
    assert parse_policy(WHOLE) == Policy(
        {
            "thermo": ReferenceValues(
                frozenset({one, two}),
                frozenset({one * 2, b"\1" * 64}),
                frozenset({one + b"\2" + bytes(31)}),
                frozenset({2}),
            ),
            "with space": ReferenceValues(modes=recovery),
        },
        None,
        True,
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "[applications]\n", "modes = ['normal']"])
def test_what_is_left_out_is_any_but_for_mode_and_mac(text: str) -> None:
    assert parse_policy(text) == DEFAULT_POLICY
    assert not DEFAULT_POLICY.allow_mac_identity
    assert DEFAULT_POLICY.others == ReferenceValues(None, None, None, frozenset({1}))


def test_an_application_may_be_one_without_a_name() -> None:
    assert list(parse_policy('[applications.""]').applications) == [""]


MISTAKES = {
    "unknown key": ("modes = ['normal']\n\nmodus = 1", 3, "modus: unknown"),
    "unknown key of an application": (
        "[applications.a]\n[applications.b]\n# x\nimage_digest = []",
        4, "applications.b.image_digest: unknown, expected one of image_digests",
    ),
    "key beside the table": ("[applications]\nimage_digests = 'any'", 2, "expected a table"),
    "application in the wrong place": ("# x\n[thermo]\nmodes = ['normal']", 2, "thermo: unknown"),
    "unknown mode": ('modes = [\n  "normal",\n  "fast",\n]', 3, "found 'fast'"),
    "mode that is a number": ("modes = [1]", 1, 'array of "normal", "debug", "recovery"'),
    "mode that is not initialized": ('modes = ["not initialized"]', 1, "expected"),
    "no mode": ("\nmodes = []", 2, "nothing could pass"),
    "mode without brackets": ("modes = 'normal'", 1, "found 'normal'"),
    "any mode": ("modes = 'any'", 1, "expected an array"),
    "unknown unknown": ("\n\nunknown_applications = 'maybe'", 3, '"allow" or "refuse"'),
    "unknown of another type": ("unknown_applications = true", 1, "found True"),
    "mac of another type": ("allow_mac_identity = 'false'", 1, "true or false, found 'false'"),
    "mac as a number": ("allow_mac_identity = 1", 1, "true or false, found 1"),
    "digest too short": (
        f"[applications.a]\nimage_digests = [\n'{ONE}',\n'{ONE[2:]}']",
        4, "expected 64 hex digits, found 62 digits",
    ),
    "digest too long": (f"applications.a.image_digests = ['{ONE}ff']", 1, "found 66 digits"),
    "no hex": (f"applications = {{a = {{code_hashes = ['{'x' * 64}']}}}}", 1, "128 hex digits, or"),
    "hex with blanks": (f"[applications.a]\ncode_hashes = ['{'ab ' * 32}']", 2, "expected 128"),
    "digest of another type": ("[applications.a]\n\nimage_digests = [\n'ab',\n7,\n]", 4, "64 hex"),
    "a number among digests": (
        f"[applications.a]\nimage_digests = [\n'{ONE}',\n77,\n]", 4, "found 77",
    ),
    "code hash of another size": (f"[applications.a]\ncode_hashes = ['{ONE}ab']", 2, "or 64"),
    "configuration too long": (
        f"[applications.a]\nconfigurations = ['{'ab' * 65}']", 2, "up to 128 hex digits",
    ),
    "empty configuration": ("[applications.a]\nconfigurations = ['']", 2, "up to 128"),
    "no digest": ("[applications.a]\nimage_digests = []", 2, "nothing could pass"),
    "any within a list": ("[applications.a]\nimage_digests = ['any']", 2, "64 hex digits"),
    "one digest without brackets": (f"[applications.a]\nimage_digests = '{ONE}'", 2, "an array"),
    "applications as an array": ("\n[[applications]]\nmodes = ['normal']", 2, "expected a table"),
    "application as a text": ("[applications]\n\na = 'any'", 3, "applications.a: expected a table"),
    "later table": (
        f"[applications.a]\nimage_digests = ['{ONE}']\n[applications.b]\nmodes = ['normal']\n"
        "image_digests = 3", 5, "applications.b.image_digests",
    ),
    "syntax": ("modes = ['normal']\nmodes = ", 2, "line 2"),
    "a key twice": ("modes = ['normal']\nmodes = ['debug']", 2, "line 2"),
    "an array that does not end": ("# x\nmodes = [\n'normal'\n\n", 2, "line 2: Unclosed array"),
    "a text that does not end": ("a = 1\n\nmodes = ['normal]\nb = 1", 3, "line 3"),
    "nesting without an end": ("# x\nmodes = " + "[" * 5000 + "]" * 5000, 2, "line 2"),
    "a number too long for Python": ("\nmodes = " + "9" * 5000, 2, "line 2"),
    "no TOML": ("\n\n{}", 3, "line 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_with_its_line(case: str) -> None:
    text, line, expected = MISTAKES[case]
    with pytest.raises(PolicyError) as raised:
        parse_policy(text)
    message = str(raised.value)
    assert f"line {line}" in message, message
    assert expected in message, message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("a.b = 1\na.c = 2", ("a", "c"), 2),
        ("[a]\nb = 1\n[c]\nb = 2", ("c", "b"), 4),
        ("[a.b]\nc = 1", ("a",), 1),
        ('a = """\nb = 1\n"""\nb = 2', ("b",), 4),
        ("a = '''\n[b]\n'''\n[b]", ("b",), 4),
        ("a = [\n  ']',\n  1,\n]\nb = 1", ("b",), 5),
        ("# b = 1\nb = 2  # ]", ("b",), 2),
        ("[[a]]\nb = 1\n[[a]]\nc = 1", ("a",), 1),
        ("['x.y']\n\"b c\" = 1", ("x.y", "b c"), 2),
        ("a = 1", ("nowhere",), 1),
    ],
)
def test_a_key_is_found_on_its_line(text: str, path: tuple[str, ...], line: int) -> None:
    assert line_of(text, path) == line


def test_a_mistake_in_a_policy_of_a_thousand_digests_is_found_at_once() -> None:
    digests = "".join(f'    "{number:064x}",\n' for number in range(4000))
    with pytest.raises(PolicyError, match=r"line 4003: applications\.a\.image_digests"):
        parse_policy(f"[applications.a]\nimage_digests = [\n{digests}    'short',\n]\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff", "line 1: not UTF-8"),
        (b"# ok\n# \xc3\x28\n", "line 2: not UTF-8"),
        (b"x" * (1024 * 1024 + 1), "more than 1048576 bytes"),
        (b"modus = 1", "line 1: modus: unknown"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_policy_is_named(tmp_path, content, expected) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PolicyError, match=f"--policy {path}: .*{expected}"):
        read_policy(path)


def test_a_folder_is_no_policy(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PolicyError, match="directory"):
        read_policy(tmp_path)


def test_policies_cannot_be_changed_by_who_has_one() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT_POLICY.allow_mac_identity = True  # type: ignore[misc]


def test_the_policy_in_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "attestation-server.md").read_text()
    defaults, reference_values = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert parse_policy(defaults) == DEFAULT_POLICY
    policy = parse_policy(defaults + reference_values)
    assert policy.applications["thermo"].image_digests is not None
    assert policy.applications["thermo"].modes == {1, 2}


def test_every_check_of_an_appraisal_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "attestation-server.md").read_text()
    for check in APPRAISAL_CHECKS:
        assert f"`{check}`" in text, check


def test_a_configuration_that_is_described_counts_by_its_hash() -> None:
    """Open Profile for DICE: type "descriptor" instead of "inline"."""
    inputs = InputValues(config_descriptor=b"described", mode=1)
    _, _, der = main_flow(bytes(32), bytes(32), inputs)
    measured = parse(der).dice
    assert measured is not None
    assert measured.configuration_hash == inputs.configuration()
    for value, failed in ((inputs.configuration().hex(), []), (ONE, ["policy-configuration"])):
        policy = parse_policy(f"[applications.a]\nconfigurations = ['{value}']")
        assert policy.failed("a", bytes(32), measured) == failed


def test_a_certificate_that_measures_nothing_passes_no_reference_value() -> None:
    policy = parse_policy(f"[applications.a]\ncode_hashes = ['{ONE}']\nconfigurations = ['{ONE}']")
    expected = ["policy-code-hash", "policy-configuration", "policy-mode"]
    assert policy.failed("a", bytes(32), None) == expected
    assert policy.failed("a", bytes(32), DiceExtension([None] * 8)) == expected
