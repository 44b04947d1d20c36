from pathlib import Path

import pytest

from ota_cli.command_line import run


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ota-service agent init` makes."""
    folder = tmp_path_factory.mktemp("certificates") / "certs"
    assert run(["agent", "init", str(folder)]) == 0
    return folder
