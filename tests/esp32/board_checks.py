"""Board and the fakes below it, on both runtimes: test_board_object.py runs this under each.

What the fakes refuse stands here too: a board object that leans on less than the real chip does
would pass its tests for nothing.
"""

import errno
import sys

import esp
import esp32
import fake_chip
import machine

from esp_image import build
from esp_partition import otadata, table
from ota_service.boards import efuse as fuse_registers
from ota_service.boards.esp32 import Board
from virtual_esp32 import bootloader
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.errors import FlashError
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

_MAC = b"\x24\x0a\xc4\x00\x00\x01"
_FLASH_BYTES = 0x60000
_OTA_1 = 0x30000  # three eighths of the flash, in steps of 64 KiB
_KEYS = [bytes([number + 1]) * 31 + b"\xff" for number in range(3)]
_IDS = {"esp32": 0, "esp32s2": 2, "esp32c3": 5, "esp32s3": 9, "esp32c6": 13}
_IS_MICROPYTHON = sys.implementation.name == "micropython"
_APPS = {}


def _app(chip):
    if chip not in _APPS:
        _APPS[chip] = build.build_app("1.0.0", "thermo", chip=chip, size=8000)
    return _APPS[chip]


def _chip(name="esp32c6", partitions=None):
    """A chip that has just got power."""
    content = flash_content(_FLASH_BYTES, _app(name), partitions)
    efuse = EFuse(_MAC, chip=name)
    return fake_chip.power_on(VirtualBoard(NorFlash(MemoryStorage(content)), efuse))


def _raised(kind, function, *arguments):
    """The arguments of the exception that this raises."""
    try:
        function(*arguments)
    except kind as error:
        return error.args
    raise AssertionError("nothing raised")


def _number(function, *arguments):
    return _raised(OSError, function, *arguments)[0]


# -- fuses ----------------------------------------------------------------------------------------


def test_fuses_of_a_fresh_chip_of_each_kind():
    for name, number in _IDS.items():
        chip = _chip(name)
        board = Board()
        assert (board.chip, board.chip_id) == (name, number)
        assert board.chip_revision == chip.board.chip_revision, name
        assert board.secure_boot == 0
        assert board.key_digests == []
        assert board.revoked_digests == []
        assert board.secure_version == 0


def test_secure_boot_with_its_keys_of_each_kind():
    for name, number in _IDS.items():
        chip = _chip(name)
        keys = _KEYS[:1] if name == "esp32" else _KEYS
        revoked = [False] if name == "esp32" else [False, True, False]
        chip.board.efuse = EFuse(
            _MAC, chip=name, secure_boot=2, key_digests=keys, revoked=revoked, secure_version=16
        )
        found = fuse_registers.read(number)
        assert found[2:] == (2, keys, _KEYS[1:2] if name != "esp32" else [], 16), name


def test_a_digest_counts_without_secure_boot_but_on_the_esp32():
    """There the same block may hold anything else."""
    for name, number in _IDS.items():
        _chip(name).board.efuse = EFuse(_MAC, chip=name, key_digests=_KEYS[:1])
        assert fuse_registers.read(number)[2:4] == (0, [] if name == "esp32" else _KEYS[:1])


def test_any_one_digest_may_be_missing():
    chip = _chip()
    chip.board.efuse = EFuse(_MAC, chip="esp32c6", secure_boot=2, key_digests=_KEYS)
    chip.fuses = {"KEY_PURPOSE_2": 0, "SECURE_BOOT_KEY_REVOKE2": 1}  # where digest 0 is
    assert fuse_registers.read(_IDS["esp32c6"])[3:5] == (_KEYS[1:], _KEYS[2:])


def test_of_two_blocks_for_one_digest_the_first_counts():
    chip = _chip()
    chip.board.efuse = EFuse(_MAC, chip="esp32c6", secure_boot=2, key_digests=_KEYS)
    chip.fuses = {"KEY_PURPOSE_1": 9}
    assert fuse_registers.read(_IDS["esp32c6"])[3] == [bytes([0xA1]) * 32] + _KEYS[1:]


def test_secure_boot_v1():
    chip = _chip("esp32")
    chip.board.efuse = EFuse(_MAC, chip="esp32", secure_boot=1)
    assert fuse_registers.read(0)[2:4] == (1, [])


