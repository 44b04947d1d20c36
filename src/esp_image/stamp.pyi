def stamp(
    image: bytes | bytearray | memoryview,
    version: str,
    project: str,
    secure_version: int | None = None,
) -> bytes: ...
