_Buffer = bytes | bytearray | memoryview

def verify_pss(
    n: int, e: int, digest: _Buffer, signature: _Buffer, hash_name: str, salt_bytes: int
) -> bool: ...
