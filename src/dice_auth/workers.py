"""Several processes that do the same, and one that watches them: a worker that dies is replaced.

Everything shared is made before the workers are: listening sockets, counters. Workers notice the
death of the one that watches, however it came, and end.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from dice_auth.structured_log import log_event

# A worker that dies at once is not replaced more often than this.
_LEAST_LIFE_S = 1.0
_ENDING = (signal.SIGTERM, signal.SIGINT)

# work(number, alone): number 0, 1, ...; alone: a descriptor that becomes readable when the
# watching process is gone. It returns when the worker was told to end by SIGTERM.
Work = Callable[[int, int], None]


class Workers:
    """count processes that run `work`. `run` returns once they have all ended. SIGHUP is passed on
    to them.

    ending(): called in this process when they are told to end.
    """

    def __init__(
        self, count: int, work: Work, *, ending: Callable[[], None] = lambda: None
    ) -> None:
        self._count = count
        self._work = work
        self._ending = ending
        self._running: dict[int, tuple[int, float]] = {}
        self._is_ending = False
        self._all_ended_well = True
        self._alone, self._watching = os.pipe()

    def run(self) -> bool:
        """Until SIGTERM or SIGINT; True if every worker then ended as it should.

        Call it from the main thread of a process without other threads or an event loop.
        """
        handlers = {each: signal.signal(each, self._end) for each in _ENDING}
        handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._pass_on)
        try:
            for number in range(self._count):
                self._start(number)
            while self._running:
                self._wait()
        finally:
            for each, handler in handlers.items():
                signal.signal(each, handler)
            os.close(self._watching)
            os.close(self._alone)
        return self._all_ended_well

    def _start(self, number: int) -> None:
        process = os.fork()
        if process == 0:
            self._run_worker(number)
        self._running[process] = number, time.monotonic()
        if self._is_ending:  # told meanwhile
            os.kill(process, signal.SIGTERM)

    def _run_worker(self, number: int) -> None:
        """In the new process; does not return."""
        code = 1
        try:
            os.close(self._watching)
            for each in _ENDING:
                signal.signal(each, signal.SIG_DFL)
            # Until the worker takes it, there is nothing that it could read again.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            if not self._is_ending:  # told between the look at it and the fork
                self._work(number, self._alone)
            code = 0
        except Exception as error:
            log_event("worker-failed", worker=number, reason=f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _wait(self) -> None:
        process, status = os.waitpid(-1, 0)
        number, started = self._running.pop(process)
        if self._is_ending:
            self._all_ended_well = self._all_ended_well and status == 0
            return
        log_event("worker-died", worker=number, process=process, status=status)
        time.sleep(max(0.0, _LEAST_LIFE_S - (time.monotonic() - started)))
        if not self._is_ending:
            self._start(number)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        for process in list(self._running):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._is_ending = True
        self._ending()
        for process in list(self._running):
            # It may have ended by itself, between `waitpid` and the look at what it returned.
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
