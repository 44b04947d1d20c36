from collections.abc import Callable

SECTOR_BYTES: int
BLOCK_BYTES: int
MAX_BLOCKS: int

class Block:
    position: int
    version: int
    scheme: str
    digest_name: str
    image_digest: bytes
    key_digest: bytes
    numbers: tuple[int, int]
    signature: bytes
    def __init__(self, raw: memoryview, position: int) -> None: ...

def parse_sector(sector: bytes | bytearray | memoryview) -> list[Block]: ...
def read_sector(read: Callable[[int, memoryview], object], start: int) -> list[Block]: ...
