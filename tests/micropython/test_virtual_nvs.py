"""NVS of a virtual board, on both runtimes: what MicroPython's esp32.NVS does."""

from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.nvs import NVS
from virtual_esp32.nvs_storage import NvsStorage


class NorPartition:
    """The block device that VirtualPartition is, over a whole NorFlash."""

    def __init__(self, flash):
        self.flash = flash

    def readblocks(self, block, buffer, offset=0):
        self.flash.read_into(block * 4096 + offset, buffer)

    def writeblocks(self, block, buffer, offset=None):
        if offset is None:
            raise ValueError("NVS erases by itself")
        self.flash.write(block * 4096 + offset, buffer)

    def ioctl(self, operation, argument):
        if operation == 4:
            return self.flash.size // 4096
        self.flash.erase_sector(argument)
        return 0


def partition_of(pages):
    return NorPartition(NorFlash(MemoryStorage(b"\xff" * (4096 * pages))))


def errno_of(operation, *arguments):
    try:
        operation(*arguments)
    except OSError as error:
        return error.args[0]
    return None


def blob_of(nvs, key, size=20000):
    buffer = bytearray(size)
    return bytes(buffer[: nvs.get_blob(key, buffer)])


def test_values_come_back_after_a_reset():
    partition = partition_of(4)
    nvs = NVS(NvsStorage(partition), "settings")
    nvs.set_i32("count", -7)
    nvs.set_blob("name", b"kitchen")
    nvs.commit()
    again = NVS(NvsStorage(partition), "settings")
    assert again.get_i32("count") == -7
    assert blob_of(again, "name") == b"kitchen"


def test_errors_carry_esp_idfs_numbers():
    nvs = NVS(NvsStorage(partition_of(4)), "settings")
    nvs.set_i32("count", 1)
    nvs.set_blob("blob", b"12345")
    assert errno_of(nvs.get_i32, "absent") == -0x1102
    assert errno_of(nvs.get_i32, "blob") == -0x1102
    assert errno_of(nvs.get_blob, "count", bytearray(8)) == -0x1102
    assert errno_of(nvs.get_blob, "blob", bytearray(4)) == -0x110C
    assert errno_of(nvs.erase_key, "absent") == -0x1102
    assert errno_of(nvs.set_i32, "k" * 16, 1) == -0x1109
    assert errno_of(nvs.set_blob, "blob", bytes(3 * 4000 + 1)) == -0x110E
    assert blob_of(nvs, "blob") == b"12345"


def test_a_number_that_is_no_32_bit_integer_is_refused():
    nvs = NVS(NvsStorage(partition_of(3)), "settings")
    for value, error in (
        (1 << 31, OverflowError),
        (-(1 << 31) - 1, OverflowError),
        (1.5, TypeError),
    ):
        try:
            nvs.set_i32("count", value)
            raise AssertionError("accepted")
        except error:
            pass
    nvs.set_i32("low", -(1 << 31))
    nvs.set_i32("high", (1 << 31) - 1)
    assert (nvs.get_i32("low"), nvs.get_i32("high")) == (-(1 << 31), (1 << 31) - 1)


def test_blobs_span_entries_and_pages():
    partition = partition_of(6)
    nvs = NVS(NvsStorage(partition), "blobs")
    for size in (0, 1, 31, 32, 33, 3968, 4000, 4001, 9000):
        value = (bytes([size & 0xFF]) + bytes(range(251)) * 36)[:size]
        nvs.set_blob("blob", value)
        assert blob_of(nvs, "blob") == value
        assert blob_of(NVS(NvsStorage(partition), "blobs"), "blob") == value


def test_a_key_holds_one_value_of_the_last_type_written():
    partition = partition_of(3)
    nvs = NVS(NvsStorage(partition), "settings")
    nvs.set_i32("key", 5)
    nvs.set_blob("key", b"five")
    assert errno_of(nvs.get_i32, "key") == -0x1102
    nvs.set_i32("key", 6)
    again = NVS(NvsStorage(partition), "settings")
    assert again.get_i32("key") == 6
    assert errno_of(again.get_blob, "key", bytearray(9)) == -0x1102
    assert len(NvsStorage(partition).entries()) == 1


def test_the_same_key_in_two_namespaces_is_two_values():
    storage = NvsStorage(partition_of(3))
    one, two = NVS(storage, "one"), NVS(storage, "two")
    one.set_i32("key", 1)
    two.set_i32("key", 2)
    one.erase_key("key")
    assert errno_of(one.get_i32, "key") == -0x1102
    assert two.get_i32("key") == 2


def test_an_unchanged_value_is_not_written_again():
    partition = partition_of(3)
    nvs = NVS(NvsStorage(partition), "settings")
    nvs.set_i32("count", 1)
    nvs.set_blob("blob", b"abc")
    before = partition.flash.operations
    nvs.set_i32("count", 1)
    nvs.set_blob("blob", b"abc")
    NvsStorage(partition)
    assert partition.flash.operations == before


def test_pages_take_turns_when_values_change_often():
    partition = partition_of(4)
    nvs = NVS(NvsStorage(partition), "settings")
    nvs.set_blob("still", b"stays")
    for i in range(1500):
        nvs.set_i32("count", i)
    assert nvs.get_i32("count") == 1499
    assert blob_of(nvs, "still") == b"stays"
    # As in ESP-IDF, the page of values that never change stays where it is.
    still, *turning = partition.flash.erase_counts
    assert still == 0
    assert min(turning) >= 3 and max(turning) - min(turning) <= 1


def test_a_full_partition_keeps_what_it_has():
    partition = partition_of(3)
    nvs = NVS(NvsStorage(partition), "settings")
    written = 0
    while errno_of(nvs.set_i32, "key%d" % written, written) is None:
        written += 1
    assert written == 2 * 126 - 1
    assert errno_of(nvs.set_i32, "more", 1) == -0x1105
    assert errno_of(nvs.set_blob, "more", b"1") == -0x1105
    again = NVS(NvsStorage(partition), "settings")
    assert all(again.get_i32("key%d" % i) == i for i in range(written))
    again.erase_key("key0")
    again.set_i32("more", 1)
    assert again.get_i32("more") == 1


def test_neither_repr_nor_error_nor_listing_shows_a_value():
    storage = NvsStorage(partition_of(3))
    nvs = NVS(storage, "dice")
    nvs.set_blob("uds", b"SECRETSECRET")
    shown = repr(nvs) + repr(storage)
    try:
        nvs.get_blob("uds", bytearray(3))
    except OSError as error:
        shown += repr(error)
    entry = storage.entries()[0]
    shown += repr(entry)
    assert (entry.namespace, entry.key, entry.type, entry.size) == ("dice", "uds", "blob", 12)
    assert "SECRET" not in shown


def test_reading_without_writing_leaves_the_flash_alone():
    partition = partition_of(3)
    NVS(NvsStorage(partition), "settings").set_i32("count", 9)
    before = partition.flash.operations
    storage = NvsStorage(partition, writable=False)
    assert storage.get(storage.open_namespace("settings"), "count") == ("i32", 9)
    assert errno_of(storage.open_namespace, "new") == -0x1102
    assert errno_of(storage.set_i32, 1, "count", 10) == -0x1104
    assert partition.flash.operations == before
