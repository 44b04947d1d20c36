"""Production means frozen: firmware imports what was signed with it, and nothing else.

Code on the filesystem is unsigned, shared by both slots and not rolled back. MicroPython's
sys.path begins with the current folder, before `.frozen`; what is frozen nowhere is looked for in
/lib before it is taken from C, so that /lib/hashlib.py would be the hash. boot.py puts `.frozen`
first before it imports anything, then calls `use_frozen_only`.
"""

import os
import sys

from .compat import const

# What micropython/manifest.py freezes. The first one stands for all: they are frozen together.
PACKAGES = (
    "ota_service", "ota_crypto", "dice", "esp_image", "esp_partition", "esp32_akri", "microdot",
)  # fmt: skip
_FROZEN = const(".frozen")
_ENDINGS = const(("", ".py", ".mpy"))


def is_frozen(package):
    """Whether this package, imported before, came out of the firmware itself."""
    return str(getattr(sys.modules.get(package), "__path__", "")).startswith(_FROZEN)


def use_frozen_only(packages=PACKAGES):
    """In firmware that has the first of the packages frozen, import from nowhere else from now on.

    Returns lines for the console: which of the packages lie on the filesystem all the same. Where
    they are not frozen, nothing is changed and nothing said: what lies there is what runs.
    Not checked here: what has been imported before.
    """
    if not is_frozen(packages[0]):
        return []
    left = [path for folder in sys.path if folder != _FROZEN for path in _copies(folder, packages)]
    sys.path.clear()
    sys.path.append(_FROZEN)
    if not left:
        return []
    return ["warning: on the filesystem, unsigned and not used: %s" % ", ".join(left)]


def _copies(folder, packages):
    """Paths in this entry of sys.path where one of the packages would be found."""
    for package in packages:
        for ending in _ENDINGS:
            path = (folder + "/" if folder else "") + package + ending
            try:
                os.stat(path)
            except OSError:
                continue
            yield path
