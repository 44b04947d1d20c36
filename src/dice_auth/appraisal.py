"""Is this evidence of an enrolled board, fresh, for this channel, and within the policy?

The names are RFC 9334's: a verifier appraises evidence. Not checked here: what the claims about
the firmware are worth. Whoever has a board's secret can claim anything (docs/security.md); the
policy compares claims, it does not prove them.
"""

import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from dice import evidence
from dice.certificate import Certificate
from dice.errors import EvidenceError
from dice.evidence import Claims
from dice_auth.certificate_shape import read_certificate
from dice_auth.enrolment import root_certificate_for_mac
from dice_auth.policy import POLICY_CHECKS, Policy
from dice_auth.registry import EnrolledRoot, Registry
from dice_auth.verification import CHECKS, REVOKED, Question, Verdict, judge, read_question

MAX_EVIDENCE_BYTES = evidence.MAXIMUM_BYTES
_LONGEST_TEXT = 64

EVIDENCE = "evidence"
NONCE = "nonce"
CHANNEL = "channel"
SIGNATURE = "evidence-signature"
UEID = "ueid"
IDENTITY_MAC = "identity-mac"

# Whoever fails one of these is who he says, but is not let in.
_NOT_ALLOWED = (REVOKED, IDENTITY_MAC, *POLICY_CHECKS)
# All that a refusal can name, in the order in which it names them.
APPRAISAL_CHECKS = (
    EVIDENCE, NONCE, CHANNEL, *(check for check in CHECKS if check != REVOKED), SIGNATURE, UEID,
    *_NOT_ALLOWED,
)  # fmt: skip

_MAC_SHAPE = re.compile(r"[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_MOST_MACS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Appraisal:
    """verdict: as of a certificate; its checks are APPRAISAL_CHECKS. claims: None where there
    were none to be read."""

    verdict: Verdict
    claims: Claims | None = None

    @property
    def status(self) -> int:
        """The answer's: 401 if it is not certain which board this is, 403 if that one may not."""
        if self.verdict.accepted:
            return 200
        is_known = all(check in _NOT_ALLOWED for check in self.verdict.failed)
        return 403 if is_known else 401


async def appraise(
    data: bytes, channel: bytes, registry: Registry, policy: Policy, now: datetime
) -> Appraisal:
    """The verdict on evidence. Its nonce is used up, whatever comes of it.

    channel: SHA-256 of the certificate that the agent showed the board, 32 bytes, as the agent
    tells. Raises RegistryError if the registry cannot answer: then there is no verdict.
    """
    try:
        found = evidence.decode(data)
        claims = found.claims
        _check_texts(claims)
    except EvidenceError as error:
        return Appraisal(Verdict(None, (EVIDENCE,), str(error)))
    failed = []
    if not await registry.use_nonce(claims.nonce):
        failed.append(NONCE)
    if not hmac.compare_digest(claims.channel, channel):
        failed.append(CHANNEL)
    question = read_question(found.certificate)
    if isinstance(question, Verdict):
        return Appraisal(Verdict(None, (*failed, *question.failed), question.detail), claims)
    enrolled = await registry.root_by_key_id(question.key_id)
    verdict = judge(question, enrolled, now)
    failed += [check for check in verdict.failed if check != REVOKED]
    if not found.is_signed_by(question.presented.public_key):
        failed.append(SIGNATURE)
    if enrolled is not None:
        failed += _failed_of_board(question, enrolled, claims, policy)
    return Appraisal(Verdict(verdict.board_id, tuple(failed), verdict.detail), claims)


def _failed_of_board(
    question: Question, enrolled: EnrolledRoot, claims: Claims, policy: Policy
) -> list[str]:
    root = read_certificate(enrolled.root)
    failed = []
    if claims.ueid != evidence.ueid_of(root.public_key):
        failed.append(UEID)
    if enrolled.revoked:
        failed.append(REVOKED)
    if not policy.allow_mac_identity and _is_of_mac(enrolled.board_id, root):
        failed.append(IDENTITY_MAC)
    return failed + policy.failed(claims.application, claims.image_digest, question.presented.dice)


def _check_texts(claims: Claims) -> None:
    """What is passed on and kept: texts of an app descriptor (ESP-IDF's have up to 31 bytes) and a
    chip's name. Raises EvidenceError."""
    for name in ("hwmodel", "application", "version"):
        text: str = getattr(claims, name)
        if len(text) > _LONGEST_TEXT or not text.isprintable() or (name == "hwmodel" and not text):
            raise EvidenceError(
                f"evidence: {name} is not a text of at most {_LONGEST_TEXT} printable characters"
            )


def _is_of_mac(board_id: str, root: Certificate) -> bool:
    """Whether the board's secret is made from its MAC address, which is public."""
    digits = re.sub("[:-]", "", board_id)
    return bool(_MAC_SHAPE.fullmatch(digits)) and root.public_key == _key_of_mac(digits.lower())


@lru_cache(_MOST_MACS_REMEMBERED)
def _key_of_mac(digits: str) -> bytes:
    """The DICE root public key, uncompressed, of identity "mac"."""
    root = read_certificate(root_certificate_for_mac(bytes.fromhex(digits)))
    return root.public_key
