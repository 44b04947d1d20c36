"""When not to ask a server that has failed again and again. No clock here: times are given."""

# Failures in a row.
_THRESHOLD = 5
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0


class CircuitBreaker:
    """Closed at first. After 5 failures in a row it is open: `allows` says no, for half a second.
    Then one request may try; if it fails too, the pause is twice as long, up to 5 s."""

    def __init__(self) -> None:
        self.failures = 0
        self._pause_s = 0.0
        self._open_until = 0.0
        self._trying = False

    @property
    def is_open(self) -> bool:
        return self.failures >= _THRESHOLD

    def allows(self, now: float) -> bool:
        """Whether to ask now. Whoever is allowed has to report with `succeeded`, `failed` or
        `gave_up`."""
        if not self.is_open:
            return True
        if self._trying or now < self._open_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        self.failures = 0
        self._pause_s = 0.0
        self._trying = False

    def failed(self, now: float) -> None:
        self.failures += 1
        self._trying = False
        if self.is_open:
            self._pause_s = min(max(_FIRST_PAUSE_S, self._pause_s * 2), _LONGEST_PAUSE_S)
            self._open_until = now + self._pause_s

    def gave_up(self) -> None:
        """The one who asked went away before there was an answer: that says nothing."""
        self._trying = False
