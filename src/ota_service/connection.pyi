import asyncio

from .config import Config
from .service import _Board

async def connect(
    host: str, port: int, config: Config, first: bytes, board: _Board
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]: ...
