"""NVS over a partition: mount and repair, namespaces, values written new before old ones go.

Power lost at any flash operation leaves each key with its old or its new value, and the next mount
finishes what was under way. Left to nvs: the class applications see. Encrypted partitions are not
read: to a mount that writes, their entries look damaged and are marked erased, as in ESP-IDF.

Source: ESP-IDF components/nvs_flash/src, nvs_storage.cpp and nvs_pagemanager.cpp.
"""

from . import nvs_errors
from .compat import const
from .nvs_errors import nvs_error
from .nvs_layout import (
    CHUNK_MAX_BYTES,
    ENTRIES,
    ENTRY_BYTES,
    FIRST_CHUNKS,
    KEY_MAX_BYTES,
    PAGE_ACTIVE,
    PAGE_BYTES,
    PAGE_CORRUPT,
    PAGE_EMPTY,
    PAGE_FREEING,
    PAGE_FULL,
    TYPE_BLOB,
    TYPE_BLOB_DATA,
    TYPE_BLOB_INDEX,
    TYPE_I32,
    TYPE_NAMES,
    TYPE_STRING,
    TYPE_U8,
    blob_index_entry,
    integer_entry,
    payload_entry,
)
from .nvs_page import Page

_IOCTL_BLOCK_COUNT = const(4)
_NAMESPACES = const(0)
_NAMESPACE_MAX = const(254)
_CHUNKS_MAX = const(127)


class Entry:
    """What stands under a key, without its value.

    namespace, key: str. type: `u8` to `i64`, `string` or `blob`. size: bytes; a string's includes
    its closing zero.
    """

    def __init__(self, namespace, key, type, size):
        self.namespace = namespace
        self.key = key
        self.type = type
        self.size = size


