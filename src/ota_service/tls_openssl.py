"""TLS on CPython, which is OpenSSL: the same functions as `tls_mbedtls`."""

import asyncio
import errno
import socket
import ssl

# x509_vfy.h; where several checks fail OpenSSL names one
_CHECKS = {
    9: "not-yet-valid",
    10: "expired",
    18: "unknown-issuer",
    19: "unknown-issuer",
    20: "unknown-issuer",
    21: "unknown-issuer",
    62: "wrong-name",
    64: "wrong-name",
}
# Names of OpenSSL's reasons (sslerr.h) for a first record that is none
_NO_TLS = (
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "WRONG_VERSION_NUMBER",
)


class _Context(ssl.SSLContext):
    on_leaf = None


def client_context(ca_certificates, on_leaf=None):
    """See tls_mbedtls.client_context; OpenSSL names the failed check, and on_leaf is called with a
    certificate that is trusted, by `open_stream`."""
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.on_leaf = on_leaf
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for der in ca_certificates:
        context.load_verify_locations(cadata=der)
    return context


def handshake_is_over(context):
    """See tls_mbedtls.handshake_is_over."""


async def resolve(host, port):
    """See tls_mbedtls.resolve."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return found[0]


async def open_stream(address, context=None, name=None):
    """See tls_mbedtls.open_stream."""
    host, port = address[-1]
    both = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    if context is not None and context.on_leaf is not None:
        context.on_leaf(both[1].get_extra_info("ssl_object").getpeercert(True))
    return both


def certificate_error(error):
    """See tls_mbedtls.certificate_error."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        # Another ValueError is about a name that no certificate can carry.
        return None if isinstance(error, OSError) else ""
    return _CHECKS.get(error.verify_code, "")


def is_no_tls(error):
    """See tls_mbedtls.is_no_tls."""
    return isinstance(error, ssl.SSLError) and error.reason in _NO_TLS


def is_tls_error(error):
    """See tls_mbedtls.is_tls_error."""
    return isinstance(error, ssl.SSLError) and not isinstance(
        error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    )


def network_error(error):
    """See tls_mbedtls.network_error."""
    return error.errno or errno.ECONNRESET


def reason(error):
    """See tls_mbedtls.reason."""
    text = getattr(error, "verify_message", "") or getattr(error, "reason", "")
    return " ".join(str(text or error.strerror or error).split()) or "closed by the peer"
