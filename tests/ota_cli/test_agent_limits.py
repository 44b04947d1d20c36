"""The limits of `ota-service agent` as they are typed: what cannot be is refused by its option."""

from pathlib import Path

import pytest

from ota_cli.command_line import run

# (option, what it cannot be, the least it can be)
LEAST = [
    ("--handshake-timeout", "0", "0.001"),
    ("--certificate-timeout", "-1", "0.001"),
    ("--attestation-timeout", "0", "0.001"),
    ("--idle-timeout", "-inf", "0.001"),
    ("--closing-timeout", "0", "0.001"),
    ("--shutdown-deadline", "0", "0.001"),
    ("--min-rate", "-1", "0"),
    ("--max-connections", "0", "1"),
    ("--max-per-address", "0", "1"),
    ("--accept-rate", "0.9", "1"),
    ("--challenge-rate", "0", "1"),
    ("--bandwidth", "1023", "1024"),
    ("--board-bandwidth", "0", "1024"),
    ("--send-buffer", "4095", "4096"),
]
NO_NUMBERS = [
    *((option, "nan") for option, _, _ in LEAST),
    ("--idle-timeout", "soon"),
    ("--send-buffer", str(2**31)),
]


def complaint(folder: Path, capsys: pytest.CaptureFixture[str], *limit: str, code: int) -> str:
    """The one line of an agent with this limit; it would have no firmware to serve."""
    arguments = [
        "agent", "--firmware", str(folder / "missing.bin"), "--cert", "c", "--key", "k",
        "--dice-auth-url", "http://127.0.0.1:9", *limit,
    ]  # fmt: skip
    assert run(arguments) == code
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize(
    ("option", "wrong"), [(option, wrong) for option, wrong, _ in LEAST] + NO_NUMBERS
)
def test_a_limit_that_cannot_be_is_refused_by_the_option_that_was_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, wrong: str
) -> None:
    text = complaint(tmp_path, capsys, option, wrong, code=2)
    assert f"'{option}'" in text
    assert wrong in text


@pytest.mark.parametrize(("option", "least"), [(option, least) for option, _, least in LEAST])
def test_the_least_that_an_option_takes_the_settings_take_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, least: str
) -> None:
    assert "No such file" in complaint(tmp_path, capsys, option, least, code=1)


@pytest.mark.parametrize(
    ("option", "wrong", "expected"),
    [
        ("--workers", "0", "1<=x<=64"),
        ("--workers", "65", "1<=x<=64"),
        ("--workers", "two", "integer"),
        ("--admin", "", "expected [HOST:]PORT, as 127.0.0.1:4434, or off"),
        ("--admin", "localhost", "expected [HOST:]PORT"),
        ("--admin", "65536", "expected [HOST:]PORT"),
        ("--admin", "http://127.0.0.1:4434", "expected [HOST:]PORT"),
        ("--admin", "-1", "expected [HOST:]PORT"),
    ],
)
def test_workers_and_admin_addresses_that_cannot_be_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, wrong: str, expected: str
) -> None:
    text = complaint(tmp_path, capsys, option, wrong, code=2)
    assert f"'{option}'" in text
    assert expected in text


@pytest.mark.parametrize("admin", ["off", "0", "127.0.0.1:0", "[::1]:0", "localhost:4434"])
def test_admin_addresses_that_can_be_are_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], admin: str
) -> None:
    assert "No such file" in complaint(tmp_path, capsys, "--admin", admin, code=1)
