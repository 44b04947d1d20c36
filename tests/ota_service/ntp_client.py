"""Asks an NTP server once, prints what came of it and whether a socket stayed open.

    micropython ntp_client.py HOST PORT TIMEOUT_S [cancel]

With `cancel` the question is cancelled as soon as the server has it, which it says by closing a
TCP connection to the same port.
"""

import asyncio
import os
import sys

from ota_service import ntp


def _open_files():
    return len(os.listdir("/proc/self/fd"))


async def _cancelled(question, port):
    asked = asyncio.create_task(question)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.read()
    writer.close()
    await writer.wait_closed()
    asked.cancel()
    try:
        await asked
    except asyncio.CancelledError:
        return "cancelled"
    return "not cancelled"


async def main(host, port, timeout_s, cancel=""):
    await asyncio.sleep(0)
    before = _open_files()
    question = ntp.query(host, port, timeout_s)
    try:
        print(await _cancelled(question, port) if cancel else await question)
    except ntp.NtpError as error:
        print(f"NtpError: {error}")
    await asyncio.sleep(0)
    left = _open_files() - before
    if left:
        print(f"{left} left open")


asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]))
