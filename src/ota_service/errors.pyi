class OtaError(Exception):
    may_retry: bool
    pause_s: int | None
    code: str
    message: str
    def __init__(self, code: str, message: str) -> None: ...

class PeerError(OtaError): ...

class BadRequest(OtaError):
    status: int
    def __init__(self, message: str, status: int = 400, code: str = "bad-request") -> None: ...
