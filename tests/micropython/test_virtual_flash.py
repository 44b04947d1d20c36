"""NOR flash, stricter than real, on both runtimes."""

from virtual_esp32.errors import FlashError
from virtual_esp32.flash import MemoryStorage, NorFlash


def flash_of(sectors):
    return NorFlash(MemoryStorage(b"\xff" * (4096 * sectors)))


def refuses(operation, *arguments):
    try:
        operation(*arguments)
    except FlashError:
        return True
    return False


def test_a_write_clears_bits_and_an_erase_sets_a_whole_sector():
    flash = flash_of(2)
    flash.write(4096, b"\x0f\xf0\x00\xff")
    assert flash.read(4096, 4) == b"\x0f\xf0\x00\xff"
    flash.write(4096, b"\x0f\x00\x00\x0f")
    assert flash.read(4096, 4) == b"\x0f\x00\x00\x0f"
    flash.erase_sector(1)
    assert flash.read(4096, 4096) == b"\xff" * 4096


def test_a_write_that_would_set_a_bit_is_refused_and_changes_nothing():
    flash = flash_of(1)
    flash.write(0, bytes(2048))
    assert refuses(flash.write, 1024, bytes(1023) + b"\x01")
    assert flash.read(0, 2048) == bytes(2048)


def test_unaligned_writes_and_anything_past_the_end_are_refused():
    flash = flash_of(1)
    assert refuses(flash.write, 2, bytes(4))
    assert refuses(flash.write, 4, bytes(3))
    assert refuses(flash.write, 4092, bytes(8))
    assert refuses(flash.write, -4, bytes(4))
    assert refuses(flash.erase_sector, 1)
    assert refuses(flash.read, 4090, 7)
    assert flash.operations == 0


def test_operations_and_wear_are_counted():
    flash = flash_of(2)
    flash.erase_sector(1)
    flash.erase_sector(1)
    flash.write(0, bytes(4))
    assert flash.operations == 3
    assert flash.erase_counts == [0, 2]


def test_flash_that_is_not_whole_sectors_is_refused():
    assert refuses(NorFlash, MemoryStorage(bytes(4095)))
    assert refuses(NorFlash, MemoryStorage(b""))


def test_a_snapshot_keeps_what_the_flash_was():
    flash = flash_of(4)
    flash.write(0, b"\x12\x34\x56\x78")
    first = flash.snapshot()
    flash.write(4092, b"\x00" * 8)
    flash.erase_sector(0)
    second = flash.snapshot()
    flash.write(8192, bytes(4096))
    then = NorFlash.from_snapshot(first)
    assert then.read(0, 8) == b"\x12\x34\x56\x78\xff\xff\xff\xff"
    assert (then.operations, then.erase_counts) == (1, [0, 0, 0, 0])
    later = NorFlash.from_snapshot(second)
    assert later.read(0, 8192) == b"\xff" * 4096 + b"\x00" * 4 + b"\xff" * 4092
    assert (later.operations, later.erase_counts) == (3, [1, 0, 0, 0])


def test_flashes_from_one_snapshot_do_not_see_each_other():
    flash = flash_of(3)
    flash.write(4092, b"\x0f\x0f\x0f\x0f")
    snapshot = flash.snapshot()
    one, other = NorFlash.from_snapshot(snapshot), NorFlash.from_snapshot(snapshot)
    one.write(4088, b"\x01" * 12)
    other.erase_sector(0)
    third = NorFlash.from_snapshot(one.snapshot())
    one.erase_sector(1)
    assert other.read(4088, 12) == b"\xff" * 12
    assert third.read(4088, 12) == b"\x01" * 12
    assert flash.read(4088, 12) == b"\xff" * 4 + b"\x0f" * 4 + b"\xff" * 4
    assert NorFlash.from_snapshot(snapshot).read(0, 12288) == flash.read(0, 12288)


def test_a_flash_from_a_snapshot_is_as_strict():
    flash = NorFlash.from_snapshot(flash_of(2).snapshot())
    flash.write(4092, bytes(8))
    assert refuses(flash.write, 4096, b"\x00\x00\x00\x01")
    assert refuses(flash.read, 8190, 4)
    assert refuses(flash.erase_sector, 2)
