from .service import OtaService
from .session import Session

class Update:
    session: Session | None
    def __init__(self, service: OtaService, host: str, port: int) -> None: ...
    async def run(self) -> None: ...
