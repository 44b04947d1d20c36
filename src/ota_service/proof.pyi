import asyncio

from .patience import Patience
from .resumable import ResumableSession
from .service import OtaService

async def connect(
    service: OtaService, host: str, port: int, name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]: ...
async def prove(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    name: str,
    channel: bytes,
    session: ResumableSession,
    service: OtaService,
    patience: Patience,
) -> tuple[bytes, int]: ...
