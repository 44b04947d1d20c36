from collections.abc import Iterable

_Time = tuple[int, int, int, int, int, int]

MAXIMUM_BYTES: int

class ServerCertificate:
    issuer: bytes
    subject: bytes
    not_before: _Time
    not_after: _Time
    has_alternative_names: bool
    dns_names: list[str]
    addresses: list[bytes]
    common_name: str | None
    authority_key_id: bytes | None
    subject_key_id: bytes | None
    def __init__(self) -> None: ...

def parse(data: bytes | memoryview) -> ServerCertificate: ...
def matches_name(certificate: ServerCertificate, name: str) -> bool: ...
def failed_checks(
    certificate: ServerCertificate,
    ca_certificates: Iterable[bytes],
    name: str,
    now: tuple[int, ...],
) -> list[str]: ...
