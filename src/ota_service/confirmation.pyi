from collections.abc import Awaitable, Callable

from esp_partition.otadata import Entry

from .service import _Board

def read_entries(board: _Board) -> list[Entry] | None: ...
def is_pending(board: _Board) -> bool: ...
def rollback_reason(board: _Board) -> str | None: ...
async def confirm(
    board: _Board,
    self_test: Callable[[], Awaitable[object]] | None = None,
    deadline_s: float = 60,
    on_event: Callable[[str, str], object] | None = None,
) -> str: ...