class NvsStorage:
    """The NVS of one partition, mounted.

    device: block device of 4096-byte blocks (readblocks, writeblocks, ioctl), as VirtualPartition
    or esp32.Partition. Every value is on flash when its call returns. Keys are str of up to 15
    bytes; a longer one is -0x1109 everywhere, where ESP-IDF would read under its first 15.
    writable: False writes nothing, not even repairs, and takes partitions without a free page.
    Raises OSError with ESP-IDF's numbers: no free page (-0x110d), written by a newer ESP-IDF
    (-0x1110). Needs 4096 bytes to work in while it mounts.
    """

    def __init__(self, device, writable=True):
        self._writable = writable
        self._changing = False
        count = device.ioctl(_IOCTL_BLOCK_COUNT, 0)
        self._pages = []
        self._free = []
        self._load([Page(device, block, writable) for block in range(count)])
        self._finish_freeing()
        self._drop_copies()
        self._drop_replaced()
        self._drop_incomplete_blobs()
        if not self._writable:
            return
        if not self._pages and self._free:
            self._activate()
        if not self._free:
            raise nvs_error(nvs_errors.NO_FREE_PAGES)

    def open_namespace(self, name, create=True):
        """Index of the namespace `name` (up to 15 bytes), made if it is new.

        Raises OSError: not found (-0x1102), name too long (-0x1109), no space (-0x1105).
        """
        key = _key(name)
        for index, taken in self._namespaces():
            if taken == key:
                return index
        if not create or not self._writable:
            raise nvs_error(nvs_errors.NOT_FOUND)
        taken = [index for index, _ in self._namespaces()]
        for index in range(1, _NAMESPACE_MAX + 1):
            if index not in taken:
                self._change(self._put, integer_entry(_NAMESPACES, TYPE_U8, key, index))
                return index
        raise nvs_error(nvs_errors.NOT_ENOUGH_SPACE)

    def get(self, namespace, key):
        """The value of a key: (type, value), type as in Entry, value int, str or bytes.

        namespace: index from open_namespace. Raises OSError: not found, also where a payload's
        checksum is wrong (-0x1102); a string that is not UTF-8, a type unknown here (-0x1103).
        """
        item = self._value(namespace, _key(key))
        if item is None:
            raise nvs_error(nvs_errors.NOT_FOUND)
        if item.kind not in TYPE_NAMES:
            raise nvs_error(nvs_errors.TYPE_MISMATCH)
        if item.integer is not None:
            return TYPE_NAMES[item.kind], item.integer
        data = self._read_blob(item) if item.kind == TYPE_BLOB_INDEX else item.page.payload(item)
        if data is None:
            raise nvs_error(nvs_errors.NOT_FOUND)
        if item.kind == TYPE_STRING:
            return TYPE_NAMES[TYPE_STRING], _string(data)
        return TYPE_NAMES[TYPE_BLOB], bytes(data)

    def set_i32(self, namespace, key, value):
        """Write a 32-bit integer. Raises OSError: no space (-0x1105), key too long (-0x1109)."""
        entry = integer_entry(namespace, TYPE_I32, _key(key), value)
        old = self._value(namespace, _key(key))
        if old is None or old.kind != TYPE_I32 or old.integer != value:
            self._change(self._put_value, entry)

    def set_blob(self, namespace, key, value):
        """Write a buffer's bytes. Raises OSError: no space (-0x1105), key too long (-0x1109),
        longer than the partition can ever hold (-0x110e)."""
        key = _key(key)
        value = bytes(memoryview(value))
        pages = min(len(self._pages) + len(self._free) - 1, _CHUNKS_MAX)
        if len(value) > pages * CHUNK_MAX_BYTES:
            raise nvs_error(nvs_errors.VALUE_TOO_LONG)
        old = self._value(namespace, key)
        first_chunk = FIRST_CHUNKS[0]
        if old is not None and old.kind == TYPE_BLOB_INDEX:
            if self._read_blob(old) == value:
                return
            if old.data[5] < FIRST_CHUNKS[1]:
                first_chunk = FIRST_CHUNKS[1]
        self._change(self._put_blob, namespace, key, memoryview(value), first_chunk)

    def erase_key(self, namespace, key):
        """Erase a key. Raises OSError -0x1102 if there is none."""
        key = _key(key)
        if self._value(namespace, key) is None:
            raise nvs_error(nvs_errors.NOT_FOUND)
        self._change(self._drop, namespace, key, None, ())

    def entries(self):
        """A list of Entry: what is stored in namespaces that have a name."""
        names = {index: _text(key) for index, key in self._namespaces()}
        found = []
        for item in self._items():
            if item.namespace in names and item.kind != TYPE_BLOB_DATA:
                size = item.kind & 0x0F  # an integer type's low digit is its size
                if item.kind == TYPE_BLOB_INDEX:
                    size = item.blob_bytes
                elif item.has_payload:
                    size = item.payload_bytes
                kind = TYPE_NAMES.get(item.kind, "0x%02x" % item.kind)
                found.append(Entry(names[item.namespace], _text(item.key), kind, size))
        return found

    # Mounting

    def _load(self, pages):
        buffer = bytearray(PAGE_BYTES)
        for page in pages:
            page.load(buffer)
            if page.state in (PAGE_EMPTY, PAGE_CORRUPT):
                self._free.append(page)
            else:
                self._pages.append(page)
        self._pages.sort(key=lambda page: page.sequence)

    def _finish_freeing(self):
        """Finish moving items out of a FREEING page (PageManager::load).

        A copy that is whole stays: then the old page may be half erased, which ESP-IDF, starting
        the copy again from it, would take for its content.
        """
        for page in self._pages:
            if page.state == PAGE_FREEING:
                break
        else:
            return
        last = self._pages[-1]
        if last.state == PAGE_ACTIVE:
            if not _holds_items_of(last, page):
                self._release(last)
            else:
                self._release(page)
                return
        if self._writable:
            self._move(page, self._activate())

    def _drop_copies(self):
        """An erase that broke off may leave a page that counts as FULL again, its items moved
        long since: the later copies stay, and a page that holds nothing else is freed."""
        later = []
        for page in reversed(self._pages[:]):
            for item in page.items[:]:
                if item.identity in later:
                    page.erase_item(item)
            later.extend([item.identity for item in page.items])
            if not page.items and not self._free and page is not self._pages[-1]:
                self._release(page)

    def _drop_replaced(self):
        """A cut before an old value was erased leaves two: the last item written counts."""
        if not self._pages or not self._pages[-1].items:
            return
        last = self._pages[-1].items[-1]
        if last.kind == TYPE_BLOB_DATA or last.namespace == _NAMESPACES:
            return
        for item in self._items(last.namespace):
            if item is not last and item.key == last.key and item.kind != TYPE_BLOB_DATA:
                item.page.erase_item(item)

    def _drop_incomplete_blobs(self):
        """Blob indexes that lack chunks, then chunks that no index names."""
        for index in [i for i in self._items() if i.kind == TYPE_BLOB_INDEX]:
            chunks = self._chunks(index)
            sizes = [chunk.payload_bytes for chunk in chunks if chunk is not None]
            if len(sizes) != len(chunks) or sum(sizes) != index.blob_bytes:
                index.page.erase_item(index)
        wanted = []
        for index in self._items():
            if index.kind == TYPE_BLOB_INDEX:
                wanted.extend(self._chunks(index))
        for item in self._items():
            if item.kind == TYPE_BLOB_DATA and item not in wanted:
                item.page.erase_item(item)

    # Finding

    def _items(self, namespace=None):
        """Items in the order they were written, of one namespace or all; the list is a copy."""
        return [
            item
            for page in self._pages
            for item in page.items
            if namespace is None or item.namespace == namespace
        ]

    def _namespaces(self):
        """(index, name as bytes) of each namespace."""
        return [
            (item.integer, item.key)
            for item in self._items(_NAMESPACES)
            if item.kind == TYPE_U8 and 0 < item.integer <= _NAMESPACE_MAX
        ]

    def _value(self, namespace, key):
        for item in self._items(namespace):
            if item.key == key and item.kind != TYPE_BLOB_DATA:
                return item
        return None

    def _chunks(self, index):
        """The chunks of a blob index in order; None for one that is missing."""
        chunks = [None] * len(index.chunks)
        for item in self._items(index.namespace):
            if item.kind == TYPE_BLOB_DATA and item.key == index.key and item.chunk in index.chunks:
                chunks[item.chunk - index.chunks[0]] = item
        return chunks

    def _read_blob(self, index):
        """The bytes of a blob, None if a chunk is damaged."""
        value = bytearray()
        for chunk in self._chunks(index):
            payload = chunk.page.payload(chunk) if chunk else None
            if payload is None:
                return None
            value.extend(payload)
        return value

    # Writing

    def _change(self, operation, *arguments):
        if not self._writable:
            raise nvs_error(nvs_errors.READ_ONLY)
        if self._changing:  # an earlier change broke off: what is on flash needs a mount
            raise nvs_error(nvs_errors.INVALID_STATE)
        self._changing = True
        done = operation(*arguments)
        self._changing = False
        if not done:
            raise nvs_error(nvs_errors.NOT_ENOUGH_SPACE)

    def _put_value(self, entry):
        item = self._put(entry)
        if item is not None:
            self._drop(item.namespace, item.key, item, ())
        return item is not None

    def _put(self, entry):
        """Write an item of one entry; None if there is no space."""
        page = self._pages[-1]
        if not page.room:
            page = self._next_page()
        return page.append(entry) if page is not None and page.room else None

    def _put_blob(self, namespace, key, value, first_chunk):
        """Chunks first, then the index that makes them count, then the old value goes
        (Storage::writeMultiPageBlob). False if there is no space; the old value stays then."""
        chunk_count = self._put_chunks(namespace, key, value, first_chunk)
        written = range(first_chunk, first_chunk + _CHUNKS_MAX)
        if chunk_count:
            entry = blob_index_entry(namespace, key, len(value), first_chunk, chunk_count)
            index = self._put(entry)
            if index is not None:
                return self._drop(namespace, key, index, written)
        for item in self._items(namespace):
            if item.kind == TYPE_BLOB_DATA and item.key == key and item.chunk in written:
                item.page.erase_item(item)
        return False

    def _put_chunks(self, namespace, key, value, first_chunk):
        """Write a blob in as few chunks as pages allow; their number, 0 if there is no space."""
        page = self._first_chunk_page(len(value))
        offset = count = 0
        while page is not None and page.room > 1 and count < _CHUNKS_MAX:
            chunk = value[offset : offset + (page.room - 1) * ENTRY_BYTES]
            page.append(
                payload_entry(namespace, TYPE_BLOB_DATA, first_chunk + count, key, chunk), chunk
            )
            offset += len(chunk)
            count += 1
            if offset == len(value):
                return count
            page = self._next_page()
        return 0

    def _first_chunk_page(self, size):
        # Little room left, and not enough: begin on another page rather than with a splinter.
        page = self._pages[-1]
        while _is_splinter(page.room, size):
            room = page.room
            page = self._next_page()
            if page is None or page.room == room:  # as roomy as it gets
                return None
        return page

    def _drop(self, namespace, key, keep, chunks_kept):
        """Mark erased what else stands under a key: a blob's index before its chunks."""
        found = [i for i in self._items(namespace) if i.key == key and i is not keep]
        for item in found:
            if item.kind != TYPE_BLOB_DATA:
                item.page.erase_item(item)
        for item in found:
            if item.kind == TYPE_BLOB_DATA and item.chunk not in chunks_kept:
                item.page.erase_item(item)
        return True

    def _next_page(self):
        """The page to go on with; one page is always kept free to move items into.

        Where it is the last one free, the page with the fewest items is moved there first
        (PageManager::requestNewPage). None if every page is full of items.
        """
        last = self._pages[-1]
        if last.state == PAGE_ACTIVE:
            last.mark(PAGE_FULL)
        if len(self._free) > 1:
            return self._activate()
        emptiest = min(self._pages, key=lambda page: page.used)
        if emptiest.used == ENTRIES:
            return None
        emptiest.mark(PAGE_FREEING)
        return self._move(emptiest, self._activate())

    def _activate(self):
        """Take a free page; its header is written with its first item."""
        page = self._free.pop(0)
        if page.state == PAGE_CORRUPT:
            page.erase()
        page.sequence = self._pages[-1].sequence + 1 & 0xFFFFFFFF if self._pages else 0
        self._pages.append(page)
        return page

    def _move(self, source, target):
        for item in source.items:
            payload = source.payload(item)
            if payload is not None:
                target.copy(item, payload)
        self._release(source)
        return target

    def _release(self, page):
        self._pages.remove(page)
        if self._writable:
            page.erase()
            self._free.append(page)


def _holds_items_of(copy, page):
    there = [bytes(copy.raw_entry(item)) for item in copy.items]
    for item in page.items:
        if page.payload(item) is not None and bytes(page.raw_entry(item)) not in there:
            return False
    return True


def _is_splinter(room, size):
    tailroom = max(0, room - 1) * ENTRY_BYTES
    return room < 2 or tailroom < min(size, CHUNK_MAX_BYTES // 10)


def _key(text):
    key = text.encode()
    if len(key) > KEY_MAX_BYTES:
        raise nvs_error(nvs_errors.KEY_TOO_LONG)
    return key


def _string(data):
    try:
        return str(bytes(data[:-1]), "utf-8")
    except UnicodeError:
        pass  # raised outside: the error itself carries the value
    raise nvs_error(nvs_errors.TYPE_MISMATCH)


def _text(key):
    return "".join([chr(b) if 0x20 <= b < 0x7F else "\\x%02x" % b for b in key])
