from collections.abc import Generator, Sequence

from .signature_block import Block

def parse_sector(sector: bytes | bytearray | memoryview) -> list[Block]: ...
def verify_steps(
    sector: bytes | bytearray | memoryview,
    image_digest: bytes,
    trusted: Sequence[bytes] | None,
    revoked: Sequence[bytes] = (),
    only_first_block: bool = False,
    chip_id: int | None = None,
) -> Generator[None, None, bytes]: ...
def verify(
    sector: bytes | bytearray | memoryview,
    image_digest: bytes,
    trusted: Sequence[bytes] | None,
    revoked: Sequence[bytes] = (),
    only_first_block: bool = False,
    chip_id: int | None = None,
) -> bytes: ...
def verify_blocks_steps(
    blocks: list[Block],
    image_digest: bytes,
    trusted: Sequence[bytes] | None,
    revoked: Sequence[bytes],
    only_first_block: bool,
    chip_id: int | None,
) -> Generator[None, None, bytes]: ...
def halves(signature: bytes) -> tuple[int, int]: ...
