from collections.abc import Generator

from .service import _Board

def measure_steps(board: _Board) -> Generator[None, None, tuple[bytes, bytes]]: ...
