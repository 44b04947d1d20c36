"""Runs first at every start: code that is frozen into the firmware goes before the filesystem."""

import sys

if ".frozen" in sys.path:
    sys.path.remove(".frozen")
sys.path.insert(0, ".frozen")

try:
    from ota_service import frozen

    for line in frozen.use_frozen_only():
        print(line)
except Exception as error:  # main.py fails by it too, and knows what to do
    print("boot.py: %s: %s" % (type(error).__name__, error))
