"""The TLS connection to an agent, which has to prove its name; both protocols begin with it."""

from . import compat
from .errors import OtaError, PeerError


async def connect(host, port, config, first, board):
    """Open TLS, have the agent prove its name, and send it the first bytes of the protocol.

    first: bytes. board: whose clock says what is expired. Returns (reader, writer, leaf): the
    agent's own certificate, DER.
    Raises PeerError when the network fails, OtaError when the agent is not the one meant.
    """
    where = "%s:%d" % (host, port)
    tls = compat.tls()
    leaf = []
    try:
        context = tls.client_context(config.agent_ca, leaf.append)
    except (OSError, ValueError):
        raise OtaError("no-agent-ca", "what is configured as the agent's CA is no certificate")
    address = await _resolve(tls, host, port)
    try:
        reader, writer = await tls.open_stream(address, context, config.agent_name)
        try:
            # On MicroPython the handshake comes with the first write.
            writer.write(first)
            await writer.drain()
            tls.handshake_is_over(context)
        except BaseException:
            await compat.close_stream(writer)
            raise
    except (OSError, ValueError) as error:
        from . import agent_errors

        shown = leaf[-1] if leaf else None
        raise agent_errors.from_exception(error, where, config, shown, board.time())
    if not leaf:  # the callback that takes it had no memory for it
        await compat.close_stream(writer)
        raise PeerError("connection-lost", "%s: its certificate was not kept" % where)
    return reader, writer, leaf.pop()


async def _resolve(tls, host, port):
    try:
        return await tls.resolve(host, port)
    except OSError:
        # Not tried again: on the chip each look-up stops everything for seconds.
        raise OtaError("name-unresolved", "%s: no address found for this name" % host)
