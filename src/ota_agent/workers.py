"""Processes that serve boards, and one that watches them: one that dies is replaced.

Everything shared is made before they are: listening sockets, counters, what is served. They notice
the death of the one that watches, however it came, and end as if they had been told. The watching
process has no event loop and no threads: it waits for signals, and so can fork at any time.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from ota_agent.structured_log import log_event

# One that dies at once is not replaced more often than this.
_LEAST_LIFE_S = 1.0
# How often files are looked at for changes, for those that are still to be started.
_LOOK_S = 1.0
# After a second signal, and beyond the deadline that workers keep themselves: then they hang.
_CUTTING_S = 2.0
_GRACE_S = 5.0
_ENDING = (signal.SIGTERM, signal.SIGINT)
_WATCHED = (*_ENDING, signal.SIGHUP, signal.SIGCHLD)
# To a process here: end at once, whatever is under way.
CUT_OFF = signal.SIGUSR1


@dataclass(slots=True)
class Role:
    """What one of the processes is for.

    work(alone): run in it; it returns when it was told to end. alone: a descriptor that becomes
    readable when the watching process is gone. died: called in the watching process when it is
    dead. is_server: it is told to end, and waited for; others are killed when the servers are
    through.
    """

    name: str
    work: Callable[[int], None]
    died: Callable[[], None]
    restarted: Callable[[], None] = lambda: None
    is_server: bool = True
    started: float = field(default=-_LEAST_LIFE_S, init=False)


class Workers:
    """Watches so many. deadline_s: how long they may take to end. ending: called in this process
    when they are told to; look: now and then before, for what new processes are to begin with."""

    def __init__(
        self,
        roles: Iterable[Role],
        *,
        deadline_s: float,
        ending: Callable[[], None],
        look: Callable[[], None],
    ) -> None:
        self._waiting = list(roles)
        self._running: dict[int, Role] = {}
        self._deadline_s = deadline_s
        self._ending = ending
        self._look = look
        self._next_look = time.monotonic() + _LOOK_S
        self._signals = 0
        self._kill_at: float | None = None
        self._alone, self._watching = os.pipe()

    @property
    def is_ending(self) -> bool:
        """They have been told to end."""
        return self._signals > 0

    def run(self, started: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT, and they have ended. started: called when they have been
        started. To be called from the main thread of a process without other threads."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            self._start_due()
            started()
            while any(role.is_server for role in (*self._running.values(), *self._waiting)):
                self._wait()
        finally:
            for process in self._running:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            for process in self._running:
                with suppress(ChildProcessError):
                    os.waitpid(process, 0)
            os.close(self._watching)
            os.close(self._alone)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)

    def _wait(self) -> None:
        """For a signal, or the time of something to do."""
        now = time.monotonic()
        due = [role.started + _LEAST_LIFE_S for role in self._waiting]
        if self._kill_at is not None:
            due.append(self._kill_at)
        elif not self.is_ending:
            due.append(self._next_look)
        wait_s = max(0.0, min(due, default=now + _LOOK_S) - now)
        told = signal.sigtimedwait(_WATCHED, wait_s)
        if told is not None and told.si_signo in _ENDING:
            self._told_to_end()
        elif told is not None and told.si_signo == signal.SIGHUP:
            self._look()
            self._tell(signal.SIGHUP)
        self._reap()
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = now + _GRACE_S
            self._tell(signal.SIGKILL)
        if not self.is_ending:
            if now >= self._next_look:
                self._look()
                self._next_look = time.monotonic() + _LOOK_S
            self._start_due()

    def _start_due(self) -> None:
        now = time.monotonic()
        for role in list(self._waiting):
            if role.started + _LEAST_LIFE_S <= now:
                self._waiting.remove(role)
                self._start(role)

    def _start(self, role: Role) -> None:
        is_again = role.started > 0
        role.started = time.monotonic()
        try:
            process = os.fork()
        except OSError as error:
            # For want of memory or processes, which passes.
            log_event("worker-failed", who=role.name, reason=error.strerror)
            self._waiting.append(role)
            return
        if process == 0:
            self._run_process(role)
        self._running[process] = role
        if is_again:
            role.restarted()

    def _run_process(self, role: Role) -> None:
        """In the new process; does not return."""
        code = 1
        try:
            os.close(self._watching)
            # Until it takes these itself there is nobody to serve, and nothing to look at again.
            for each in _ENDING:
                signal.signal(each, signal.SIG_DFL if role.is_server else signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            role.work(self._alone)
            code = 0
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            log_event("worker-failed", who=role.name, reason=reason)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while self._running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            role = self._running.pop(process, None)
            if role is None:
                continue
            role.died()
            if self.is_ending:
                continue
            log_event("worker-died", who=role.name, process=process, status=status)
            self._waiting.append(role)

    def _told_to_end(self) -> None:
        self._signals += 1
        now = time.monotonic()
        if self._signals == 1:
            self._waiting = []
            self._ending()
            self._kill_at = now + self._deadline_s + _GRACE_S
            self._tell(signal.SIGTERM)
        else:
            self._kill_at = now + _CUTTING_S
            self._tell(CUT_OFF)

    def _tell(self, number: int) -> None:
        for process, role in self._running.items():
            if role.is_server or number == signal.SIGHUP:
                # It may have ended by itself.
                with suppress(ProcessLookupError):
                    os.kill(process, number)
