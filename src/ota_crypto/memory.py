"""Overwriting secrets after use."""

_ZEROS = bytes(128)


def wipe(buffer):
    """Overwrite a bytearray (or writable memoryview) with zeros, in place.

    Reaches only this buffer: integers and `bytes` made from it stay until the collector
    reuses their memory, which no Python code can hasten.
    """
    count = len(buffer)
    for at in range(0, count, len(_ZEROS)):
        left = count - at
        buffer[at : at + len(_ZEROS)] = _ZEROS if left >= len(_ZEROS) else bytes(left)
