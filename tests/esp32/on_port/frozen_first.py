"""micropython frozen_first.py: boot.py where the firmware has packages frozen, and where not.

asyncio, which is frozen here, stands for the packages; `stale/`, in sys.path before `.frozen`, has
a copy of it and a hashlib.py, which C code of that name comes after.
"""

import sys

del sys.path[0]  # this file's folder
before = list(sys.path)
assert before[0] == "stale" and before[-1] == ".frozen", before

# Not frozen: what lies on the filesystem runs; only the order changes.
with open("boot.py") as file:
    exec(file.read(), {"__name__": "__main__"})
assert sys.path == [".frozen"] + before[:-1], sys.path

import asyncio  # noqa: E402

from ota_service import frozen  # noqa: E402

assert not frozen.is_frozen("ota_service")
assert not frozen.is_frozen("never_imported")
assert frozen.is_frozen("asyncio") and not hasattr(asyncio, "STALE")

# Frozen: told what lies there, and not a module of the filesystem is imported any more.
told = frozen.use_frozen_only(("asyncio", "dice", "not_there"))
assert sys.path == [".frozen"], sys.path
assert len(told) == 1, told
print(told[0])
assert frozen.use_frozen_only(("asyncio",)) == []
import hashlib  # noqa: E402

assert not hasattr(hashlib, "STALE"), "a file came before the module in C"
try:
    import stale_application  # noqa: F401

    raise AssertionError("imported from the filesystem")
except ImportError:
    pass
print("ok")
