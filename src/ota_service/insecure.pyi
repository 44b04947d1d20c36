from .config import Config
from .patience import Patience
from .service import OtaService
from .session import Session

async def receive(
    session: Session, config: Config, patience: Patience, service: OtaService
) -> None: ...
