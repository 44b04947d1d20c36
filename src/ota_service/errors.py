"""Why an update did not happen. The code is stable; `GET /update` and the logs carry it."""


class OtaError(Exception):
    """An update failed. `code` is stable, `message` names what was expected and what was found.

    pause_s: how long the agent asks to be left alone; None if nothing failed, and the update had
    nothing to do.
    """

    may_retry = False
    pause_s = 0

    def __init__(self, code, message):
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self):
        return self.message


class PeerError(OtaError):
    """The network or the agent failed in a way that another attempt may not."""

    may_retry = True


class BadRequest(OtaError):
    """A request to `/update` that cannot be taken; `status` is the HTTP status it gets."""

    def __init__(self, message, status=400, code="bad-request"):
        super().__init__(code, message)
        self.status = status
