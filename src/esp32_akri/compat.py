"""Differences between CPython and MicroPython for the endpoints, by feature."""


async def _probe():
    pass


_coroutine = _probe()
_HAS_AWAIT = hasattr(_coroutine, "__await__")
_coroutine.close()
del _coroutine


def is_awaitable(value):
    """Whether a handler's result has to be awaited. MicroPython's coroutines are generators."""
    return hasattr(value, "__await__") or (not _HAS_AWAIT and hasattr(value, "send"))


def is_loopback(peer):
    """Whether a connection comes from the board itself; peer: as asyncio gives it, a tuple, or
    on MicroPython's unix port a sockaddr_in's bytes."""
    if isinstance(peer, (bytes, bytearray)):
        return len(peer) >= 8 and peer[4] == 127
    return bool(peer) and str(peer[0]).startswith("127.")
