import asyncio
from collections.abc import Callable, Iterable

from .session import Session

async def open_tls(
    host: str, port: int, ca_certificates: Iterable[bytes], name: str, timeout: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...
async def send_certificate(
    writer: asyncio.StreamWriter, certificate: bytes, timeout: float
) -> None: ...
async def receive_firmware(
    reader: asyncio.StreamReader,
    session: Session,
    first_byte_s: float,
    read_s: float,
    on_progress: Callable[[int, int | None], object] | None = None,
) -> None: ...
