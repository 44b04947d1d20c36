from collections.abc import Generator

from .service import OtaService, _Board

class Identity:
    certificate: bytes
    root_public_key: bytes
    code_hash: bytes
    config_value: bytes
    image_digest: bytes

def start(board: _Board) -> None: ...
def certificate_steps(service: OtaService) -> Generator[None, None, bytes]: ...
def identity_steps(board: _Board, kind: str) -> Generator[None, None, Identity]: ...
def evidence_steps(
    service: OtaService, nonce: bytes, channel: bytes
) -> Generator[None, None, bytes]: ...
def open_root_window(service: OtaService, seconds: float = 300) -> None: ...
