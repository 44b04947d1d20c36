from collections.abc import Generator, Iterable, Sequence

from .service import _Board

class Trust:
    source: str
    digests: list[bytes]
    revoked: list[bytes]
    only_first_block: bool
    unsigned_allowed: bool
    def __init__(
        self,
        source: str,
        digests: Iterable[bytes],
        revoked: Iterable[bytes] = (),
        only_first_block: bool = False,
        unsigned_allowed: bool = False,
    ) -> None: ...

def find_trust_steps(
    board: _Board, configured: Sequence[bytes], unsigned_allowed: bool = False
) -> Generator[None, None, Trust]: ...
