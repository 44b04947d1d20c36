from typing import Literal

from .header import Descriptor as Descriptor
from .header import Header as Header
from .segments import Segment as Segment

SECTOR_BYTES: int
V1_TRAILER_BYTES: int

class ImageParser:
    header: Header | None
    descriptor: Descriptor | None
    segments: list[Segment]
    received: int
    image_bytes: int | None
    signed_bytes: int | None
    total_bytes: int | None
    sha256: bytes | None
    def __init__(
        self,
        signed: bool | Literal["v1"] | None = None,
        max_bytes: int | None = None,
        bootloader: bool = False,
        hash: bool = True,
        ignore_rest: bool = False,
        keep_sector: bool = True,
    ) -> None: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def is_at_sector(self) -> bool: ...
    @property
    def signature_sector(self) -> bytearray | None: ...
    @property
    def v1_trailer(self) -> bytearray | None: ...
    def feed(self, chunk: bytes | bytearray | memoryview) -> None: ...
    def close(self) -> None: ...
