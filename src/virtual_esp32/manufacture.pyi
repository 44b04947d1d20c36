from esp_partition.table import Partition

def partition_layout(flash_bytes: int) -> list[Partition]: ...
def flash_content(
    flash_bytes: int,
    app: bytes,
    partitions: list[Partition] | None = None,
    bootloader: bytes | None = None,
    bootloader_offset: int = 0x1000,
) -> bytearray: ...
def first_app_partition(partitions: list[Partition]) -> Partition: ...
