from .evidence import Claims

_Buffer = bytes | bytearray | memoryview

class Evidence:
    claims: Claims
    certificate: bytes
    def __init__(
        self, claims: Claims, certificate: bytes, signed: bytes, signature: bytes
    ) -> None: ...
    def is_signed_by(self, public_key: _Buffer) -> bool: ...

def decode(data: _Buffer) -> Evidence: ...
