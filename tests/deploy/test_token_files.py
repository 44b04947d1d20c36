"""Files of tokens as Kubernetes and systemd lay them: root's, readable by the group of the program,
which is not root. Anything else that others may read is not taken."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dice_auth.errors
import ota_agent.errors
from dice_auth.agent_access import read_tokens
from ota_agent.attestation_access import read_access

OTHER = 4242

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="gives files to another user, and becomes it: root only"
)
Read = Callable[[Path], object]


def _read_access(path: Path) -> object:
    return read_access("http://127.0.0.1", None, path, plain_http_allowed=False)


@pytest.fixture(params=[read_tokens, _read_access], ids=["attestation server", "agent"])
def read(request: pytest.FixtureRequest) -> Read:
    reader: Read = request.param
    return reader


@pytest.fixture
def file() -> Iterator[Path]:
    """Where another user can find it: pytest's own folders are for nobody else."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        path = Path(folder, "token")
        path.write_text("0123456789abcdef\n")
        yield path


def read_as_other(read: Read, file: Path, owner: int, mode: int) -> object:
    """What it reads, or the message with which it refuses."""
    os.chown(file, owner, OTHER)
    file.chmod(mode)
    os.setegid(OTHER)
    os.seteuid(OTHER)
    try:
        return read(file)
    except (ota_agent.errors.SettingsError, dice_auth.errors.SettingsError) as error:
        return str(error)
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_roots_file_may_be_readable_by_a_group(read: Read, file: Path, mode: int) -> None:
    assert not isinstance(read_as_other(read, file, 0, mode), str)


@pytest.mark.parametrize("mode", [0o444, 0o644, 0o660, 0o460, 0o450])
def test_roots_file_may_not_be_more_than_that(read: Read, file: Path, mode: int) -> None:
    assert f"mode {mode:04o}" in str(read_as_other(read, file, 0, mode))


@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_ones_own_file_is_for_oneself(read: Read, file: Path, mode: int) -> None:
    assert f"mode {mode:04o}, expected 0600" in str(read_as_other(read, file, OTHER, mode))


def test_roots_own_programs_want_it_for_root_alone(read: Read, file: Path) -> None:
    file.chmod(0o640)
    with pytest.raises((ota_agent.errors.SettingsError, dice_auth.errors.SettingsError)):
        read(file)
