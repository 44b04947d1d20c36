HEADER_BYTES: int
MAGIC: int
MAX_SEGMENTS: int
DESCRIPTOR_BYTES: int
DESCRIPTOR_OFFSET: int
DESCRIPTOR_MAGIC: int

_Buffer = bytes | bytearray | memoryview

class Header:
    segment_count: int
    spi_mode: int
    spi_speed: int
    spi_size: int
    entry: int
    wp_pin: int
    chip_id: int
    min_chip_rev: int
    min_chip_rev_full: int
    max_chip_rev_full: int
    hash_appended: bool
    def __init__(self, raw: _Buffer) -> None: ...

class Descriptor:
    secure_version: int
    version: str
    project_name: str
    time: str
    date: str
    idf_version: str
    app_elf_sha256: bytes
    min_efuse_block_rev: int
    max_efuse_block_rev: int
    mmu_page_size: int
    spi_flash_mode: int
    def __init__(self, raw: _Buffer) -> None: ...

def check_header(raw: _Buffer, known: int) -> None: ...
def parse_header(raw: _Buffer) -> Header: ...
def parse_descriptor(raw: _Buffer) -> Descriptor: ...
def check_descriptor_magic(raw: _Buffer) -> None: ...
