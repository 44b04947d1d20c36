"""Boards under both runtimes, in processes of their own."""

from collections.abc import Iterator

import pytest

from tests.ota_service import board_process


@pytest.fixture(scope="session", params=board_process.RUNTIMES)
def board(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[board_process.BoardProcess]:
    """Virtual boards under the runtime that is the parameter; each command gets a fresh one."""
    yield from board_process.processes(request.param, tmp_path_factory.mktemp("boards"))
