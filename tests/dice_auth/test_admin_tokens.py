"""The file of the admin API's tokens, the tokens, and how often somebody may ask."""

from pathlib import Path

import pytest

from dice_auth.admin_tokens import find_token, new_token, read_admin_tokens
from dice_auth.errors import SettingsError
from dice_auth.rate_limit import RateLimit

_HASH = "ab" * 32


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_is_found_by_itself_alone(tmp_path: Path) -> None:
    (text, ops), (other, viewer) = new_token("ops", "write"), new_token("viewer", "read")
    path = written(tmp_path / "tokens", f"# ours\n{ops.line}\n\n  {viewer.line}\t\n")
    tokens = read_admin_tokens(path)
    assert tokens == (ops, viewer)
    assert find_token(text.encode(), tokens) == ops
    assert find_token(other.encode(), tokens) == viewer
    for nothing in (b"", b"ops", ops.sha256, ops.sha256.hex().encode(), text.encode() + b" "):
        assert find_token(nothing, tokens) is None
    assert (ops.may_write, viewer.may_write) == (True, False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no token, expected NAME SCOPE sha256:HEX a line"),
        ("# nothing\n", "no token"),
        ("a-secret-token-itself\n", "line 1: expected NAME SCOPE sha256: and 64 hex digits"),
        (f"# x\nops write {_HASH}\n", "line 2: expected NAME SCOPE sha256:"),
        (f"ops write sha256:{_HASH[:-1]}\n", "line 1: expected NAME SCOPE sha256:"),
        (f"ops write sha256:{_HASH} more\n", "line 1: expected NAME SCOPE sha256:"),
        (f"ops admin sha256:{_HASH}\n", "line 1: expected the scope read or write"),
        (f"o/ps read sha256:{_HASH}\n", "line 1: a name has 1 to 64 letters, digits and ._-"),
        (
            f"a read sha256:{_HASH}\na read sha256:{_HASH[2:]}cd",
            "line 2: the name a is there twice",
        ),
        (f"a read sha256:{_HASH}\nb read sha256:{_HASH}\n", "line 2: the same token as a"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_not_shown(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = written(tmp_path / "tokens", text)
    with pytest.raises(SettingsError) as raised:
        read_admin_tokens(path)
    assert str(raised.value).startswith(f"--admin-tokens {path}: {reason}")
    assert "secret" not in str(raised.value)


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "tokens", new_token("ops", "read")[1].line, 0o640)
    with pytest.raises(SettingsError, match="mode 0640, expected 0600"):
        read_admin_tokens(path)
    with pytest.raises(SettingsError, match="Is a directory"):
        read_admin_tokens(tmp_path)
    with pytest.raises(SettingsError, match="No such file"):
        read_admin_tokens(tmp_path / "missing")
    assert read_admin_tokens(tmp_path / "missing", may_be_none=True) == ()


def test_a_rate_holds_in_the_long_run_and_a_burst_at_once() -> None:
    now = 100.0
    limit = RateLimit(2, 4, now=lambda: now)
    assert [limit.take("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    assert limit.take("b") == 0
    done = 0
    for _ in range(1000):
        now += 0.1
        done += limit.take("a") == 0
    assert done == pytest.approx(200, abs=2)
    now += 60
    assert [limit.take("a") for _ in range(5)] == [0, 0, 0, 0, 1]


def test_a_low_rate_lets_one_through_and_says_when_the_next() -> None:
    now = 0.0
    limit = RateLimit(0.1, 0.2, now=lambda: now)
    assert (limit.take("a"), limit.take("a")) == (0, 10)
    now = 9.9
    assert limit.take("a") == 1
    now = 10
    assert limit.take("a") == 0


def test_a_flood_of_addresses_takes_no_more_memory() -> None:
    limit = RateLimit(1, 1, now=lambda: 0.0)
    for number in range(25_000):
        assert limit.take(f"{number}") == 0
    assert len(limit._full_at) == 10_000
    assert limit.take("24999") > 0
