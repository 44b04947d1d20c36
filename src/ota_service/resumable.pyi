from collections.abc import Iterator

from esp_image.expected import Expected

from .progress import Progress
from .service import _Partition
from .session import Session
from .slot_writer import SlotWriter
from .trust import Trust

class ResumableWriter(SlotWriter):
    written: int
    crc: int
    def count_as_written(self) -> None: ...

class ResumableSession(Session):
    digest: bytes | None
    verdict: str | None
    def __init__(
        self, slot: _Partition, expected: Expected, trust: Trust, progress: Progress
    ) -> None: ...
    def make_room(self) -> None: ...
    def resume_steps(self) -> Iterator[None]: ...
    def restart(self) -> None: ...
    def announced(self, digest: bytes, offset: int, total: int) -> None: ...
    def up_to_date(self) -> None: ...
    def end_of_body(self) -> None: ...
