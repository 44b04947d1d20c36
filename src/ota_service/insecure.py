"""Insecure mode, the originals' build without OTA_SECURE: a raw image over plain TCP.

protocol.md, section B. No certificate and no agent to trust: whoever connects first is taken.
The image is judged as always. Off unless configured.
"""

import asyncio

from . import compat, protocol1
from .errors import PeerError


async def receive(session, config, patience, service):
    """Listen, accept one connection, take the image from it. Raises OtaError, PeerError."""
    port = config.insecure_port
    service.event("INSECURE", "waiting for any sender on TCP port %d, without TLS" % port)
    reader, writer = await _accept_one(port)
    try:
        session.accepted()
        patience.expect("no data", config.read_s)
        await protocol1.receive_firmware(reader, session, patience, config.read_s, service.progress)
    finally:
        await compat.close_stream(writer)


async def _accept_one(port):
    """(reader, writer) of the first connection; nothing listens afterwards."""
    taken = []
    arrived = asyncio.Event()

    async def serve(reader, writer):
        if arrived.is_set():
            await compat.close_stream(writer)
            return
        taken.append((reader, writer))
        arrived.set()

    try:
        server = await compat.listen(serve, "0.0.0.0", port)
    except OSError as error:
        raise PeerError("agent-unreachable", "cannot listen on TCP port %d: %s" % (port, error))
    try:
        await arrived.wait()
    except asyncio.CancelledError:
        arrived.set()  # whoever was let in and had no turn yet is sent away
        if taken:
            await compat.close_stream(taken[0][1])
        raise
    finally:
        server.close()
    return taken[0]
