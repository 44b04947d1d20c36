from collections.abc import Iterator

from esp_image.acceptance import Expected

from .errors import OtaError
from .service import _Partition
from .trust import Trust

IDLE: str
CONNECTING: str
ATTESTING: str
RECEIVING: str
VERIFYING: str
SWITCHING: str
REBOOTING: str
FAILED: str

class Session:
    slot: _Partition
    slot_label: str
    state: str
    attempt: int
    cancelled: bool
    def __init__(self, slot: _Partition, expected: Expected, trust: Trust) -> None: ...
    @property
    def received(self) -> int: ...
    @property
    def total(self) -> int | None: ...
    @property
    def is_whole(self) -> bool: ...
    def begin_attempt(self) -> None: ...
    def connected(self) -> None: ...
    def feed(self, chunk: bytes | bytearray | memoryview) -> None: ...
    def end_of_stream(self) -> None: ...
    def verify_steps(self) -> Iterator[None]: ...
    def switch(self) -> None: ...
    def fail(self, error: OtaError) -> None: ...
