"""Protocol 1, the originals': certificate out, firmware in, over one TLS connection.

protocol.md, section B. Only moves bytes between a connection and a Session.
"""

import asyncio

from . import compat
from .errors import OtaError, PeerError

_BUFFER_BYTES = 4096


async def open_tls(host, port, ca_certificates, name, timeout):
    """Connect and shake hands; the agent must prove `name` under one of the CA certificates.

    timeout: seconds for both together. Returns (reader, writer).
    Raises PeerError when the network fails, OtaError when the agent is not the one meant.
    """
    where = "%s:%d" % (host, port)
    context = compat.tls_client_context(ca_certificates)
    try:
        return await asyncio.wait_for(
            asyncio.open_connection(host, port, ssl=context, server_hostname=name), timeout
        )
    except asyncio.TimeoutError:
        raise PeerError("timeout", "agent %s: no connection within %d s" % (where, timeout))
    except (OSError, ValueError) as error:
        raise _connection_error(where, error)


async def send_certificate(writer, certificate, timeout):
    """Send the DICE certificate, bare DER. Raises PeerError, OtaError."""
    try:
        writer.write(certificate)
        await asyncio.wait_for(writer.drain(), timeout)
    except asyncio.TimeoutError:
        raise PeerError("timeout", "the agent took no certificate within %d s" % timeout)
    except (OSError, ValueError) as error:
        raise _connection_error("agent", error)


async def receive_firmware(reader, session, first_byte_s, read_s, on_progress=None):
    """Feed the session until its image is whole; then make sure that nothing follows.

    first_byte_s: seconds for the agent to have the board attested; read_s: seconds without a
    byte after that. Raises OtaError, PeerError.
    """
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    while not session.is_whole:
        timeout = read_s if session.received else first_byte_s
        count = await _read(reader, view, session, timeout)
        if count == 0:
            session.end_of_stream()
            return
        session.feed(view[:count])
        if on_progress is not None:
            on_progress(session.received, session.total)
        await asyncio.sleep(0)
    await _expect_nothing_more(reader, view)


async def _read(reader, view, session, timeout):
    try:
        return await asyncio.wait_for(compat.read_into(reader, view), timeout)
    except asyncio.TimeoutError:
        raise PeerError("timeout", "no data for %d s after %d bytes" % (timeout, session.received))
    except OSError as error:
        raise PeerError(
            "connection-lost", "connection lost after %d bytes: %s" % (session.received, error)
        )


async def _expect_nothing_more(reader, view):
    """The image's own length decides: an end, a silence or a reset after it are all fine."""
    try:
        count = await asyncio.wait_for(compat.read_into(reader, view), 1)
    except (OSError, asyncio.TimeoutError):
        return
    if count:
        raise OtaError("trailing-data", "the stream goes on after the image's end")


def _connection_error(where, error):
    """What a failed connection means: a certificate refused is final, the rest may pass."""
    import ssl

    native = isinstance(error, getattr(ssl, "SSLError", ()))
    reason = str(error)
    if native:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or reason
    reason = " ".join(reason.split())
    if isinstance(error, getattr(ssl, "SSLCertVerificationError", ())) or (
        # mbedTLS under MicroPython refuses a certificate with a ValueError
        not native and isinstance(error, ValueError)
    ):
        return OtaError(
            "agent-not-trusted", "%s: the agent's certificate was refused: %s" % (where, reason)
        )
    if native or _is_mbedtls_error(error):
        return PeerError("tls-failed", "%s: TLS failed: %s" % (where, reason))
    return PeerError("agent-unreachable", "%s: %s" % (where, reason))


def _is_mbedtls_error(error):
    """mbedTLS's own errors are OSErrors with large negative numbers (mbedtls/error.h)."""
    return bool(error.args) and isinstance(error.args[0], int) and error.args[0] < -255
