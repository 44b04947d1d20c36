from collections.abc import Generator

from .service import _Board

def certificate_steps(board: _Board) -> Generator[None, None, bytes]: ...
