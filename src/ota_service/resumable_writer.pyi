from .slot_writer import SlotWriter

class ResumableWriter(SlotWriter):
    written: int
    crc: int
    def count_as_written(self) -> None: ...
