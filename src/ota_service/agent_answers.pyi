import asyncio
from collections.abc import Callable

from .http_response import Response
from .patience import Patience
from .resumable import ResumableSession

def challenge_request(host: str) -> bytes: ...

class Agent:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None: ...
    async def challenge(self) -> bytes: ...
    async def attest(self, evidence: bytes) -> tuple[str, str | None]: ...
    async def open_firmware(self, token: str, session: ResumableSession) -> Response: ...
    async def receive(
        self,
        response: Response,
        session: ResumableSession,
        patience: Patience,
        read_s: float,
        on_progress: Callable[[int, int | None], object],
    ) -> None: ...
