"""NVS as applications see it: the stand-in for MicroPython's esp32.NVS.

Left to nvs_storage: pages, repair and every value's way to flash.
Source: MicroPython ports/esp32/esp32_nvs.c; numbers of errors from ESP-IDF's nvs.h.
"""

from . import nvs_errors
from .nvs_errors import nvs_error

_I32_LIMIT = 1 << 31


class NVS:
    """A namespace (up to 15 bytes) of an NvsStorage; it is made if it does not exist yet.

    Raises OSError with ESP-IDF's number negated, as on the board. `repr` shows no value.
    """

    def __init__(self, storage, namespace):
        self._storage = storage
        self._index = storage.open_namespace(namespace)

    def __repr__(self):
        return "<NVS namespace>"

    def set_i32(self, key, value):
        """Write a 32-bit signed integer. TypeError or OverflowError if it is none;
        OSError: -0x1105, -0x1109."""
        if not isinstance(value, int):
            raise TypeError("expected an int")
        if not -_I32_LIMIT <= value < _I32_LIMIT:
            raise OverflowError("value does not fit in 32 bits")
        self._storage.set_i32(self._index, key, value)

    def get_i32(self, key):
        """The integer under `key`. OSError: -0x1102, also if it is of another type."""
        return self._get(key, "i32")

    def set_blob(self, key, value):
        """Write a buffer's bytes. OSError: -0x1105, -0x1109, -0x110e."""
        self._storage.set_blob(self._index, key, value)

    def get_blob(self, key, buffer):
        """Copy the bytes under `key` into `buffer`; returns how many.

        OSError: -0x1102, also if it is no blob; -0x110c if `buffer` is too small.
        """
        value = self._get(key, "blob")
        if len(value) > len(buffer):
            raise nvs_error(nvs_errors.INVALID_LENGTH)
        memoryview(buffer)[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        """Erase a key. OSError: -0x1102."""
        self._storage.erase_key(self._index, key)

    def commit(self):
        """Nothing is pending: as in ESP-IDF, each value is on flash when its call returns."""

    def _get(self, key, wanted):
        kind, value = self._storage.get(self._index, key)
        if kind != wanted:
            raise nvs_error(nvs_errors.NOT_FOUND)
        return value
