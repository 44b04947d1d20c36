"""The agent's port as a board meets it: does TLS answer, which version, which certificate."""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ota_cli.doctor.certificates import certificates_in
from ota_cli.doctor.finding import Findings, one_line
from ota_cli.doctor.ports import Place, Unreached, connect

_HANDSHAKE_S = 3.0
_BANNER_S = 0.7
_BANNER_BYTES = 200
# What mbedTLS in MicroPython on the ESP32 offers and modern servers take.
_BOARD_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# X509_V_FLAG_NO_CHECK_TIME of x509_vfy.h: a board's clock is not this machine's.
_NO_CHECK_TIME = 0x200000


@dataclass(frozen=True)
class Served:
    """chain: as the agent sends it, its own certificate first."""

    place: Place
    chain: list[x509.Certificate]


def look(place: Place, name: str, findings: Findings) -> Served | None:
    """Handshakes as boards make them; None with a finding where none succeeds. name: for SNI."""
    try:
        chain, version = _handshake(place, name, _board_context())
    except _Failed as failed:
        _explain(place, name, failed, findings)
        return None
    except ValueError:
        findings.add("agent-not-trusted", "its certificate cannot be read")
        return None
    except Unreached as error:
        findings.add("agent-closes", str(error))
        return None
    findings.add("agent-ok", f"{version} answers at {place.address} port {place.port}")
    return Served(place, chain)


def verify(served: Served, name: str, cas: Sequence[x509.Certificate]) -> str:
    """OpenSSL's reason not to trust the agent with these CAs, empty if there is none. Dates and the
    name are not looked at."""
    context = _board_context()
    context.verify_mode = ssl.CERT_REQUIRED
    # A CA is trusted as it is on the board, also one that another CA issued, as mbedTLS has it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.load_verify_locations(cadata=b"".join(ca.public_bytes(Encoding.DER) for ca in cas))
    try:
        _handshake(served.place, name, context)
    except _Failed as failed:
        return failed.reason
    except (Unreached, ValueError) as error:
        return str(error)
    return ""


def speaks_tls(place: Place, name: str) -> bool:
    """Whether whatever TLS is spoken there."""
    try:
        _handshake(place, name, _any_context())
    except _Failed as failed:
        return failed.is_tls
    except (Unreached, ValueError):
        return False
    return True


class _Failed(Exception):
    """reason: one line. silent: nothing came. closed: by the peer, without a word of TLS.
    is_tls: the peer spoke TLS."""

    def __init__(
        self, reason: str, *, silent: bool = False, closed: bool = False, is_tls: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.silent = silent
        self.closed = closed
        self.is_tls = is_tls


def _board_context() -> ssl.SSLContext:
    context = _open_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_BOARD_CIPHERS)
    return context


def _open_context() -> ssl.SSLContext:
    """Trusts whoever answers: what it says is judged afterwards, and nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _any_context() -> ssl.SSLContext:
    """Whatever version and suite there is."""
    context = _open_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _handshake(
    place: Place, name: str, context: ssl.SSLContext
) -> tuple[list[x509.Certificate], str]:
    """The chain and the version. Raises _Failed, Unreached, ValueError."""
    connection = connect(place, _HANDSHAKE_S)
    try:
        with context.wrap_socket(connection, server_hostname=name) as tls:
            return _chain(tls), tls.version() or "TLS"
    except TimeoutError:
        raise _Failed(f"no answer in {_HANDSHAKE_S:g} s", silent=True) from None
    except ssl.SSLCertVerificationError as error:
        raise _Failed(one_line(error.verify_message, 120), is_tls=True) from None
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        raise _Failed("closed during the handshake", closed=True) from None
    except ssl.SSLError as error:
        is_alert = "ALERT" in (error.reason or "")
        raise _Failed(error.reason or "handshake failed", is_tls=is_alert) from None
    except OSError as error:
        raise _Failed(error.strerror or type(error).__name__) from None
    finally:
        connection.close()


def _chain(tls: ssl.SSLSocket) -> list[x509.Certificate]:
    # Public from Python 3.13 on; before, the method is there on the object below.
    get: Any = getattr(tls, "get_unverified_chain", None)
    if get is not None:
        return [each for der in get() for each in certificates_in(der)]
    below: Any = getattr(tls, "_sslobj", None)
    with suppress(AttributeError, TypeError):
        pems = [each.public_bytes() for each in below.get_unverified_chain()]
        return [each for pem in pems for each in certificates_in(pem.encode())]
    return certificates_in(tls.getpeercert(binary_form=True) or b"")


def _explain(place: Place, name: str, failed: _Failed, findings: Findings) -> None:
    """Why a board's handshake failed."""
    if failed.silent:
        _explain_silence(place, failed, findings)
        return
    try:
        _, version = _handshake(place, name, _any_context())
    except _Failed as other:
        if failed.is_tls or other.is_tls:
            findings.add("agent-tls-failed", f"TLS failed: {other.reason}")
        else:
            _explain_no_tls(place, failed, findings)
    except (Unreached, ValueError) as error:
        findings.add("agent-tls-failed", f"TLS failed: {error}")
    else:
        if version == "TLSv1.2":
            text = f"TLS 1.2 with other suites or curves only ({failed.reason})"
            findings.add("agent-tls-cipher", f"expected ECDHE with AES-GCM on P-256, found {text}")
        else:
            findings.add("agent-tls-version", f"expected TLS 1.2, found {version} only")


def _explain_silence(place: Place, failed: _Failed, findings: Findings) -> None:
    if not _say(place, _banner(place), findings):
        findings.add("agent-silent", f"the port is open, to TLS {failed.reason}")


def _explain_no_tls(place: Place, failed: _Failed, findings: Findings) -> None:
    if _say(place, _banner(place), findings):
        return
    if failed.closed:
        findings.add("agent-closes", f"expected TLS, found the connection {failed.reason}")
    else:
        findings.add("agent-not-tls", f"expected TLS, found something else ({failed.reason})")


def _say(place: Place, said: bytes, findings: Findings) -> bool:
    """Whether what a service says of itself explains it."""
    text = one_line(said.split(b"\n")[0].decode(errors="replace"), 80)
    if said.startswith(b"HTTP/"):
        findings.add("agent-http", f"expected TLS, found plain HTTP ({text})")
    elif said:
        findings.add("agent-not-tls", f"expected TLS, found a service that says `{text}`")
    return bool(said)


def _banner(place: Place) -> bytes:
    """What a service says unasked, else to an HTTP request; empty if it says nothing."""
    with suppress(Unreached, OSError), connect(place, _BANNER_S) as connection:
        with suppress(TimeoutError):
            return connection.recv(_BANNER_BYTES)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(_BANNER_BYTES)
    return b""
