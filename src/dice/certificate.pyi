from .chain import verify_chain as verify_chain
from .errors import CertificateError as CertificateError
from .extension import DiceExtension
from .pem import from_pem as from_pem
from .pem import to_pem as to_pem

__all__ = [
    "MAXIMUM_BYTES",
    "Certificate",
    "CertificateError",
    "from_pem",
    "parse",
    "to_pem",
    "total_length",
    "verify_chain",
]

_Buffer = bytes | bytearray | memoryview
_Time = tuple[int, int, int, int, int, int]

MAXIMUM_BYTES: int

class Certificate:
    der: bytes
    to_be_signed: bytes
    signature: tuple[int, int]
    serial: int
    issuer: bytes
    subject: bytes
    not_before: _Time
    not_after: _Time
    public_key: bytes
    authority_key_id: bytes | None
    subject_key_id: bytes | None
    key_usage: bytes | None
    is_ca: bool
    path_length: int | None
    dice: DiceExtension | None
    dice_is_critical: bool
    def __init__(self, data: bytes) -> None: ...

def total_length(first_bytes: _Buffer) -> int | None: ...
def parse(data: _Buffer) -> Certificate: ...
