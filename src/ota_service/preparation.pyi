from .pending import PendingSession
from .service import OtaService
from .session import Session

async def new_session(service: OtaService) -> Session | PendingSession: ...
