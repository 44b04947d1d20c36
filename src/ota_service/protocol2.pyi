from .patience import Patience
from .service import OtaService
from .update import Update

async def receive(
    update: Update, service: OtaService, patience: Patience, host: str, port: int
) -> None: ...
