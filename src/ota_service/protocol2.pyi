from esp_image.expected import Expected

from .patience import Patience
from .pending import PendingSession
from .service import OtaService, _Board, _Partition
from .trust import Trust
from .update import Update

def session(
    board: _Board, slot: _Partition, expected: Expected, trust: Trust
) -> PendingSession: ...
async def receive(
    update: Update, service: OtaService, patience: Patience, host: str, port: int
) -> None: ...
