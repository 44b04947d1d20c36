"""When not to ask a server that has failed again and again. No clock here: times are given."""

# Failures in a row.
_THRESHOLD = 5
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0


class CircuitBreaker:
    """Closed at first. After 5 failures in a row it is open: nobody may ask, for half a second.
    Then one may try; if that fails too, the pause is twice as long, up to 5 s. Any success closes
    it, whenever it was asked for: the server answers again.

    Whoever may ask gets a permit, and reports with it once. Each opening makes the permits of
    before worthless: what was asked before the server was known to be down and fails later is no
    news, it neither lengthens the pause nor ends the try that somebody else has begun.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._permit = 1
        self._is_trying = False
        self._pause_s = 0.0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        return self.failures >= _THRESHOLD

    def permit(self, now: float) -> int:
        """To ask now; 0 is none. It goes to `failed` or `gave_up`, or `succeeded` is called."""
        if self.failures >= _THRESHOLD:
            if self._is_trying or now < self._open_until:
                return 0
            self._is_trying = True
        return self._permit

    def succeeded(self) -> None:
        self.failures = 0
        self._pause_s = 0.0
        self._is_trying = False

    def failed(self, permit: int, now: float) -> None:
        if permit != self._permit:
            return
        self.failures += 1
        if self.is_open:
            self._permit += 1
            self._is_trying = False
            self._pause_s = min(max(_FIRST_PAUSE_S, self._pause_s * 2), _LONGEST_PAUSE_S)
            self._open_until = now + self._pause_s

    def gave_up(self, permit: int) -> None:
        """Nothing was learnt: whoever asked went away, or had no turn."""
        if permit == self._permit:
            self._is_trying = False
