"""NVS images: those of esp-idf-nvs-partition-gen are read here, ours by a parser of its own.

`parse_image` shares no code with virtual_esp32: it is written from the layout in ESP-IDF's
documentation ("NVS internals") and refuses anything a clean partition does not hold.
"""

import importlib.util
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.micropython.test_virtual_nvs import NorPartition, partition_of
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import partition_layout
from virtual_esp32.nvs import NVS
from virtual_esp32.nvs_storage import NvsStorage
from virtual_esp32.partition import VirtualPartition

Value = tuple[str, int | str | bytes]
INTEGERS = {1: "u8", 17: "i8", 2: "u16", 18: "i16", 4: "u32", 20: "i32", 8: "u64", 24: "i64"}
BLANK = b"\xff" * 32


def crc(data: bytes) -> int:
    return zlib.crc32(data, 0xFFFFFFFF)


def u32(data: bytes, offset: int = 0) -> int:
    return int.from_bytes(data[offset : offset + 4], "little")


def page_items(page: bytes) -> list[tuple[bytes, bytes]]:
    """(first entry, payload entries) of each written item of a page."""
    state = u32(page)
    assert state in (0xFFFFFFFE, 0xFFFFFFFC), f"page state {state:08x}"
    assert page[8] in (0xFE, 0xFF), "version"
    assert u32(page, 28) == crc(page[4:28]), "page header CRC"
    entries = [page[i : i + 32] for i in range(64, 4096, 32)]
    states = [page[32 + i // 4] >> 2 * (i % 4) & 3 for i in range(126)]
    assert 1 not in states
    if state == 0xFFFFFFFE:
        end = states.index(3) if 3 in states else 126
        assert all(s == 3 for s in states[end:]), "a gap in the entries of the active page"
        assert all(e == BLANK for e in entries[end:]), "bytes behind the last entry"
    items, i = [], 0
    while i < 126:
        if states[i] != 2:
            i += 1
            continue
        entry, span = entries[i], entries[i][2]
        assert u32(entry, 4) == crc(entry[:4] + entry[8:]), f"entry {i}: CRC"
        assert 1 <= span <= 126 - i and set(states[i : i + span]) == {2}, f"entry {i}: span"
        items.append((entry, b"".join(entries[i + 1 : i + span])))
        i += span
    return items


def is_corrupt(page: bytes) -> bool:
    """Whether ESP-IDF takes a page for rubbish that it erases before it uses it."""
    states = (0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8)
    return u32(page) not in states or u32(page, 28) != crc(page[4:28])


def parse_image(image: bytes, *, torn: bool = False) -> dict[tuple[str, str], Value]:
    """Every value of an NVS partition that needs no repair; `torn` allows rubbish pages."""
    pages = [image[i : i + 4096] for i in range(0, len(image), 4096)]
    pages = [p for p in pages if not (torn and is_corrupt(p)) and p != b"\xff" * 4096]
    used = sorted(pages, key=lambda p: u32(p, 4))
    assert len({u32(p, 4) for p in used}) == len(used), "sequence numbers"
    items = [item for page in used for item in page_items(page)]
    names = {e[24]: e[8:24].rstrip(b"\0").decode() for e, _ in items if e[0] == 0}
    chunks: dict[tuple[int, bytes, int], bytes] = {}
    values: dict[tuple[int, bytes], Value] = {}
    indexes = []
    for entry, payload in items:
        namespace, kind, span, chunk, key = *entry[:4], entry[8:24]
        data = entry[24:]
        if kind in (0x21, 0x41, 0x42):
            size = int.from_bytes(data[:2], "little")
            assert span == 1 + (size + 31) // 32
            assert u32(data, 4) == crc(payload[:size]), "payload CRC"
            assert payload[size:] == b"\xff" * (-size % 32) or kind == 0x21
            payload = payload[:size]
        if namespace == 0:
            continue
        if kind == 0x42:
            assert (namespace, key, chunk) not in chunks
            chunks[namespace, key, chunk] = payload
            continue
        assert (namespace, key) not in values, "two values under a key"
        values[namespace, key] = ("blob", payload)
        if kind == 0x48:
            indexes.append((namespace, key, u32(data), data[4], data[5]))
        elif kind == 0x21:
            assert payload[-1:] == b"\0"
            values[namespace, key] = ("string", payload[:-1].decode())
        elif kind != 0x41:
            name = INTEGERS[kind]
            number = int.from_bytes(data[: kind & 15], "little", signed=name[0] == "i")
            values[namespace, key] = (name, number)
    for namespace, key, size, count, start in indexes:
        blob = b"".join(chunks.pop((namespace, key, start + i)) for i in range(count))
        assert len(blob) == size
        values[namespace, key] = ("blob", blob)
    assert not chunks, "chunks that no blob index names"
    return {(names[n], k.rstrip(b"\0").decode()): v for (n, k), v in values.items()}


def mounted(image: bytes, *, writable: bool = True) -> NvsStorage:
    return NvsStorage(NorPartition(NorFlash(MemoryStorage(image))), writable)


def stored(storage: NvsStorage) -> dict[tuple[str, str], Value]:
    return {
        (e.namespace, e.key): storage.get(storage.open_namespace(e.namespace), e.key)
        for e in storage.entries()
    }


def image_of(partition: NorPartition) -> bytes:
    return bytes(partition.flash.read(0, partition.flash.size))


def generate(folder: Path, csv: str, *options: str, size: int = 0x6000) -> bytes:
    if importlib.util.find_spec("esp_idf_nvs_partition_gen") is None:
        pytest.skip("esp-idf-nvs-partition-gen is not installed")
    (folder / "nvs.csv").write_text("key,type,encoding,value\n" + csv)
    module = "esp_idf_nvs_partition_gen"
    command = [sys.executable, "-m", module, "generate", "nvs.csv", "nvs.bin", hex(size)]
    done = subprocess.run(
        [*command, *options], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "nvs.bin").read_bytes()


INTEGER_VALUES = {
    "u8": 255, "i8": -128, "u16": 65535, "i16": -32768, "u32": 2**32 - 1, "i32": -(2**31),
    "u64": 2**64 - 1, "i64": -(2**63),
}  # fmt: skip
BLOB = bytes(i * 7 % 256 for i in range(9000))
CSV = (
    "numbers,namespace,,\n"
    + "".join(f"{k},data,{k},{v}\n" for k, v in INTEGER_VALUES.items())
    + "texts,namespace,,\n"
    + "short,data,string,kitchen\n"
    + f"long,data,string,{'x' * 3000}\n"
    + "blobs,namespace,,\n"
    + f"small,data,hex2bin,{bytes(range(32)).hex()}\n"
    + f"large,data,hex2bin,{BLOB.hex()}\n"
    + "after,data,i32,7\n"
)
VALUES: dict[tuple[str, str], Value] = {
    **{("numbers", k): (k, v) for k, v in INTEGER_VALUES.items()},
    ("texts", "short"): ("string", "kitchen"),
    ("texts", "long"): ("string", "x" * 3000),
    ("blobs", "small"): ("blob", bytes(range(32))),
    ("blobs", "large"): ("blob", BLOB),
    ("blobs", "after"): ("i32", 7),
}


@pytest.mark.parametrize("writable", [True, False])
def test_an_image_of_esp_idfs_generator_is_read(tmp_path: Path, writable: bool) -> None:
    image = generate(tmp_path, CSV)
    assert parse_image(image) == VALUES
    storage = mounted(image, writable=writable)
    assert stored(storage) == VALUES
    sizes = {(e.namespace, e.key): (e.type, e.size) for e in storage.entries()}
    assert sizes["numbers", "u16"] == ("u16", 2)
    assert sizes["texts", "short"] == ("string", 8)
    assert sizes["blobs", "large"] == ("blob", 9000)


def test_mounting_an_image_of_the_generator_changes_nothing(tmp_path: Path) -> None:
    partition = NorPartition(NorFlash(MemoryStorage(generate(tmp_path, CSV))))
    NvsStorage(partition)
    assert partition.flash.operations == 0


def test_an_image_in_the_first_version_of_the_format_is_read(tmp_path: Path) -> None:
    image = generate(
        tmp_path, "old,namespace,,\nblob,data,hex2bin,00ff10\nn,data,u8,3\n", "--version", "1"
    )
    partition = NorPartition(NorFlash(MemoryStorage(image)))
    nvs = NVS(NvsStorage(partition), "old")
    buffer = bytearray(8)
    assert buffer[: nvs.get_blob("blob", buffer)] == b"\x00\xff\x10"
    nvs.set_blob("blob", b"new")
    expected = {("old", "blob"): ("blob", b"new"), ("old", "n"): ("u8", 3)}
    assert parse_image(image_of(partition)) == expected
    assert stored(NvsStorage(partition)) == expected


def test_values_written_over_an_image_of_the_generator_replace_its_own(tmp_path: Path) -> None:
    partition = NorPartition(NorFlash(MemoryStorage(generate(tmp_path, CSV, size=0x8000))))
    nvs = NVS(NvsStorage(partition), "blobs")
    nvs.set_blob("large", BLOB[::-1])
    nvs.set_i32("after", 8)
    nvs.erase_key("small")
    expected = {**VALUES, ("blobs", "large"): ("blob", BLOB[::-1]), ("blobs", "after"): ("i32", 8)}
    del expected["blobs", "small"]
    assert parse_image(image_of(partition)) == expected
    assert stored(NvsStorage(partition)) == expected


def test_what_is_written_here_equals_the_generators_bytes(tmp_path: Path) -> None:
    image = generate(
        tmp_path,
        "dice,namespace,,\n"
        f"uds,data,hex2bin,{BLOB[:32].hex()}\ncount,data,i32,-2\nbig,data,hex2bin,{BLOB.hex()}\n",
    )
    partition = partition_of(6)
    nvs = NVS(NvsStorage(partition), "dice")
    nvs.set_blob("uds", BLOB[:32])
    nvs.set_i32("count", -2)
    nvs.set_blob("big", BLOB)
    assert image_of(partition) == image


def test_a_generators_partition_without_a_free_page_is_only_read(tmp_path: Path) -> None:
    image = generate(tmp_path, "a,namespace,,\nb,data,u8,1\n", size=0x1000)
    assert stored(mounted(image, writable=False)) == {("a", "b"): ("u8", 1)}
    with pytest.raises(OSError, match="NO_FREE_PAGES") as caught:
        mounted(image)
    assert caught.value.errno == -0x110D


def test_the_nvs_partition_of_a_board_keeps_values_and_touches_nothing_else() -> None:
    size = 4 * 1024 * 1024
    flash = NorFlash(MemoryStorage(b"\xff" * size))
    board = VirtualBoard(flash, EFuse(bytes.fromhex("240ac4010203")))
    entry = next(p for p in partition_layout(size) if p.label == "nvs")
    nvs = NVS(NvsStorage(VirtualPartition(board, entry)), "dice")
    nvs.set_blob("uds", BLOB[:32])
    for i in range(400):
        nvs.set_i32("count", i)
    image = bytes(flash.read(entry.offset, entry.size))
    assert parse_image(image) == {
        ("dice", "uds"): ("blob", BLOB[:32]),
        ("dice", "count"): ("i32", 399),
    }
    assert flash.read(0, entry.offset) == b"\xff" * entry.offset
    assert flash.read(entry.end, size - entry.end) == b"\xff" * (size - entry.end)


def test_a_page_of_a_newer_format_is_refused() -> None:
    header = bytearray(b"\xff" * 32)
    header[0:9] = b"\xfe\xff\xff\xff\x00\x00\x00\x00\xfd"
    header[28:32] = crc(header[4:28]).to_bytes(4, "little")
    with pytest.raises(OSError, match="NEW_VERSION_FOUND"):
        mounted(bytes(header) + b"\xff" * (3 * 4096 - 32))


def test_a_value_whose_bytes_rotted_is_not_found() -> None:
    partition = partition_of(3)
    nvs = NVS(NvsStorage(partition), "settings")
    nvs.set_blob("blob", b"kitchen")
    nvs.set_i32("count", 3)
    image = image_of(partition)
    at = image.index(b"kitchen")
    rotten = NVS(mounted(image[:at] + b"K" + image[at + 1 :]), "settings")
    with pytest.raises(OSError, match="NOT_FOUND"):
        rotten.get_blob("blob", bytearray(8))
    assert rotten.get_i32("count") == 3


def test_a_string_that_is_not_utf8_is_refused_without_showing_it(tmp_path: Path) -> None:
    image = bytearray(generate(tmp_path, "a,namespace,,\ns,data,string,SECRET\n"))
    at = image.index(b"SECRET")
    image[at] = 0xFF
    entry = at - 32
    image[entry + 28 : entry + 32] = crc(bytes(image[at : at + 7])).to_bytes(4, "little")
    body = bytes(image[entry : entry + 4] + image[entry + 8 : entry + 32])
    image[entry + 4 : entry + 8] = crc(body).to_bytes(4, "little")
    storage = mounted(bytes(image))
    with pytest.raises(OSError, match="TYPE_MISMATCH") as caught:
        storage.get(storage.open_namespace("a"), "s")
    assert caught.value.__context__ is None


def small_image() -> bytes:
    partition = partition_of(3)
    nvs = NVS(NvsStorage(partition), "settings")
    nvs.set_i32("count", 3)
    nvs.set_blob("blob", BLOB[:200])
    nvs.set_blob("blob", BLOB[:4500])
    nvs.set_i32("count", 4)
    return image_of(partition)


SMALL_IMAGE = small_image()


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(SMALL_IMAGE) - 1) | st.integers(0, 500), st.integers(0, 255)),
        max_size=12,
    ),
    fix_checksums=st.booleans(),
    writable=st.booleans(),
)
def test_a_damaged_partition_is_mounted_or_refused_but_never_crashes(
    changes: list[tuple[int, int]], fix_checksums: bool, writable: bool
) -> None:
    image = bytearray(SMALL_IMAGE)
    for at, value in changes:
        image[at] = value
        entry = at // 32 * 32
        if fix_checksums and entry % 4096 >= 64:
            checksum = crc(bytes(image[entry : entry + 4] + image[entry + 8 : entry + 32]))
            image[entry + 4 : entry + 8] = checksum.to_bytes(4, "little")
    try:
        storage = mounted(bytes(image), writable=writable)
        for entry in storage.entries():
            storage.get(storage.open_namespace(entry.namespace, create=False), entry.key)
        nvs = NVS(storage, "settings")
        nvs.set_blob("blob", b"new")
        nvs.set_i32("count", 5)
    except OSError as error:
        if not -0x1110 <= error.args[0] <= -0x1102:
            raise
    else:
        assert nvs.get_i32("count") == 5
