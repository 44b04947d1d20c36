"""A ready self-test for new firmware: does what makes the next update possible still work?"""

import asyncio

from . import compat
from .compat import const

_TRY_S = const(3)
_LOOK_AGAIN_S = const(0.1)


def standard(board, port=80, host="127.0.0.1", agent=None):
    """A self_test for `confirm`: the network is up, the board's own endpoints answer, and, if
    `agent` names one (`HOST` or `HOST:PORT`), a TCP connection to the agent can be made.

    port, host: where `esp32_akri` serves. It goes on trying until all that holds, or until
    `confirm`'s deadline. Raises BadRequest for an `agent` that is no address.
    """

    address = None
    if agent is not None:
        from .request import parse_address

        address = parse_address(agent)

    async def self_test():
        while not board.network_is_up():
            await asyncio.sleep(_LOOK_AGAIN_S)
        # Others may hold the board's connections for a while: that is no fault of the firmware.
        await _patiently(_endpoints_answer, host, port)
        if address is not None:
            await _patiently(_agent_is_there, *address)

    return self_test


async def _patiently(check, *arguments):
    """Check again and again until it passes; the deadline ends it."""
    while True:
        try:
            if await asyncio.wait_for(check(*arguments), _TRY_S):
                return
        except (OSError, asyncio.TimeoutError):
            pass
        await asyncio.sleep(_LOOK_AGAIN_S)


async def _connect(host, port):
    tls = compat.tls()
    return await tls.open_stream(await tls.resolve(host, port))


async def _endpoints_answer(host, port):
    """GET /info, as anyone would ask: whether it gets a 200."""
    reader, writer = await _connect(host, port)
    try:
        writer.write(b"GET /info HTTP/1.0\r\n\r\n")
        await writer.drain()
        return b" 200 " in await reader.readline()
    finally:
        await compat.close_stream(writer)


async def _agent_is_there(host, port):
    _, writer = await _connect(host, port)
    await compat.close_stream(writer)
    return True
