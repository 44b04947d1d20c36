import asyncio

from .patience import Patience
from .service import OtaService
from .update import Update

async def connect(
    service: OtaService, host: str, port: int, name: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]: ...
async def prove(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    name: str,
    channel: bytes,
    update: Update,
    service: OtaService,
    patience: Patience,
) -> str: ...
