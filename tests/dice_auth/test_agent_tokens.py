"""Tokens of agents, as their file changes under a running server."""

from pathlib import Path

import pytest

from dice_auth.errors import SettingsError
from dice_auth.settings import Settings, SettingsInUse

TOKEN = "a-token-of-some-agent"


def status(settings: SettingsInUse, token: str = TOKEN) -> int:
    """What an agent with this token is answered, 200 if it may ask."""
    settings.look(force=True)
    scope = {"headers": [(b"authorization", f"Bearer {token}".encode())]}
    refusal = settings.access("127.0.0.1").refusal(scope)
    return 200 if refusal is None else refusal.status


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.touch(mode=0o600)
    path.write_text(f"# agents\n{TOKEN}\n")
    return path


@pytest.mark.parametrize("how", ["emptied", "only a comment", "taken away"])
def test_the_last_token_can_be_taken_back(how: str, file: Path) -> None:
    settings = SettingsInUse(Settings(agent_tokens=file))
    assert status(settings) == 200
    if how == "taken away":
        file.unlink()
    else:
        file.write_text("" if how == "emptied" else "# none\n")
    assert status(settings) == 401


def test_a_mistake_in_the_file_leaves_the_tokens_that_were(file: Path) -> None:
    settings = SettingsInUse(Settings(agent_tokens=file))
    file.write_text("short\n")
    assert status(settings) == 200
    file.write_text("another-token-of-it\n")
    assert status(settings) == 401
    assert status(settings, "another-token-of-it") == 200


@pytest.mark.parametrize("content", ["", "# none\n", None])
def test_a_server_does_not_start_without_one(content: str | None, file: Path) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(SettingsError) as raised:
        SettingsInUse(Settings(agent_tokens=file))
    assert "\n" not in str(raised.value)
