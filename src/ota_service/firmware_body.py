"""Firmware on its way from an agent into a session: the body of protocol 2's last response.

What has been asked and answered before is `agent_answers`'s; its code is gone by now.
"""

import asyncio

from . import compat
from .errors import PeerError


async def receive(reader, first, length, session, patience, read_s, on_progress):
    """Feed the session with the firmware.

    first: bytes, those that came with the response's head. length: how many there are in all.
    read_s: seconds without a byte, once one has come. Raises OtaError, PeerError.
    Allocates a coroutine a read, and nothing for the bytes of a full sector.
    """
    session.prepare()
    await asyncio.sleep(0)  # loading code takes its time
    while length:
        room = session.room()
        if len(room) > length:
            room = room[:length]
        if first:
            count = min(len(room), len(first))
            room[:count] = first[:count]
            first = first[count:]
        else:
            count = await read_some(reader, room)
        if patience.waits_for == "no data":
            patience.renew()
        else:
            patience.expect("no data", read_s)
        length -= count
        session.take(count)
        on_progress(session.received, session.total)
        await asyncio.sleep(0)
    session.end_of_body()


async def read_some(reader, view):
    """Read into the view what there is, at least a byte; how many they were. Raises PeerError."""
    try:
        count = await compat.read_into(reader, view)
    except OSError as error:
        raise lost(error)
    if not count:
        raise PeerError("connection-lost", "the agent closed the connection")
    return count


def lost(error):
    """The PeerError for an OSError of a connection."""
    text = "the connection broke: %s" % compat.tls().reason(error)
    return PeerError("connection-lost", text)
