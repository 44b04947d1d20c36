"""What Redis answers about a board, as a record."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from dice import certificate
from dice_auth.certificate_shape import read_certificate
from dice_auth.enrolment import check_board_id, key_id_of
from dice_auth.errors import EnrolmentError
from dice_auth.registry import BoardRecord, Revocation


@dataclass(frozen=True, slots=True)
class SeenBoard:
    """state: as `redis_board_scripts` computes it, of the same values."""

    record: BoardRecord
    state: str

    @property
    def as_arguments(self) -> tuple[str, str]:
        return self.state, self.record.key_id.hex()


def state_of(pem: bytes, detail: Mapping[bytes, bytes], revocation: bytes | None) -> str:
    kept = [detail.get(name, b"") for name in (b"application", b"labels", b"enrolled_at")]
    values = b"\0".join((pem, *kept, revocation or b""))
    return hashlib.sha1(values, usedforsecurity=False).hexdigest()


def read_record(board_id: bytes, pem: bytes) -> BoardRecord | None:
    """None if the entry is not a board's: no certificate, or an id that cannot be one."""
    try:
        name = board_id.decode("utf-8")
        check_board_id(name)
        root = read_certificate(certificate.from_pem(pem))
        return BoardRecord(name, root.der, key_id_of(name, root))
    except (EnrolmentError, certificate.CertificateError, UnicodeDecodeError):
        return None


def with_details(
    record: BoardRecord, detail: Mapping[bytes, bytes], revocation: bytes | None
) -> BoardRecord:
    def number(name: bytes) -> int | None:
        return int(detail[name]) if name in detail else None

    verdict, version = detail.get(b"last_verdict"), detail.get(b"last_version")
    found = None if revocation is None else json.loads(revocation)
    return BoardRecord(
        record.board_id,
        record.root,
        record.key_id,
        detail.get(b"application", b"").decode(),
        json.loads(detail.get(b"labels") or b"{}"),
        None if found is None else Revocation(found["reason"], found["at"]),
        number(b"enrolled_at"),
        number(b"first_seen"),
        number(b"last_seen"),
        None if verdict is None else verdict.decode(),
        None if version is None else version.decode(),
    )
