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
