from collections.abc import Generator, Sequence

def verify_v1_steps(
    trailer: bytes | bytearray | memoryview, image_digest: bytes, public_keys: Sequence[bytes]
) -> Generator[None, None, bytes]: ...
