"""Differences between CPython and MicroPython for the component, by feature.

A stream here is what asyncio gives for reading and writing. How TLS is opened and what its errors
mean stands in `tls_mbedtls` (MicroPython) and `tls_openssl` (CPython), which has `ticks` too.
"""

import asyncio
import sys

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


try:
    from time import ticks_add, ticks_diff, ticks_ms
except ImportError:
    from .ticks import ticks_add, ticks_diff, ticks_ms  # noqa: F401


IS_MICROPYTHON = sys.implementation.name == "micropython"


def tls():
    """The module that opens TLS connections on this runtime."""
    if IS_MICROPYTHON:
        from . import tls_mbedtls as module
    else:
        from . import tls_openssl as module
    return module


async def listen(callback, host, port):
    """asyncio.start_server that leaves no open port behind when it is cancelled."""
    if IS_MICROPYTHON:
        return await asyncio.start_server(callback, host, port)
    starting = asyncio.ensure_future(asyncio.start_server(callback, host, port))
    try:
        await asyncio.wait((starting,))
    except asyncio.CancelledError:
        (await starting).close()
        raise
    return starting.result()


async def read_into(reader, view):
    """Read what there is into `view`; the number of bytes, 0 at the end of the stream."""
    if not IS_MICROPYTHON:
        data = await reader.read(len(view))
        view[: len(data)] = data
        return len(data)
    # What TLS has decrypted already is taken at once: waiting for it costs a millisecond a time.
    count = reader.s.readinto(view)
    while count is None:
        # None again: bytes came, but no whole TLS record yet.
        count = await reader.readinto(view)
    return count


async def close_stream(writer):
    """Close a connection whose outcome no longer matters; its socket is free afterwards, also when
    this is cancelled."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), 1)
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        _free_socket(writer)


def _free_socket(writer):
    if not IS_MICROPYTHON:
        writer.transport.abort()
        return
    # mbedTLS lets go of the socket, open as it is, when a handshake fails.
    raw = writer.e.get("raw")
    if raw is not None:
        raw.close()


def collect_garbage():
    """Where memory is scarce: give back what is free, in as large pieces as there are."""
    if IS_MICROPYTHON:
        import gc

        gc.collect()


def let_go(*names):
    """Where memory is scarce: unload these packages and modules; a later import loads them again.

    What something still uses stays in memory until it does not.
    """
    if not IS_MICROPYTHON:
        return
    for module in list(sys.modules):
        if module in names or module.split(".")[0] in names:
            del sys.modules[module]
            package, _, name = module.rpartition(".")
            try:
                delattr(sys.modules[package], name)
            except (KeyError, AttributeError):
                pass
    collect_garbage()


def let_go_of_parser():
    """Where memory is scarce: unload what reads an image or its signature sector; what verifies
    the signature comes."""
    let_go(
        "esp_image.parser", "esp_image.segments", "esp_image.header", "esp_image.chip_table",
        "esp_image.signature_block",
    )  # fmt: skip


class Values:
    """What another object held; see `values_of`."""


def values_of(found):
    """A copy of an object's attributes, without the code of its class and module: an instance of
    the class would keep that in memory."""
    values = Values()
    for name, value in found.__dict__.items():
        setattr(values, name, value)
    return values