def test_revisions():
    revisions = {
        "esp32": (0, 1, 100, 101, 200, 300, 301, 303),
        "esp32s2": (0, 1, 100, 107, 115, 301),
        "esp32s3": (1, 2, 100, 115, 302),
        "esp32c3": (3, 4, 101, 111),
        "esp32c6": (0, 1, 2, 115, 303),
    }
    for name, numbers in revisions.items():
        chip = _chip(name)
        for number in numbers:
            chip.board.efuse = EFuse(_MAC, chip=name, chip_revision=number)
            assert fuse_registers.read(_IDS[name])[1] == number, (name, number)


def test_an_esp32_whose_version_cannot_be_counts_as_the_first():
    """efuse_hal.c, efuse_hal_get_major_chip_version."""
    chip = _chip("esp32")
    for bits in ((0, 1, 100), (0, 0, 300), (1, 0, 300), (0, 1, 300)):
        chip.board.efuse = EFuse(_MAC, chip="esp32", chip_revision=bits[2])
        chip.fuses = {"CHIP_VER_REV1": bits[0], "CHIP_VER_REV2": bits[1]}
        assert fuse_registers.read(0)[1] == 0, bits


def test_the_first_esp32s3_has_something_else_in_its_version():
    chip = _chip("esp32s3")
    chip.board.efuse = EFuse(_MAC, chip="esp32s3", chip_revision=308)
    chip.fuses = {"BLK_VERSION_MAJOR": 1, "BLK_VERSION_MINOR": 1}
    assert fuse_registers.read(_IDS["esp32s3"])[1] == 0
    chip.board.efuse = EFuse(_MAC, chip="esp32s3", chip_revision=2)
    assert fuse_registers.read(_IDS["esp32s3"])[1] == 2


def test_secure_versions():
    for name, number in _IDS.items():
        chip = _chip(name)
        for version in (1, 15, 16) + ((32,) if name == "esp32" else ()):
            chip.board.efuse = EFuse(_MAC, chip=name, secure_version=version)
            assert fuse_registers.read(number)[5] == version, name


def test_with_a_coding_scheme_an_esp32_has_no_secure_version():
    chip = _chip("esp32")
    chip.board.efuse = EFuse(_MAC, chip="esp32", secure_version=5)
    for scheme, version in ((0, 5), (1, 0), (2, 0), (3, 5)):
        chip.fuses = {"CODING_SCHEME": scheme}
        assert fuse_registers.read(0)[5] == version


def test_a_chip_that_is_not_listed_is_unknown_and_asks_no_register():
    _chip("esp32h2")
    board = Board()
    assert (board.chip, board.chip_id, board.chip_revision) == ("unknown", 16, None)
    assert (board.secure_boot, board.key_digests, board.revoked_digests) == (0, [], [])
    assert board.secure_version == 0


def test_code_for_the_fuses_is_gone_when_they_have_been_read():
    _chip()
    Board()
    assert ("ota_service.boards.efuse" in sys.modules) == (not _IS_MICROPYTHON)


# -- the rest of the board ------------------------------------------------------------------------


def test_every_object_is_the_same_hardware():
    _chip()
    assert Board().hardware is Board().hardware


def test_mac_and_flash():
    chip = _chip()
    board = Board()
    assert board.mac() == _MAC
    assert board.flash_bytes == _FLASH_BYTES
    found = bytearray(64)
    board.flash_read(0x8000, found)
    assert found == chip.board.flash.read(0x8000, 64)
    assert _number(board.flash_read, _FLASH_BYTES - 32, found) == errno.EIO


def test_partitions_and_image_state():
    _chip()
    board = Board()
    running = board.running_partition()
    assert running.info() == (0, 16, 0x10000, 0x20000, "ota_0", False)
    assert running.get_next_update().info()[4] == "ota_1"
    assert [found.info()[4] for found in board.find_partitions(1, 0)] == ["otadata"]
    assert board.find_partitions(0, 0x12) == []
    from ota_service import confirmation

    entries = confirmation.read_entries(board)
    assert (entries[0].seq, entries[0].state) == (1, otadata.VALID)
    assert not confirmation.is_pending(board)


def test_confirming_writes_valid_once():
    chip = _chip()
    board = Board()
    where = bootloader.find_otadata(chip.board.partitions)
    pending = otadata.build_entry(1, otadata.PENDING_VERIFY)
    bootloader.write_otadata(chip.board.flash, where, 0, pending)
    board.mark_app_valid_cancel_rollback()
    assert bootloader.read_otadata(chip.board.flash, where)[0].state == otadata.VALID
    operations = chip.board.flash.operations
    board.mark_app_valid_cancel_rollback()
    assert chip.board.flash.operations == operations


