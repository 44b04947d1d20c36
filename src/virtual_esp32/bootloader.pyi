from esp_image.readback import SlotImage
from esp_partition.otadata import Entry
from esp_partition.table import Partition

from .efuse import EFuse
from .flash import NorFlash

class BootDecision:
    partition: Partition | None
    reason: str
    skipped: list[tuple[str, str]]
    secure_version: int | None
    def __init__(
        self,
        partition: Partition | None,
        reason: str,
        skipped: list[tuple[str, str]],
        secure_version: int | None = None,
    ) -> None: ...

def read_partition_table(flash: NorFlash) -> list[Partition]: ...
def find_otadata(partitions: list[Partition]) -> Partition | None: ...
def read_otadata(flash: NorFlash, partition: Partition) -> list[Entry]: ...
def write_otadata(flash: NorFlash, partition: Partition, sector: int, entry: bytes) -> None: ...
def boot(
    flash: NorFlash, efuse: EFuse, rollback: bool = True, anti_rollback: bool = False
) -> BootDecision: ...
def verify_image(flash: NorFlash, partition: Partition, efuse: EFuse) -> SlotImage: ...
