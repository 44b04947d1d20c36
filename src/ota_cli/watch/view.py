"""What is known of the agent at a moment: its last answer, and rates steady enough to be read."""

import math

from ota_cli.watch.sessions import Session, Sessions

_STEADY_S = 3.0  # a rate that changes is shown to two thirds after so long


class View:
    """url: the admin port. now: seconds of a clock that only goes forward.

    trouble: why the last question had no answer, None if it had one. heard: when the last answer
    came. bytes_per_s: of all boards; is_least: that and `sending` are of the boards that the
    answer lists, there may be more.
    """

    def __init__(self, url: str, sessions: Sessions, now: float) -> None:
        self.url = url
        self.sessions = sessions
        self.trouble: str | None = None
        self.heard = now
        self.bytes_per_s = 0.0
        self._rates: dict[tuple[int, str], float] = {}
        self.take(sessions, now)

    def take(self, sessions: Sessions, now: float) -> None:
        """An answer."""
        weight = 1 - math.exp((self.heard - now) / _STEADY_S)
        old = self._rates
        listed = [each for each in sessions.sessions if each.is_sending]
        self._rates = {
            _key(each): _steady(old.get(_key(each), 0), each.bytes_per_s, weight) for each in listed
        }
        told = sessions.bytes_per_s
        if told is None:
            self.bytes_per_s = math.fsum(self._rates.values())
        else:
            self.bytes_per_s = _steady(self.bytes_per_s, told, weight)
        self.sending = len(listed) if sessions.sending is None else sessions.sending
        self.is_least = sessions.sending is None and 0 < len(listed) == len(sessions.sessions) < (
            sessions.count
        )
        self.sessions = sessions
        self.heard = now
        self.trouble = None

    def fail(self, reason: str) -> None:
        """No answer, or none that is of use."""
        self.trouble = reason

    def rate(self, session: Session) -> float:
        """Bytes a second of one board; 0 where nothing is being sent."""
        return self._rates.get(_key(session), 0.0)

    def seconds_left(self, session: Session) -> float | None:
        """None where that cannot be known."""
        rate = self.rate(session)
        if session.total is None or rate < 1:
            return None
        return max(0, session.total - session.bytes) / rate


def _key(session: Session) -> tuple[int, str]:
    return session.worker, session.peer


def _steady(old: float, new: float, weight: float) -> float:
    """What begins or ends does so at once."""
    return old + weight * (new - old) if old and new else new
