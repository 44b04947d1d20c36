"""Is this a certificate of an enrolled board? The body of a request goes in, a verdict comes out.

The board's root is found by the certificate's authority key identifier, never by trying all.
Which checks make a chain is `dice.certificate.verify_chain`'s subject. Not checked here: who
sends the certificate. It is public and constant; in protocol 1 that is all there is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from dice import certificate
from dice_auth.registry import Registry

# With what `verify_chain` names, these are all the checks that a refusal can name.
NO_CERTIFICATE = "no-certificate"
NOT_ENROLLED = "not-enrolled"


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


async def verify_request_body(body: bytes, registry: Registry, now: datetime) -> Verdict:
    """The verdict on the first PEM certificate in a body; text before it is skipped.

    now: the time, with its zone. Raises RegistryError if the registry cannot answer: then there
    is no verdict.
    """
    try:
        presented = certificate.parse(certificate.from_pem(body))
    except certificate.CertificateError as error:
        return Verdict(None, (NO_CERTIFICATE,), str(error))
    key_id = presented.authority_key_id
    record = await registry.root_by_key_id(key_id) if key_id else None
    if record is None:
        return Verdict(None, (NOT_ENROLLED,))
    root = certificate.parse(record.root)
    failed = certificate.verify_chain(presented, root, tuple(now.astimezone(UTC).timetuple()[:6]))
    return Verdict(record.board_id, tuple(failed))
