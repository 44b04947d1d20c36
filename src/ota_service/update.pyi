from .pending import PendingSession
from .resumable import ResumableSession
from .service import OtaService
from .session import Session

class Update:
    session: Session | PendingSession | None
    def __init__(self, service: OtaService, host: str, port: int) -> None: ...
    async def run(self) -> None: ...
    def expect_image(self) -> ResumableSession: ...
