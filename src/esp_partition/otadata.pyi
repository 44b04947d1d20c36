from .otadata_changes import build_entry as build_entry
from .otadata_changes import confirm as confirm
from .otadata_changes import fallback_slot as fallback_slot
from .otadata_changes import next_entry as next_entry
from .otadata_changes import reject as reject
from .otadata_changes import state_name as state_name
from .otadata_changes import with_state as with_state

ENTRY_BYTES: int
SEQ_EMPTY: int
NEW: int
PENDING_VERIFY: int
VALID: int
INVALID: int
ABORTED: int
UNDEFINED: int

class Entry:
    seq: int
    state: int
    crc: int
    label: bytes
    def __init__(self, seq: int, state: int, crc: int, label: bytes = ...) -> None: ...
    @property
    def crc_ok(self) -> bool: ...
    @property
    def is_invalid(self) -> bool: ...
    @property
    def is_valid(self) -> bool: ...

def seq_crc(seq: int) -> int: ...
def parse_entry(raw: bytes | bytearray | memoryview) -> Entry: ...
def active_index(entry0: Entry, entry1: Entry) -> int | None: ...
def slot_of(seq: int, slots: int) -> int: ...
def check_slots(slots: int) -> None: ...
