"""How much heap a call needs, under MicroPython: fill all of it but a hole, and try."""

import gc


def fits_in(free_bytes, call):
    """Whether call() succeeds with this many bytes of heap free, in one piece.

    What the call loads and keeps counts too, unless it has been called before.
    """
    gc.collect()
    # Made first, so that it does not grow and leave holes of its own.
    ballast = [None] * (gc.mem_free() // 256)
    hole = bytearray(free_bytes)
    at = 0
    for size in (4096, 1024, 256, 64, 16):
        try:
            while at < len(ballast):
                ballast[at] = bytearray(size)
                at += 1
        except MemoryError:
            pass
    del hole
    gc.collect()
    try:
        call()
    except MemoryError:
        return False
    return True
