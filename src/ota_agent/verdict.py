"""What the attestation server answers to /challenge and /attest (protocol.md, C), and whether it
is what it should be: anything else lets no board in."""

import json
import re
from dataclasses import dataclass
from typing import Any

from ota_agent.attestation import Reply

NONCE_BYTES = 32
AFFIRMING = "affirming"
_MOST_BODY_BYTES = 16 * 1024
_LONGEST_TEXT = 128
_CHECK = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class AnswerError(ValueError):
    """Not what an attestation server may answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An affirming one. device: the board's name, as it was enrolled. hwmodel: its chip.
    application, version: what it runs, empty where the firmware has no names. claims: what these
    are worth. image_digest: SHA-256 of the running image, hex, None where the server does not
    tell."""

    device: str
    hwmodel: str
    application: str
    version: str
    claims: str
    image_digest: str | None


def read_nonce(reply: Reply) -> bytes:
    """Of a reply with status 200. Raises AnswerError."""
    if _media_type(reply) != b"application/octet-stream" or len(reply.body) != NONCE_BYTES:
        raise AnswerError(f"expected a nonce of {NONCE_BYTES} bytes")
    return reply.body


def read_verdict(reply: Reply) -> Verdict:
    """Of a reply with status 200. Raises AnswerError for all but an affirming one."""
    if _media_type(reply) != b"application/json":
        raise AnswerError("expected a verdict, application/json")
    members = _object(reply.body)
    if members.get("verdict") != AFFIRMING:
        raise AnswerError("status 200, but the verdict is not affirming")
    digest = members.get("image_digest")
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise AnswerError("image_digest is not 64 hex digits")
    return Verdict(
        device=_text(members, "device", 1),
        hwmodel=_text(members, "hwmodel", 1),
        application=_text(members, "application", 0),
        version=_text(members, "version", 0),
        claims=_text(members, "claims", 1),
        image_digest=digest,
    )


def read_failed_check(reply: Reply) -> str:
    """Of a refusal (RFC 9457): the name of the check that failed, empty where it tells none."""
    if _media_type(reply) != b"application/problem+json":
        return ""
    try:
        check = _object(reply.body).get("check")
    except AnswerError:
        return ""
    return check if isinstance(check, str) and _CHECK.fullmatch(check) else ""


def _media_type(reply: Reply) -> bytes:
    return reply.content_type.partition(b";")[0].strip().lower()


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > _MOST_BODY_BYTES:
        raise AnswerError(f"more than {_MOST_BODY_BYTES} bytes")
    try:
        value = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        raise AnswerError("not JSON, or ambiguous") from None
    if not isinstance(value, dict):
        raise AnswerError("not a JSON object")
    return value


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice")
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_unambiguous)


def _text(members: dict[str, Any], name: str, least: int) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not least <= len(value) <= _LONGEST_TEXT:
        raise AnswerError(f"no {name}")
    return value
