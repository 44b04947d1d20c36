from collections.abc import Generator, Mapping

from .service import OtaService, _Board

class Identity:
    certificate: bytes
    root_public_key: bytes
    code_hash: bytes
    config_value: bytes
    image_digest: bytes
    status: dict[str, str | None]
    def __init__(
        self,
        certificate: bytes,
        root_public_key: bytes,
        measurements: tuple[bytes, bytes],
        image_digest: bytes,
    ) -> None: ...

def start(board: _Board) -> None: ...
def certificate_steps(service: OtaService) -> Generator[None, None, bytes]: ...
def identity_steps(board: _Board, kind: str) -> Generator[None, None, Identity]: ...
def evidence_steps(
    service: OtaService, nonce: bytes, channel: bytes
) -> Generator[None, None, bytes]: ...
def open_root_window(service: OtaService, seconds: float = 300) -> None: ...
async def certificate(service: OtaService, arguments: Mapping[str, str]) -> bytes: ...
def root_certificate_steps(board: _Board, kind: str) -> Generator[None, None, bytes]: ...
