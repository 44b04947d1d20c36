from .nvs_page import Page

_Buffer = bytes | bytearray | memoryview

PAGE_BYTES: int
ENTRY_BYTES: int
ENTRIES: int
HEADER_BYTES: int
STATES_OFFSET: int
STATES_BYTES: int
ENTRIES_OFFSET: int
KEY_MAX_BYTES: int
CHUNK_MAX_BYTES: int
PAGE_EMPTY: int
PAGE_ACTIVE: int
PAGE_FULL: int
PAGE_FREEING: int
PAGE_CORRUPT: int
ENTRY_EMPTY: int
ENTRY_WRITTEN: int
ENTRY_ERASED: int
TYPE_U8: int
TYPE_I32: int
TYPE_STRING: int
TYPE_BLOB: int
TYPE_BLOB_DATA: int
TYPE_BLOB_INDEX: int
TYPE_NAMES: dict[int, str]
CHUNK_NONE: int
FIRST_CHUNKS: tuple[int, int]

class Item:
    page: Page
    index: int
    namespace: int
    kind: int
    span: int
    chunk: int
    key: bytes
    data: bytes
    def __init__(self, page: Page, index: int, entry: _Buffer) -> None: ...
    @property
    def identity(self) -> tuple[int, int, int, bytes, bytes]: ...
    @property
    def has_payload(self) -> bool: ...
    @property
    def payload_bytes(self) -> int: ...
    @property
    def payload_checksum(self) -> int: ...
    @property
    def blob_bytes(self) -> int: ...
    @property
    def chunks(self) -> range: ...
    @property
    def integer(self) -> int | None: ...
    @property
    def is_consistent(self) -> bool: ...

def page_header(sequence: int) -> bytearray: ...
def parse_page_header(header: bytes) -> tuple[int, int, bool]: ...
def entry_is_intact(entry: _Buffer) -> bool: ...
def integer_entry(namespace: int, kind: int, key: bytes, value: int) -> bytearray: ...
def payload_entry(
    namespace: int, kind: int, chunk: int, key: bytes, payload: _Buffer
) -> bytearray: ...
def blob_index_entry(
    namespace: int, key: bytes, size: int, first_chunk: int, chunk_count: int
) -> bytearray: ...
def payload_checksum(payload: _Buffer) -> int: ...
def padded(payload: _Buffer) -> bytes: ...
