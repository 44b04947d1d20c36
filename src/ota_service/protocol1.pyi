import asyncio
from collections.abc import Callable

from .patience import Patience
from .service import OtaService
from .session import Session

async def receive(
    session: Session,
    certificate: bytes,
    service: OtaService,
    patience: Patience,
    host: str,
    port: int,
) -> None: ...
async def receive_firmware(
    reader: asyncio.StreamReader,
    session: Session,
    patience: Patience,
    read_s: float,
    on_progress: Callable[[int, int | None], object],
) -> None: ...
