"""TLS on MicroPython, which is mbedTLS: opening a connection, and what its errors mean.

mbedTLS decides about the agent's certificate. The verify callback only keeps a copy of the leaf,
from which `dice.server_certificate` tells afterwards why it was refused.
"""

import asyncio
import errno
import socket

from .compat import const

# mbedtls/ssl.h
_INVALID_RECORD = const(-0x7200)
_CONN_EOF = const(-0x7280)
_BAD_CERTIFICATE = const(-0x7A00)
_FIRST_OWN_ERROR = const(-256)


def client_context(ca_certificates, on_leaf=None):
    """A TLS client that trusts exactly these CA certificates (DER) and checks the name.

    on_leaf(der): called with a copy of the server's own certificate, trusted or not.
    Raises ValueError for bytes that are no certificate.
    """
    import tls

    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    for der in ca_certificates:
        context.load_verify_locations(der)

    def verify(der, depth):
        # Called from within mbedTLS: nothing may be raised through it.
        try:
            if depth == 0:
                on_leaf(bytes(der))
        except Exception:  # noqa: S110
            pass
        return 0

    if on_leaf is not None:
        context.verify_callback = verify
    return context


def handshake_is_over(context):
    """The context calls back no more: that would keep this module as long as the connection."""
    context.verify_callback = None


async def resolve(host, port):
    """The IPv4 address of a host, for `open_stream`; blocks for a name. Raises OSError."""
    return socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0]


async def open_stream(address, context=None, name=None):
    """Connect; with a context over TLS, whose handshake goes with the first write.

    Returns (reader, writer). Raises OSError. Whatever happens, no socket is left behind.
    """
    stream = raw = socket.socket(address[0], address[1], address[2])
    try:
        stream.setblocking(False)
        try:
            stream.connect(address[-1])
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        if context is not None:
            from .tls_turns import InTurns

            stream = context.wrap_socket(
                InTurns(raw), server_hostname=name, do_handshake_on_connect=False
            )
        await _writable(stream)
    except BaseException:
        stream.close()
        raw.close()
        raise
    both = asyncio.StreamReader(stream, {"raw": raw})
    return both, both


def _writable(stream):
    yield asyncio.core._io_queue.queue_write(stream)


def certificate_error(error):
    """Whether the agent's certificate was refused: the name of the check, `` if only the leaf can
    tell, None if that is not what happened."""
    refused = isinstance(error, ValueError) or _number(error) == _BAD_CERTIFICATE
    return "" if refused else None


def is_no_tls(error):
    """Whether what came back is no TLS record."""
    return _number(error) == _INVALID_RECORD


def is_tls_error(error):
    """Whether TLS failed, and not the network below it."""
    return _number(error) < _FIRST_OWN_ERROR and _number(error) != _CONN_EOF


def network_error(error):
    """errno of a network error; ECONNRESET for an end in the middle. mbedTLS negates it when it
    passes one on."""
    number = _number(error)
    return errno.ECONNRESET if number == _CONN_EOF else abs(number)


def reason(error):
    """What the error says, on one line."""
    number = _number(error)
    if number == _CONN_EOF:
        return "closed by the peer"
    return errno.errorcode.get(abs(number)) or str(error.args[-1] if error.args else error)


def _number(error):
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0
