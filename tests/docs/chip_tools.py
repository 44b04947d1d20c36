"""esptool and mpremote as a board on USB would have them, with a flash file for the chip.

As a command: `esptool` erases and writes the file in OTA_FLASH; `mpremote` copies files into the
folder in OTA_FILES. That the real programs have these commands is tests/esp32/test_guide.py's;
`make` says what it would do, and fails if it cannot.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FLASH_BYTES = 4 * 1024 * 1024


def install(folder: Path) -> str:
    """The three commands, in this folder; what to type to have them first."""
    commands = folder / "chip-tools"
    commands.mkdir()
    (folder / "board-files").mkdir()
    for name in ("esptool", "mpremote", "make"):
        command = commands / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {name} "$@"\n')
        command.chmod(0o755)
    return (
        f"export OTA_FLASH={folder}/flash.bin OTA_FILES={folder}/board-files"
        f" OTA_MAKE={shutil.which('make')}; PATH={commands}:$PATH"
    )


def esptool(arguments: list[str]) -> None:
    flash = Path(os.environ["OTA_FLASH"])
    match arguments:
        case ["erase-flash"]:
            flash.write_bytes(b"\xff" * FLASH_BYTES)
        case ["write-flash", offset, file]:
            content = Path(file).read_bytes()
            with flash.open("r+b") as chip:
                chip.seek(int(offset, 0))
                chip.write(content)
            assert flash.stat().st_size == FLASH_BYTES, "behind the flash's end"
        case _:
            sys.exit(f"esptool {arguments}: not known here")


def mpremote(arguments: list[str]) -> None:
    match arguments:
        case ["mip", "install", package]:
            assert package.endswith("/package.json"), package
        case ["fs", "cp", *files, ":"]:
            for file in files:
                shutil.copy(file, os.environ["OTA_FILES"])
        case ["reset"] | ["repl"]:
            pass
        case _:
            sys.exit(f"mpremote {arguments}: not known here")


def make(arguments: list[str]) -> None:
    subprocess.run(
        [os.environ["OTA_MAKE"], "--dry-run", *arguments], check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    {"esptool": esptool, "mpremote": mpremote, "make": make}[sys.argv[1]](sys.argv[2:])
