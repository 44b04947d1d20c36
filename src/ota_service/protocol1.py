"""Protocol 1, the originals': certificate out, firmware in, over one TLS connection.

protocol.md, section B. Only moves bytes between a connection and a Session; how long it may take
is its caller's part (`patience`), and the connection `agent_connection`'s.
"""

import asyncio

from . import compat
from .compat import const
from .errors import OtaError, PeerError

_END_S = const(1)


async def receive(session, certificate, service, patience, host, port):
    """One attempt: from connecting to the image's last byte. Raises OtaError, PeerError.

    certificate: the board's, DER.
    """
    config = service.config
    service.event("connecting", "%s:%d, attempt %d" % (host, port, session.attempt))
    reader, writer = await _connect(service, host, port, certificate)
    try:
        compat.let_go("ota_service.connection", "ota_service.tls_mbedtls")
        session.connected()
        service.event("attesting", "certificate of %d bytes sent" % len(certificate))
        patience.expect("no decision about this board", config.first_byte_s)
        await receive_firmware(reader, session, patience, config.read_s, service.progress)
    finally:
        await compat.close_stream(writer)


async def _connect(service, host, port, certificate):
    """(reader, writer)."""
    from . import connection

    reader, writer, _ = await connection.connect(
        host, port, service.config, certificate, service.board
    )
    return reader, writer


async def receive_firmware(reader, session, patience, read_s, on_progress):
    """Feed the session until its image is whole; then make sure that nothing follows.

    read_s: seconds without a byte, once the first has come. Raises OtaError, PeerError.
    Allocates a coroutine a read, and nothing for the bytes.
    """
    session.prepare()
    await asyncio.sleep(0)  # loading code takes its time
    while not session.is_whole:
        count = await _read_some(reader, session)
        if count == 0:
            session.end_of_stream()
            return
        if not session.received:
            patience.expect("no data", read_s)
        session.take(count)
        patience.renew()
        on_progress(session.received, session.total)
        await asyncio.sleep(0)
    patience.expect("no end", 2 * _END_S)
    await _expect_nothing_more(reader, session)


async def _read_some(reader, session):
    """Read into the session's room; the number of bytes, 0 at the end of the stream."""
    try:
        return await compat.read_into(reader, session.room())
    except OSError as error:
        raise PeerError(
            "connection-lost",
            "connection lost after %d bytes: %s" % (session.received, compat.tls().reason(error)),
        )


async def _expect_nothing_more(reader, session):
    """The image's own length decides: an end, a silence or a reset after it are all fine."""
    try:
        count = await asyncio.wait_for(compat.read_into(reader, session.room()), _END_S)
    except (OSError, asyncio.TimeoutError):
        return
    if count:
        raise OtaError("trailing-data", "the stream goes on after the image's end")
