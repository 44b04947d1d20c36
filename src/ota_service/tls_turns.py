"""What mbedTLS reads from its socket in one turn, on MicroPython.

It passes over records that are of no use to it, warnings say, in one call for as long as any come:
whoever sends them without end, as the agent or before it has shown a certificate, would stop all
that runs on the board, the deadline of the update with it.
"""

import errno
import io
import select

from .compat import const

# py/stream.h
_POLL = const(3)
_CLOSE = const(4)
# Two for each record.
_READS = const(64)


class InTurns(io.IOBase):
    """The socket below TLS: whenever it has been waited for it gives so much, and then nothing.

    Called from within mbedTLS: nothing may be raised through it.
    """

    def __init__(self, raw):
        self._raw = raw
        self._left = 0
        self._poll = select.poll()
        self._poll.register(raw, 0)

    def readinto(self, buffer):
        if not self._left:
            return None
        self._left -= 1
        try:
            return self._raw.readinto(buffer)
        except OSError as error:
            return -error.errno

    def write(self, data):
        try:
            return self._raw.write(data)
        except OSError as error:
            return -error.errno

    def ioctl(self, request, argument):
        if request == _CLOSE:
            self._raw.close()
            return 0
        if request != _POLL:
            return -errno.EINVAL
        self._left = _READS
        self._poll.modify(self._raw, argument)
        for _, events in self._poll.ipoll(0):
            return events
        return 0
