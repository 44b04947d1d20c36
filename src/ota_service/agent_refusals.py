"""What an agent means that answers a request of protocol 2 with none of the statuses hoped for."""

from .attest_answers import shown
from .compat import const
from .errors import OtaError, PeerError

_MAX_RETRY_AFTER_S = const(86400)
_ATTEST = const("POST /v2/attest")
_FIRMWARE = const("GET /v2/firmware")

# (request, or None for any; status; code; whether another attempt may help)
_REFUSALS = const(
    (
        (_FIRMWARE, 401, "token-refused", True),  # a token lives a minute
        (_FIRMWARE, 404, "no-firmware", False),
        (_ATTEST, 401, "attestation-refused", False),
        (None, 403, "board-not-allowed", False),
        (None, 429, "agent-busy", True),
        (None, 503, "agent-busy", True),
    )
)


def is_problem(response):
    """Whether the body is a problem document (RFC 9457, 3)."""
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/problem+json"


def from_response(response, problem):
    """The OtaError for a response. problem: what its problem document holds (RFC 9457, 3.1), a
    dict, an empty one without."""
    said = [problem.get(name) for name in ("title", "detail")]
    said = [": " + shown(text) for text in said if isinstance(text, str) and text]
    status = response.status
    code, may_retry = "agent-refused", False
    if status >= 500:
        code, may_retry = "agent-error", True
    for request, number, name, again in _REFUSALS:
        if number == status and request in (None, response.request):
            code, may_retry = name, again
            break
    text = "%s: %d%s" % (response.request, status, "".join(said))
    error = (PeerError if may_retry else OtaError)(code, text)
    error.pause_s = _retry_after_s(response)
    return error


def _retry_after_s(response):
    """Seconds; a date there (RFC 9110, 10.2.3) is of no use without a clock."""
    text = response.headers.get("retry-after", "")
    return min(int(text), _MAX_RETRY_AFTER_S) if len(text) <= 9 and text.isdigit() else 0
