import asyncio
from collections.abc import Callable

from .errors import PeerError
from .patience import Patience
from .resumable import ResumableSession

async def receive(
    reader: asyncio.StreamReader,
    first: bytes,
    length: int,
    session: ResumableSession,
    patience: Patience,
    read_s: float,
    on_progress: Callable[[int, int | None], object],
) -> None: ...
async def read_some(reader: asyncio.StreamReader, view: memoryview) -> int: ...
def lost(error: OSError) -> PeerError: ...
