"""ESP32 partition tables and otadata: their byte layouts and the rules that go with them.

Pure codecs: bytes in, bytes or objects out. Reading and writing flash is the caller's part, and
so is looking into the slots (esp_image). Import the two modules by name: `esp_partition.otadata`
is all that a board needs at every boot.
"""

from .errors import OtadataError, PartitionError, PartitionTableError

__all__ = ["OtadataError", "PartitionError", "PartitionTableError"]
