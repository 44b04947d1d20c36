"""A board without a board: flash, eFuse, bootloader and the board object of a virtual ESP32.

The flash file is laid out as on the chip (partition table at 0x8000, slots, otadata); eFuse
values stand in a sidecar file beside it. What stands where: docs/virtual-board.md.
"""

from .errors import FlashError, VirtualBoardError

__all__ = ["FlashError", "VirtualBoardError"]
