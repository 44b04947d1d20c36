"""`make tutorial`: follows docs/tutorials/laptop.md to the letter, in a fresh clone with its own
.venv.

The tests do the same with this checkout's .venv and with ports that are free (test_tutorial.py).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.pages import DOCS, ROOT
from tests.docs.terminals import followed

PAGE = DOCS / "tutorials" / "laptop.md"
_SET_UP_S = 600.0


def main() -> int:
    """0 if the page's last step was reached and all printed what it shows."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "clone")
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        try:
            with followed(PAGE, clone, timeout_s=_SET_UP_S) as terminals:
                for name, terminal in terminals.items():
                    if terminal.serves:
                        terminal.interrupt()
                    print(f"== {name}\n{terminal.log}")
        except AssertionError as error:
            print(error, file=sys.stderr)
            return 1
    print("followed to its end: the board is updated, and refused what it should")
    return 0


if __name__ == "__main__":
    sys.exit(main())