def test_a_namespace_is_opened_once():
    _chip()
    board = Board()
    opened = esp32.NVS._opened
    board.nvs("ota").set_i32("time", -5)
    board.nvs("ota").commit()
    assert board.nvs("ota").get_i32("time") == -5
    assert board.nvs("dice") is not board.nvs("ota")
    assert esp32.NVS._opened - opened == 2


def test_a_board_without_an_nvs_partition():
    _chip(
        partitions=table.parse_csv(
            "otadata,data,ota,0xd000,0x2000\nota_0,app,ota_0,0x10000,0x20000\n"
            "ota_1,app,ota_1,0x30000,0x20000\n"
        )
    )
    assert Board().nvs("ota") is None
    assert _number(esp32.NVS, "ota") == -0x1101


def test_random_bytes():
    _chip()
    assert len(Board().random(32)) == 32
    assert Board().random(32) != Board().random(32)


def test_the_clock_counts_from_1970_whatever_micropython_counts_from():
    _chip()
    board = Board()
    assert not board.keeps_time
    assert board.ntp_answered_at is None
    for seconds in (946684800, 951826554, 1709251199, 1709251200, 1798761600, 2147483648):
        board.set_time(seconds)
        assert 0 <= fake_chip.clock() - seconds <= 1, seconds
        if _IS_MICROPYTHON:
            assert 0 <= board.time() - seconds <= 1, seconds


def test_a_watchdog_is_fed_where_there_is_one():
    chip = _chip()
    Board().feed_watchdog()
    Board(machine.WDT(timeout=8000)).feed_watchdog()
    assert (chip.watchdog_ms, chip.fed) == (8000, 1)


def test_the_network_is_asked_for_when_it_is_needed():
    chip = _chip()
    sys.modules.pop("network", None)
    board = Board()
    assert "network" not in sys.modules
    assert not board.network_is_up()
    import network

    station = network.WLAN(network.STA_IF)
    assert _raised(OSError, station.connect, "ssid", "key") == ("Wifi Not Started",)
    station.active(True)
    station.connect("ssid", "key")
    assert board.network_is_up()
    chip.board.network_up = False
    assert not board.network_is_up()


def test_another_interface_than_wifi():
    class Cable:
        def isconnected(self):
            return True

    _chip()
    sys.modules.pop("network", None)
    assert Board(interface=Cable()).network_is_up()
    assert "network" not in sys.modules


def test_random_numbers_are_wifis_and_not_the_cables():
    class Cable:
        def isconnected(self):
            return True

    _chip()
    sys.modules.pop("network", None)
    board = Board(interface=Cable())
    assert board.network_is_up() and not board.radio_is_on()
    import network

    network.WLAN(network.STA_IF).active(True)
    assert board.radio_is_on()


def test_nothing_runs_after_a_reset():
    chip = _chip()
    board = Board()
    nvs = board.nvs("ota")
    running = board.running_partition()
    before = chip.board.flash.snapshot()
    buffer = bytearray(16)
    for do in (
        board.reset,
        lambda: nvs.set_i32("a", 1),
        lambda: running.readblocks(0, buffer),
        lambda: esp32.Partition.find(1, 0),
        board.mark_app_valid_cancel_rollback,
        board.reset,
    ):
        _raised(fake_chip.Reset, do)
    assert chip.board.flash.snapshot().operations == before.operations


# -- what the chip refuses ------------------------------------------------------------------------


def test_flash_without_an_erase_only_clears_bits():
    _chip()
    spare = Board().running_partition().get_next_update()
    found = bytearray(16)
    spare.ioctl(6, 0)
    spare.writeblocks(0, b"\x0f" * 4080, 16)
    spare.readblocks(0, found, 0)
    assert found == b"\xff" * 16
    spare.writeblocks(0, b"\xe9" * 16, 0)
    spare.readblocks(0, found, 0)
    assert found == b"\xe9" * 16
    _raised(FlashError, spare.writeblocks, 0, b"\xff" * 16, 0)
    spare.writeblocks(0, b"\xff" * 4096)
    spare.readblocks(0, found, 0)
    assert found == b"\xff" * 16


def test_partitions_end_where_they_end():
    _chip()
    spare = Board().running_partition().get_next_update()
    blocks = spare.ioctl(4, 0)
    assert (blocks, spare.ioctl(5, 0), spare.ioctl(3, 0)) == (32, 4096, 0)
    buffer = bytearray(4096)
    assert _number(spare.readblocks, blocks, buffer) == -0x104
    assert _number(spare.readblocks, blocks + 1, buffer) == -0x102
    assert _number(spare.writeblocks, blocks, buffer) == -0x104
    assert _number(spare.writeblocks, 0, buffer[:100]) == -0x104
    assert _number(spare.ioctl, 6, blocks) == -0x104
    _raised(TypeError, spare.readblocks, 0, bytes(16))


