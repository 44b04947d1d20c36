import asyncio

from .patience import Patience
from .resumable import ResumableSession
from .service import OtaService

async def ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    name: str,
    token: str,
    session: ResumableSession,
    service: OtaService,
    patience: Patience,
) -> tuple[bytes, int]: ...
