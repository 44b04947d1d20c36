def build_app(
    version: str,
    project: str,
    chip: str = "esp32",
    size: int | None = None,
    secure_version: int = 0,
    min_chip_rev: int = 0,
    max_chip_rev: int = ...,
    hash_appended: bool = True,
    idf_version: str = "v5.2.2",
) -> bytes: ...
def app_segments(chip: str, data: bytes, ram: bytes, code: bytes) -> list[tuple[int, bytes]]: ...
def build_descriptor(
    version: str,
    project: str,
    secure_version: int = 0,
    app_elf_sha256: bytes = ...,
    idf_version: str = "v5.2.2",
) -> bytes: ...
def build_image(
    segments: list[tuple[int, bytes]],
    chip: str,
    min_chip_rev: int = 0,
    max_chip_rev: int = ...,
    hash_appended: bool = True,
    entry: int | None = None,
) -> bytes: ...
def finish_image(body: bytes, segment_data: list[bytes], hash_appended: bool) -> bytes: ...
def encode_text(text: str, name: str) -> bytes: ...
