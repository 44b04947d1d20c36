"""What went wrong between the board and the agent: from an exception to a code.

Told apart by exception class, number and the certificate itself, never by texts. Whether a
certificate is good is mbedTLS's (OpenSSL's) decision; here is only why it was not.
"""

import errno

from . import compat
from .errors import OtaError, PeerError

_UNREACHABLE = (
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ETIMEDOUT,
    getattr(errno, "ENETUNREACH", 101),
    getattr(errno, "ENETDOWN", 100),
)
_WHY = {
    "unknown-issuer": "not issued by the configured CA",
    "wrong-name": "not for the name %s",
    "not-yet-valid": "not valid yet; this board's clock says %s",
    "expired": "expired; this board's clock says %s",
}


def from_exception(error, where, config, leaf, now):
    """The OtaError for an OSError or ValueError out of a connection.

    where: the agent's address, for the message. leaf: the agent's certificate, DER, or None.
    now: seconds since 1970 by the board's clock.
    """
    from .clock import civil

    now = civil(now)
    tls = compat.tls()
    check = tls.certificate_error(error)
    if check is not None:
        checks = [check] if check else _failed_checks(config, leaf, now)
        return _not_trusted(checks, where, config.agent_name, now)
    reason = tls.reason(error)
    if tls.is_no_tls(error):
        return PeerError("no-tls", "%s: what answers there is not TLS (%s)" % (where, reason))
    if tls.is_tls_error(error):
        return PeerError("tls-failed", "%s: TLS failed: %s" % (where, reason))
    if tls.network_error(error) in _UNREACHABLE:
        return PeerError("agent-unreachable", "%s: %s" % (where, reason))
    return PeerError("connection-lost", "%s: the connection broke: %s" % (where, reason))


def _not_trusted(checks, where, name, now):
    """Every failed check in the message, the first one's code."""
    clock = "%d-%02d-%02d %02d:%02d" % tuple(now[:5])
    reasons = []
    for check in checks:
        text = _WHY[check]
        if "%s" in text:
            text = text % (name if check == "wrong-name" else clock)
        reasons.append(text)
    code = "agent-" + checks[0] if checks else "agent-not-trusted"
    why = "; ".join(reasons) or "its signature, key or purpose"
    return OtaError(code, "%s: the agent's certificate was refused: %s" % (where, why))


def _failed_checks(config, leaf, now):
    if leaf is None:
        return []
    from dice import server_certificate
    from dice.errors import CertificateError

    try:
        certificate = server_certificate.parse(leaf)
    except CertificateError:
        return []
    return server_certificate.failed_checks(certificate, config.agent_ca, config.agent_name, now)
