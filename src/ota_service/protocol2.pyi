from esp_image.expected import Expected

from .patience import Patience
from .resumable import ResumableSession
from .service import OtaService, _Board, _Partition
from .trust import Trust

def session(
    board: _Board, slot: _Partition, expected: Expected, trust: Trust
) -> ResumableSession: ...
async def receive(
    session: ResumableSession, service: OtaService, patience: Patience, host: str, port: int
) -> None: ...
