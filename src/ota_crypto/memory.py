"""Overwriting secrets after use."""


def wipe(buffer):
    """Overwrite a bytearray (or writable memoryview) with zeros, in place; allocates nothing.

    Reaches only this buffer: integers and `bytes` made from it stay until the collector
    reuses their memory, which no Python code can hasten.
    """
    for i in range(len(buffer)):
        buffer[i] = 0
