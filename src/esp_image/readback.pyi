from collections.abc import Callable, Generator, Sequence

from .header import Descriptor, Header
from .parser import ImageParser
from .segments import Segment

_Read = Callable[[int, memoryview], object]

class SlotImage:
    header: Header
    descriptor: Descriptor | None
    segments: list[Segment]
    image_bytes: int
    total_bytes: int
    sha256: bytes | None
    image_digest: bytes | None
    key_digest: bytes | None
    def __init__(self, parser: ImageParser) -> None: ...

def verify_slot_steps(
    read: _Read,
    slot_bytes: int,
    trusted: Sequence[bytes] | None = (),
    revoked: Sequence[bytes] = (),
    only_first_block: bool = False,
    unsigned_allowed: bool = False,
    first16: bytes | bytearray | None = None,
    bootloader: bool = False,
    v1_keys: Sequence[bytes] | None = None,
    take_buffer: Callable[[], memoryview] | None = None,
    make_room: Callable[[], object] | None = None,
) -> Generator[None, None, SlotImage]: ...
def verify_slot(
    read: _Read,
    slot_bytes: int,
    trusted: Sequence[bytes] | None = (),
    revoked: Sequence[bytes] = (),
    only_first_block: bool = False,
    unsigned_allowed: bool = False,
    first16: bytes | bytearray | None = None,
    bootloader: bool = False,
    v1_keys: Sequence[bytes] | None = None,
) -> SlotImage: ...
