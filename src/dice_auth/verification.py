"""Is this a certificate of an enrolled board? The body of a request goes in, a verdict comes out.

The board's root is found by the certificate's authority key identifier, never by trying all.
Which checks make a chain is `dice.certificate.verify_chain`'s subject. Not checked here: who
sends the certificate. It is public and constant; in protocol 1 that is all there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dice import certificate, chain
from dice_auth.certificate_shape import read_certificate
from dice_auth.errors import RegistryError
from dice_auth.registry import EnrolledRoot

# Checks of the request and of the registry; those of the chain are `dice.chain`'s.
NO_CERTIFICATE = "no-certificate"
NOT_ENROLLED = "not-enrolled"
REVOKED = "revoked"
# All that a refusal can name.
CHECKS = (NO_CERTIFICATE, NOT_ENROLLED, REVOKED, *chain.CHECKS)


@dataclass(frozen=True, slots=True)
class Verdict:
    """failed: names of the checks that failed, all of them; empty means accepted.

    board_id: the enrolled board the certificate claims to be of, if there is one.
    detail: what was expected and found, where a name alone does not say it.
    """

    board_id: str | None
    failed: tuple[str, ...]
    detail: str = ""

    @property
    def accepted(self) -> bool:
        return self.board_id is not None and not self.failed


def verdict_text(failed: Sequence[str]) -> str:
    """`accepted`, or `refused` and the checks that failed."""
    return f"refused: {', '.join(failed)}" if failed else "accepted"


@dataclass(frozen=True, slots=True)
class Question:
    """What a readable request asks: is there a root with this key id, and does this chain to it?"""

    presented: certificate.Certificate
    key_id: bytes


def read_request(body: bytes) -> Question | Verdict:
    """The question in a body, or the verdict on one that has none."""
    try:
        presented_der = certificate.from_pem(body)
    except certificate.CertificateError as error:
        return Verdict(None, (NO_CERTIFICATE,), str(error))
    return read_question(presented_der)


def read_question(presented_der: bytes) -> Question | Verdict:
    """The same for a certificate alone, DER."""
    try:
        presented = read_certificate(presented_der)
    except certificate.CertificateError as error:
        return Verdict(None, (NO_CERTIFICATE,), str(error))
    if not presented.authority_key_id:
        return Verdict(None, (NOT_ENROLLED,))
    return Question(presented, presented.authority_key_id)


def judge(question: Question, enrolled: EnrolledRoot | None, now: datetime) -> Verdict:
    """The verdict, given what the registry has answered. Raises RegistryError for a damaged one."""
    if enrolled is None:
        return Verdict(None, (NOT_ENROLLED,))
    try:
        root = read_certificate(enrolled.root)
    except certificate.CertificateError as error:
        raise RegistryError(f"root certificate of {enrolled.board_id}: {error}") from error
    failed = certificate.verify_chain(question.presented, root, _fields(now))
    if enrolled.revoked:
        failed.append(REVOKED)
    return Verdict(enrolled.board_id, tuple(failed))


def _fields(now: datetime) -> tuple[int, ...]:
    utc = now.astimezone(UTC)
    return utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second
