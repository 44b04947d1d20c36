"""An application that updates itself: Wi-Fi, endpoints, updates, confirmation, its own loop.

What goes wrong is told on the console. New firmware that does not get as far as confirming itself
goes back by a reset; confirmed firmware never resets by itself. Ctrl-C leads to the REPL.
"""

import asyncio
import gc
import sys

PORT = 80


async def application(board):
    """Your own code. Whenever it awaits, the endpoints and an update have their turn."""
    while True:
        await asyncio.sleep(60)


async def main(board):
    import wifi

    import esp32_akri
    import ota_service
    from ota_service import self_test

    asyncio.create_task(wifi.keep_up())
    await asyncio.sleep(0)  # the network's C code has to be up before anybody can listen
    own = asyncio.create_task(application(board))

    async def works():
        await self_test.standard(board, PORT)()
        return not own.done()

    try:
        service = ota_service.setup(board, "ota.json", self_test=works, on_event=print)
    except (OSError, ValueError) as error:
        if is_unconfirmed():
            raise
        print("no updates: ota.json, or a file that it names: %s" % error)
        await own
        return
    esp32_akri.akri_set_update_handler(
        ota_service.ota_request_handler,
        status=ota_service.ota_status_handler,
        cancel=ota_service.ota_cancel_handler,
    )
    esp32_akri.akri_set_info_handler(ota_service.info_handler)
    esp32_akri.akri_set_onboard_handler(ota_service.onboard_request_handler)
    server = esp32_akri.akri_server_start(port=PORT)
    await ota_service.confirm()
    asyncio.create_task(set_clock(board, service))
    await server


async def set_clock(board, service):
    """For your application; an update does this by itself. Not before the firmware is confirmed,
    which keeps the time as a floor: an answer from NTP is not signed by anybody."""
    from ota_service import OtaError, clock

    while not board.network_is_up():
        await asyncio.sleep(1)
    config = service.config
    try:
        said = await clock.set_clock(board, service.descriptor, config.ntp_host, config.ntp_s)
    except OtaError as error:
        said = "not set: %s" % error.message
    print("clock:", said or "has the time")


def is_unconfirmed():
    """Whether the next reset brings the firmware before this one back: an entry of otadata is in
    state PENDING_VERIFY. Asks nothing of what may be broken."""
    from esp32 import Partition

    state = bytearray(4)
    for otadata in Partition.find(Partition.TYPE_DATA, 0):
        for sector in (0, 1):
            otadata.readblocks(sector, state, 24)
            if state == b"\x01\0\0\0":
                return True
    return False


def run():
    gc.threshold(8192)  # memory in few pieces: TLS and large images want it
    try:
        from ota_service.boards.esp32 import Board

        asyncio.run(main(Board()))
    except Exception as error:
        sys.print_exception(error)
        if is_unconfirmed():
            import machine

            print("this firmware is new and does not start: back to the one before")
            machine.reset()
        print("stopped: the application does not run")
    finally:
        asyncio.new_event_loop()  # for whoever calls run() from the REPL


run()
