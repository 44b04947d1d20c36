"""Differences between CPython and MicroPython for the component, by feature."""

import asyncio

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


def tls_client_context(ca_certificates):
    """A TLS client that trusts exactly these CA certificates (DER) and checks the name."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    for der in ca_certificates:
        context.load_verify_locations(cadata=der)
    return context


async def read_into(reader, view):
    """Read what there is into `view`; the number of bytes, 0 at the end of the stream."""
    if hasattr(reader, "readinto"):
        return await reader.readinto(view)
    data = await reader.read(len(view))
    view[: len(data)] = data
    return len(data)


async def close_stream(writer):
    """Close a connection whose outcome no longer matters."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), 1)
    except (OSError, asyncio.TimeoutError):
        pass
