"""An image held in memory, read as a slot is: for whoever verifies a file."""


def reader(content):
    """A `read(offset, buffer)` over bytes, as readback takes it; past their end it reads FF, as
    erased flash does."""

    def read(offset, buffer):
        piece = content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        buffer[len(piece) :] = b"\xff" * (len(buffer) - len(piece))

    return read
