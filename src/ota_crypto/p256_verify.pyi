from collections.abc import Generator

_Buffer = bytes | bytearray | memoryview

def verify_steps(
    public_key: _Buffer, digest: _Buffer, r: int, s: int
) -> Generator[None, None, bool]: ...
def decode_point_steps(encoded: _Buffer) -> Generator[None, None, tuple[int, int] | None]: ...
