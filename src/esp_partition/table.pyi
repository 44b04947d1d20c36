from .errors import PartitionTableError as PartitionTableError

TABLE_OFFSET: int
TABLE_MAX_BYTES: int
SECTOR_BYTES: int
TYPE_APP: int
TYPE_DATA: int
TYPE_BOOTLOADER: int
TYPE_PARTITION_TABLE: int
SUBTYPE_FACTORY: int
SUBTYPE_OTA_0: int
SUBTYPE_OTA_15: int
SUBTYPE_TEST: int
SUBTYPE_OTADATA: int
SUBTYPE_NVS: int
SUBTYPE_COREDUMP: int
SUBTYPE_TEE_OTADATA: int
SUBTYPE_PRIMARY: int
FLAG_ENCRYPTED: int
FLAG_READONLY: int

class Partition:
    type: int
    subtype: int
    offset: int
    size: int
    label: str
    flags: int
    def __init__(
        self, type: int, subtype: int, offset: int, size: int, label: str, flags: int = 0
    ) -> None: ...
    @property
    def end(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

def parse(data: bytes | bytearray | memoryview, table_offset: int = ...) -> list[Partition]: ...
def build(partitions: list[Partition], table_offset: int = ...) -> bytes: ...
def parse_csv(
    text: str,
    table_offset: int = ...,
    bootloader_offset: int | None = None,
    recovery_offset: int | None = None,
) -> list[Partition]: ...
def check(partitions: list[Partition], table_offset: int = ...) -> None: ...
def find(partitions: list[Partition], type: int, subtype: int | None = None) -> list[Partition]: ...
def ota_slots(partitions: list[Partition]) -> list[Partition]: ...
def alignment_of(type: int) -> int: ...
def is_primary(partition: Partition) -> bool: ...
