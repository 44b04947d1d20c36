"""The ESP32 application image and its Secure Boot signatures: nothing bad gets past them.

Pure: bytes in, objects out, in constant memory, for the whole chip family. The same code judges
firmware while it streams in, again on the bytes read back from flash, and on a workstation.
Reading and writing flash is the caller's part.

The modules: `parser` (the stream), `acceptance` (may this be installed here), `signature`
(whose signature counts), `readback` (a whole slot), `chips`; for a workstation also `build`,
`stamp` and `keys`.
"""

from ota_crypto import lazy

from .errors import ImageError, Refused

__all__ = ["ImageError", "ImageParser", "Refused"]

_WHERE = {"ImageParser": "parser"}


def __getattr__(name):
    return lazy.attribute(__name__, name, _WHERE)
