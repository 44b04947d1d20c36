from collections.abc import Awaitable, Callable

from .service import _Board

def standard(
    board: _Board, port: int = 80, host: str = "127.0.0.1", agent: str | None = None
) -> Callable[[], Awaitable[None]]: ...
