from collections.abc import Callable, Generator

from .pending import Part
from .progress import Progress
from .resumable_writer import ResumableWriter

def take_up_steps(
    part: Part | Progress,
    writer: ResumableWriter,
    read: Callable[[int, memoryview], object],
    feed: Callable[[memoryview], object],
) -> Generator[None, None, bool]: ...
