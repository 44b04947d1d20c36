"""Freezes into a MicroPython firmware what package.json lists, microdot, and the files beside this.

    make mpy                                                     # here: fetches microdot
    make BOARD=ESP32_GENERIC BOARD_VARIANT=OTA \
        FROZEN_MANIFEST=.../micropython/manifest.py              # in MicroPython's ports/esp32

A board definition with a manifest of its own: include that one instead of the port's.
"""

import json

include("$(PORT_DIR)/boards/manifest.py")

with open("package.json") as listed:
    for _name, _ in json.load(listed)["urls"]:
        _package, _, _file = _name.partition("/")
        package(_package, files=[_file], base_path="../src", opt=3)
module("microdot.py", base_path="../dist/microdot", opt=3)

module("boot.py")
module("wifi.py")
module("main.py")
