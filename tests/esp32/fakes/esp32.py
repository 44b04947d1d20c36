"""Fake of MicroPython's `esp32`: Partition and NVS, with the error numbers of the real ones.

Semantics: MicroPython ports/esp32/esp32_partition.c and esp32_nvs.c, check_esp_err in mphalport.c;
below them ESP-IDF 5.2.2 components/esp_partition/partition_target.c and app_update/esp_ota_ops.c.
Only what is faked is here; other arguments raise NotImplementedError.
"""

import errno

import fake_chip

from esp_image import ImageError
from esp_partition import otadata, table
from virtual_esp32 import bootloader
from virtual_esp32 import nvs as virtual_nvs
from virtual_esp32.partition import VirtualPartition

_BLOCK_BYTES = 4096
_ANY_SUBTYPE = 0xFF
_FAIL = (1, "ESP_FAIL")
_INVALID_ARG = (-0x102, "ESP_ERR_INVALID_ARG")
_INVALID_SIZE = (-0x104, "ESP_ERR_INVALID_SIZE")
_NOT_FOUND = (-0x105, "ESP_ERR_NOT_FOUND")
_NOT_ALLOWED = (-0x10D, "ESP_ERR_NOT_ALLOWED")
_NVS_NOT_INITIALIZED = (-0x1101, "ESP_ERR_NVS_NOT_INITIALIZED")
_VALIDATE_FAILED = (-0x1503, "ESP_ERR_OTA_VALIDATE_FAILED")


def _flash():
    return fake_chip.chip().board.flash


def _table():
    return fake_chip.chip().board.partitions


def _entry_at(offset):
    """The row of the partition that begins here."""
    for row in _table():
        if row.offset == offset:
            return row
    raise AssertionError("no partition begins at 0x%x" % offset)


def _number(value):
    if not isinstance(value, int):
        raise TypeError("can't convert %s to int" % type(value).__name__)
    return value


def _writable(buffer):
    view = memoryview(buffer)
    if not isinstance(buffer, (bytearray, memoryview)):
        raise TypeError("object with buffer protocol required")
    return view


class Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=_BLOCK_BYTES):
        if block_size != _BLOCK_BYTES:
            raise NotImplementedError("block size %d" % block_size)
        if isinstance(id, table.Partition):
            self._row = id
        elif isinstance(id, str):
            self._row = _by_label(id)
        elif id == Partition.RUNNING:
            self._row = _entry_at(fake_chip.chip().board.running_partition().info()[2])
        elif id == Partition.BOOT:
            raise NotImplementedError("Partition.BOOT")
        else:
            raise ValueError

    @staticmethod
    def find(type=TYPE_APP, subtype=_ANY_SUBTYPE, label=None, block_size=_BLOCK_BYTES):
        found = []
        for row in table.find(_table(), _number(type)):
            if _number(subtype) in (_ANY_SUBTYPE, row.subtype) and label in (None, row.label):
                found.append(Partition(row, block_size))
        return found

    def info(self):
        row = self._row
        return (row.type, row.subtype, row.offset, row.size, row.label, False)

    def readblocks(self, block_num, buf, offset=0):
        view = _writable(buf)
        start = _number(block_num) * _BLOCK_BYTES + _number(offset)
        self._require_inside(start, len(view))
        _flash().read_into(self._row.offset + start, buf)

    def writeblocks(self, block_num, buf, *offset):
        start = _number(block_num) * _BLOCK_BYTES
        size = len(memoryview(buf))
        if offset:
            start += _number(offset[0])
        else:
            self._erase(start, size)
        self._require_changeable(start, size)
        _flash().write(self._row.offset + start, buf)

    def ioctl(self, cmd, arg):
        if _number(cmd) in (1, 2, 3):
            return 0
        if cmd == 4:
            return self._row.size // _BLOCK_BYTES
        if cmd == 5:
            return _BLOCK_BYTES
        if cmd == 6:
            self._erase(_number(arg) * _BLOCK_BYTES, _BLOCK_BYTES)
            return 0
        return None

    def get_next_update(self):
        try:
            following = self._virtual().get_next_update()
        except OSError:
            raise OSError(errno.ENOENT)
        return Partition(_entry_at(following.info()[2]))

    def set_boot(self):
        board = fake_chip.chip().board
        try:
            bootloader.verify_image(board.flash, self._row, board.efuse)
        except ImageError:
            raise OSError(*_VALIDATE_FAILED)
        where = bootloader.find_otadata(board.partitions)
        if self._row.type != self.TYPE_APP or self._row.subtype == table.SUBTYPE_TEST:
            raise OSError(*_INVALID_ARG)
        if where is None:
            raise OSError(*_NOT_FOUND)
        if self._row.subtype == table.SUBTYPE_FACTORY:
            for sector in fake_chip.sectors(where.offset, where.size):
                board.flash.erase_sector(sector)
        else:
            self._virtual().set_boot()

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        board = fake_chip.chip().board
        where = bootloader.find_otadata(board.partitions)
        if where is None:
            raise OSError(*_NOT_FOUND)
        entries = bootloader.read_otadata(board.flash, where)
        active = otadata.active_index(entries[0], entries[1])
        if active is None or not table.ota_slots(board.partitions):
            raise OSError(*_FAIL)
        if entries[active].state != otadata.VALID:
            sector, entry = otadata.confirm(entries)
            bootloader.write_otadata(board.flash, where, sector, entry)

    def _virtual(self):
        return VirtualPartition(fake_chip.chip().board, self._row)

    def _require_inside(self, start, size):
        # The offset is unsigned: a negative one is far behind the end.
        if not 0 <= start <= self._row.size:
            raise OSError(*_INVALID_ARG)
        if start + size > self._row.size:
            raise OSError(*_INVALID_SIZE)

    def _require_changeable(self, start, size):
        if self._row.flags & table.FLAG_READONLY:
            raise OSError(*_NOT_ALLOWED)
        self._require_inside(start, size)
        fake_chip.require_writable(self._row.offset + start, size)

    def _erase(self, start, size):
        self._require_changeable(start, size)
        if size % _BLOCK_BYTES:
            raise OSError(*_INVALID_SIZE)
        for sector in fake_chip.sectors(self._row.offset + start, size):
            _flash().erase_sector(sector)


def _by_label(label):
    for kind in (Partition.TYPE_APP, Partition.TYPE_DATA):
        for row in table.find(_table(), kind):
            if row.label == label:
                return row
    raise OSError(errno.ENOENT)


class NVS:
    """virtual_esp32's, which has the real one's error numbers; opened on the chip that is on."""

    _opened = 0  # handles that are never given back

    def __init__(self, namespace):
        storage = fake_chip.chip().nvs
        if storage is None:
            raise OSError(*_NVS_NOT_INITIALIZED)
        self._nvs = virtual_nvs.NVS(storage, namespace)
        NVS._opened += 1

    def __repr__(self):
        return "<NVS namespace>"

    def set_i32(self, key, value):
        self._on().set_i32(key, value)

    def get_i32(self, key):
        return self._on().get_i32(key)

    def set_blob(self, key, value):
        self._on().set_blob(key, value)

    def get_blob(self, key, buffer):
        _writable(buffer)
        return self._on().get_blob(key, buffer)

    def erase_key(self, key):
        self._on().erase_key(key)

    def commit(self):
        self._on().commit()

    def _on(self):
        fake_chip.chip()
        return self._nvs
