RSA: str
ECDSA_P192: str
ECDSA_P256: str
ECDSA_P384: str
V1: str

class Chip:
    name: str
    id: int
    bootloader_offset: int
    drom: tuple[int, int]
    irom: tuple[int, int]
    schemes: tuple[str, ...]
    signature_blocks: int
    key_digest_bytes: int
    pages_vary: bool
    def __init__(
        self,
        name: str,
        id: int,
        bootloader_offset: int,
        drom: tuple[int, int],
        irom: tuple[int, int],
        schemes: tuple[str, ...],
        signature_blocks: int = 3,
        key_digest_bytes: int = 32,
        pages_vary: bool = False,
    ) -> None: ...
    def is_mapped(self, address: int) -> bool: ...
    def page_bytes(self, page_log2: int) -> int: ...

CHIPS: dict[str, Chip]

def by_id(id: int) -> Chip | None: ...
def chip_name(id: int) -> str: ...
def chip_id(name: str) -> int: ...
def describe(id: int) -> str: ...
