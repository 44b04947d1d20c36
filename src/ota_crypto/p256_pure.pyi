from collections.abc import Generator

_Buffer = bytes | bytearray | memoryview

def public_key_steps(private_key: int) -> Generator[None, None, bytes]: ...
def sign_steps(
    private_key: int, digest: _Buffer, hash_name: str
) -> Generator[None, None, tuple[int, int]]: ...
