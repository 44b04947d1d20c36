"""Firmware for a fake chip: endpoints and updates on ota_service.boards.esp32.

    application.py SETTINGS PORT [fails|hangs SLOT]

SETTINGS: a JSON file. In this slot the self-test fails, or never ends. Tells each event as a line
of JSON. Runs under MicroPython and CPython, with tests/esp32/fakes before the rest.
"""

import asyncio
import json
import sys

import machine
import network

import esp32_akri
import ota_service
from ota_service import self_test
from ota_service.boards.esp32 import Board


def tell(name, detail):
    print(json.dumps([name, detail]))
    if hasattr(sys.stdout, "flush"):
        sys.stdout.flush()


async def main(settings, port, how=None, in_slot=None):
    station = network.WLAN(network.STA_IF)
    station.active(True)
    station.connect("ssid", "key")
    board = Board(watchdog=machine.WDT(timeout=60000))
    endpoints_answer = self_test.standard(board, port)

    async def works():
        await endpoints_answer()
        if board.running_partition().info()[4] != in_slot:
            return True
        if how == "hangs":
            await asyncio.sleep(3600)
        return False

    service = ota_service.setup(
        board,
        settings,
        self_test=works,
        on_event=tell,
        on_progress=lambda received, total: tell("received", received),
    )
    esp32_akri.akri_set_update_handler(
        ota_service.ota_request_handler,
        status=ota_service.ota_status_handler,
        cancel=ota_service.ota_cancel_handler,
    )
    esp32_akri.akri_set_info_handler(ota_service.info_handler)
    server = esp32_akri.akri_server_start("127.0.0.1", port)
    tell("running", service.info()["slot"])
    await service.confirm()
    await server


asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
