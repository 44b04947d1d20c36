"""Starts boot.py and main.py of the current folder as MicroPython does on a chip.

Then there is the REPL, which is nobody here: the process ends.
"""

import sys

sys.path[0] = ""  # as on a chip, and not this file's folder
for name in ("boot.py", "main.py"):
    with open(name) as file:
        exec(file.read(), {"__name__": "__main__"})
