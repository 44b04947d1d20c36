from esp_image.expected import Expected

from .errors import OtaError
from .resumable import ResumableSession
from .resumable_writer import ResumableWriter
from .service import _Board, _Partition
from .trust import Trust

def new_session(
    board: _Board, slot: _Partition, expected: Expected, trust: Trust
) -> PendingSession: ...

class Part:
    kept: int
    crc: int
    withheld: bytes
    head: bytes
    digest: bytes | None
    total: int | None

def part_of(session: ResumableSession, writer: ResumableWriter, is_written: bool) -> Part: ...

class PendingSession:
    slot: _Partition
    slot_label: str
    state: str
    attempt: int
    cancelled: bool
    received: int
    total: int | None
    def __init__(
        self,
        board: _Board,
        slot: _Partition,
        expected: Expected,
        trust: Trust,
        part: Part | None = None,
    ) -> None: ...
    def begin_attempt(self) -> None: ...
    def connected(self) -> None: ...
    def fail(self, error: OtaError) -> None: ...
    def session(self) -> ResumableSession: ...
