"""micropython start.py FLASH: starts a board as the chip does, with boot.py and main.py from the
current folder and small fakes of the chip's modules.

Prints RESET when the board resets, REPL when it leaves the console to its user.
"""

import sys

import esp32
import machine
import wifi

from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import NorFlash


class Board(VirtualBoard):
    def network_is_up(self):
        import network

        return network.WLAN(network.STA_IF).isconnected()

    def reset(self):
        machine.reset()


class boards_esp32:  # stands in for ota_service.boards.esp32, whose own tests are elsewhere
    @staticmethod
    def Board():
        return esp32.board


def execute(name):
    with open(name) as file:
        exec(file.read(), {"__name__": "__main__"})


flash = NorFlash.open(sys.argv[1])
esp32.board = Board(flash, EFuse.load(sys.argv[1]))
print("slot", esp32.board.boot().partition.label)
sys.modules["ota_service.boards"] = sys.modules["ota_service.boards.esp32"] = boards_esp32
wifi.LOOK_S = 0.05
wifi.PATIENCE_S = 0.5
try:
    execute("boot.py")
    execute("main.py")
except KeyboardInterrupt:
    pass
print("REPL")
