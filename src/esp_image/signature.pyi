from collections.abc import Generator, Sequence

from .signature_block import Block as Block
from .signature_block import ecdsa_key_digest as ecdsa_key_digest
from .signature_block import parse_sector as parse_sector
from .signature_block import rsa_key_digest as rsa_key_digest

__all__ = [
    "Block",
    "ecdsa_key_digest",
    "parse_sector",
    "rsa_key_digest",
    "verify",
    "verify_blocks_steps",
    "verify_steps",
    "verify_v1_steps",
]

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
def verify_v1_steps(
    trailer: bytes | bytearray | memoryview, image_digest: bytes, public_keys: Sequence[bytes]
) -> Generator[None, None, bytes]: ...