def test_writing_over_what_runs_aborts():
    for of in (
        lambda: Board().running_partition().writeblocks(0, bytes(4096)),
        lambda: Board().running_partition().ioctl(6, 1),
    ):
        _chip()
        _raised(fake_chip.Reset, of)


def test_a_slot_that_holds_no_whole_image_is_not_booted():
    _chip()
    spare = Board().running_partition().get_next_update()
    refused = (-5379, "ESP_ERR_OTA_VALIDATE_FAILED")
    assert _raised(OSError, spare.set_boot) == refused
    app = _app("esp32c6")
    for block in range((len(app) + 4095) // 4096):
        part = app[block * 4096 : block * 4096 + 4096]
        spare.writeblocks(block, part + b"\xff" * (4096 - len(part)))
    spare.set_boot()
    spare.ioctl(6, 1)
    assert _raised(OSError, spare.set_boot) == refused
    assert _raised(OSError, esp32.Partition("nvs").set_boot) == refused


def test_partitions_that_are_not_there():
    _chip(partitions=table.parse_csv("factory,app,factory,0x10000,0x20000\n"))
    assert _number(esp32.Partition, "ota_1") == errno.ENOENT
    assert _number(Board().running_partition().get_next_update) == errno.ENOENT
    assert _number(Board().mark_app_valid_cancel_rollback) == -0x105
    assert _number(Board().running_partition().set_boot) == -0x105


def test_firmware_in_factory_cannot_be_confirmed():
    _chip(
        partitions=table.parse_csv(
            "otadata,data,ota,0xd000,0x2000\nfactory,app,factory,0x10000,0x20000\n"
            "ota_0,app,ota_0,0x30000,0x20000\n"
        )
    )
    assert Board().running_partition().info()[4] == "factory"
    assert _number(Board().mark_app_valid_cancel_rollback) == 1


def test_the_factory_partition_boots_when_otadata_is_erased():
    chip = _chip(
        partitions=table.parse_csv(
            "otadata,data,ota,0xd000,0x2000\nfactory,app,factory,0x10000,0x20000\n"
            "ota_0,app,ota_0,0x30000,0x20000\n"
        )
    )
    where = bootloader.find_otadata(chip.board.partitions)
    bootloader.write_otadata(chip.board.flash, where, 0, otadata.build_entry(1, otadata.VALID))
    Board().running_partition().set_boot()
    assert bootloader.read_otadata(chip.board.flash, where)[0].seq == otadata.SEQ_EMPTY


def test_what_nvs_refuses():
    _chip()
    nvs = Board().nvs("ota")
    buffer = bytearray(4)
    assert _number(nvs.get_i32, "missing") == -4354
    assert _number(nvs.get_blob, "missing", buffer) == -4354
    assert _number(nvs.erase_key, "missing") == -4354
    nvs.set_blob("blob", b"12345")
    assert _number(nvs.get_blob, "blob", buffer) == -0x110C
    assert nvs.get_blob("blob", bytearray(8)) == 5
    assert _number(nvs.get_i32, "blob") == -4354
    assert _number(nvs.set_i32, "a" * 16, 1) == -0x1109
    assert _number(esp32.NVS, "a" * 16) == -0x1109
    _raised(OverflowError, nvs.set_i32, "a", 1 << 31)
    _raised(TypeError, nvs.get_blob, "blob", bytes(8))


def test_nvs_of_a_newer_version_is_erased_when_micropython_starts():
    chip = _chip()
    Board().nvs("dice").set_blob("uds", bytes(32))
    flash = chip.board.flash
    head = flash.read(0x9000, 32)
    flash.erase_sector(9)
    head[8] = 0xF0  # the page's version, which counts down
    head[28:32] = _page_crc(head)
    flash.write(0x9000, head)
    fake_chip.power_on(chip.board)
    assert _number(Board().nvs("dice").get_blob, "uds", bytearray(32)) == -4354


def _page_crc(head):
    from binascii import crc32

    return crc32(bytes(head[4:28]), 0xFFFFFFFF).to_bytes(4, "little")


def test_memory_that_is_no_register_of_the_fuses_is_not_read():
    _chip()
    _raised(ValueError, lambda: machine.mem32[0x600B0802])
    _raised(AssertionError, lambda: machine.mem32[0x600B0800])


def test_flash_is_read_into_a_buffer():
    _chip()
    _raised(TypeError, esp.flash_read, 0, b"12")
