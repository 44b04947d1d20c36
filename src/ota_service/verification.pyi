from collections.abc import Callable, Iterator

from .slot_writer import SlotWriter
from .trust import Trust

def verify_steps(
    read: Callable[[int, bytearray | memoryview], object],
    slot_bytes: int,
    trust: Trust,
    writer: SlotWriter,
) -> Iterator[None]: ...
