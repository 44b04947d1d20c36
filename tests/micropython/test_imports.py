"""Every module of floors 1 to 5 imports, on both runtimes."""

import os
import sys

_PACKAGES = (
    "ota_crypto",
    "dice",
    "esp_image",
    "esp_partition",
    "ota_service",
    "esp32_akri",
    "virtual_esp32",
)
# What only one runtime has; modules that need it are the other runtime's backends.
_FOREIGN = "cryptography" if sys.implementation.name == "micropython" else "micropython"


def _modules():
    here = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
    for package in _PACKAGES:
        folder = "%s/../../src/%s" % (here, package)
        for name in sorted(os.listdir(folder)):
            if not name.endswith(".py") or name.startswith("__main"):
                continue
            with open("%s/%s" % (folder, name)) as file:
                text = file.read()
            if "\nimport %s" % _FOREIGN in text or "\nfrom %s." % _FOREIGN in text:
                continue
            yield package if name == "__init__.py" else "%s.%s" % (package, name[:-3])


def test_every_module_of_the_board_imports():
    seen = 0
    for module in _modules():
        __import__(module)
        seen += 1
    assert seen > 40, seen
