from collections.abc import Generator

from .evidence_reader import Evidence

_Buffer = bytes | bytearray | memoryview

MAXIMUM_BYTES: int

class Claims:
    nonce: bytes
    ueid: bytes
    hwmodel: str
    application: str
    version: str
    channel: bytes
    image_digest: bytes
    def __init__(
        self,
        nonce: _Buffer,
        ueid: _Buffer,
        hwmodel: str,
        application: str,
        version: str,
        channel: _Buffer,
        image_digest: _Buffer,
    ) -> None: ...

def ueid_of(root_public_key: bytes) -> bytes: ...
def encode(private_key: int, certificate: _Buffer, claims: Claims) -> bytes: ...
def encode_steps(
    private_key: int, certificate: _Buffer, claims: Claims
) -> Generator[None, None, bytes]: ...
def decode(data: _Buffer) -> Evidence: ...
def sign_steps(private_key: int, claims: Claims) -> Generator[None, None, tuple[bytes, bytes]]: ...
def assemble(certificate: bytes, payload: bytes, signature: bytes) -> bytes: ...
def sig_structure(payload: bytes) -> bytes: ...
