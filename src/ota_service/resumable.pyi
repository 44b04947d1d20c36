from collections.abc import Iterator

from esp_image.expected import Expected

from .pending import Part, PendingSession
from .service import _Board, _Partition
from .session import Session
from .trust import Trust

class ResumableSession(Session):
    step_bytes: int
    digest: bytes | None
    verdict: str | None
    def __init__(
        self,
        slot: _Partition,
        expected: Expected,
        trust: Trust,
        board: _Board,
        part: Part | None = None,
    ) -> None: ...
    def pending(self, board: _Board) -> PendingSession: ...
    def make_room(self) -> None: ...
    def resume_steps(self) -> Iterator[None]: ...
    def restart(self) -> None: ...
    def announced(self, digest: bytes, offset: int, total: int) -> None: ...
    def up_to_date(self) -> None: ...
    def end_of_body(self) -> None: ...
