from collections.abc import Generator

_Buffer = bytes | bytearray | memoryview

def verify(
    n: int,
    e: int,
    digest: _Buffer,
    signature: _Buffer,
    hash_name: str = "sha256",
    salt_bytes: int = 32,
) -> bool: ...
def verify_steps(
    n: int,
    e: int,
    digest: _Buffer,
    signature: _Buffer,
    hash_name: str = "sha256",
    salt_bytes: int = 32,
) -> Generator[None, None, bool]: ...
