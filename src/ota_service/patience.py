"""How long an update waits: for the next thing to happen, and in all.

One task watches a whole transfer, so that a read costs no timer of its own.
"""

import asyncio

from .compat import const, ticks_add, ticks_diff, ticks_ms
from .errors import OtaError, PeerError

_LOOK_MS = const(500)


class Patience:
    """Ends a wait when nothing has happened for too long, or when the deadline has passed.

    deadline_s: seconds for everything, from now on.
    """

    def __init__(self, deadline_s):
        self._deadline_s = deadline_s
        self._deadline = ticks_add(ticks_ms(), int(deadline_s * 1000))
        self._until = self._deadline
        self._milliseconds = 0
        self.waits_for = "anything"

    def expect(self, what, seconds):
        """From now on `what` has to happen within so many seconds, over and over (`renew`)."""
        self.waits_for = what
        self._milliseconds = int(seconds * 1000)
        self.renew()

    def renew(self):
        """It has happened: the same time again. Does not allocate."""
        self._until = ticks_add(ticks_ms(), self._milliseconds)

    def left_ms(self):
        """Milliseconds that are left, 0 or less when it is over."""
        now = ticks_ms()
        return min(ticks_diff(self._until, now), ticks_diff(self._deadline, now))

    def deadline_left_s(self):
        """Seconds until the deadline, 0 or less when it has passed."""
        return ticks_diff(self._deadline, ticks_ms()) / 1000

    def check_deadline(self):
        """Raises OtaError("deadline") when the time for everything is over."""
        if self.deadline_left_s() <= 0:
            raise OtaError("deadline", "not done within %d s" % self._deadline_s)

    async def watch(self, coroutine, what, seconds):
        """Run a coroutine to its end; its result. It has `what` happen within so many seconds, and
        says itself what it expects after that.

        Raises PeerError("timeout"), OtaError("deadline"); the coroutine is cancelled then, as it
        is when this is.
        """
        self.expect(what, seconds)
        ended = asyncio.Event()
        outcome = []
        task = asyncio.create_task(_run(coroutine, outcome, ended))
        try:
            while not ended.is_set():
                await self._wait(ended)
        except BaseException:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            coroutine.close()  # where the task had no turn before; else it has ended
            raise
        if not outcome:
            raise asyncio.CancelledError
        result, error = outcome
        if error is not None:
            raise error
        return result

    async def _wait(self, ended):
        left = self.left_ms()
        if left > 0:
            try:
                await asyncio.wait_for(ended.wait(), min(left, _LOOK_MS) / 1000)
            except asyncio.TimeoutError:
                pass  # renewed, or given less time, meanwhile
            return
        self.check_deadline()
        raise PeerError("timeout", "%s within %g s" % (self.waits_for, self._milliseconds / 1000))


async def _run(coroutine, outcome, ended):
    """Leaves (result, exception), nothing if it was cancelled: a task that ends with an exception
    nobody waits for yet is complained about on MicroPython's console."""
    try:
        outcome.extend((await coroutine, None))
    except Exception as error:
        outcome.extend((None, error))
    finally:
        # asyncio may keep an ended task for a while, which would keep all that this one used.
        coroutine = None
        ended.set()
