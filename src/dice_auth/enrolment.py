"""What may be enrolled: an id, a DICE root certificate, an application's name and labels.

By its MAC address, as the originals do it, a board's root is derived from what is public
(identity "mac"): such an entry labels a board, it does not prove anything about it. By its root
certificate a board is enrolled without its secret ever being known here. What is stored, and
how, is the registry's matter.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import dice
from dice import certificate
from dice_auth.certificate_shape import read_certificate
from dice_auth.errors import EnrolmentError

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII | re.IGNORECASE)
_MOST_ID_CHARS = 128
_MOST_TEXT_CHARS = 64
_MOST_LABELS = 16
# Redis keeps key ids of this size alone, and DICE makes no other (Open Profile for DICE).
_KEY_ID_BYTES = 20


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A board that may be enrolled; `of` makes one.

    board_id: as typed. root: DER. key_id: the root's subject key identifier, 20 bytes.
    application, labels: None leaves what an enrolled board has.
    """

    board_id: str
    root: bytes
    key_id: bytes
    application: str | None = None
    labels: Mapping[str, str] | None = None

    @classmethod
    def of(
        cls,
        board_id: str,
        root_der: bytes,
        *,
        application: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> "Enrolment":
        """Raises EnrolmentError if the id or a text cannot be one, or the certificate is no root.

        A root passes every check of a chain with itself as its issuer, its dates aside.
        """
        check_board_id(board_id)
        check_texts(application, labels)
        root = _read_root(board_id, root_der)
        failed = set(certificate.verify_chain(root, root, root.not_before)) - {"is-root"}
        if failed:
            raise EnrolmentError(
                f"root certificate of {board_id}: not a root, failed {', '.join(sorted(failed))}"
            )
        return cls(board_id, root.der, key_id_of(board_id, root), application, labels)

    @property
    def labels_as_json(self) -> str | None:
        """As registries keep them: empty for none. None if they are left as they are."""
        if self.labels is None:
            return None
        return json.dumps(dict(self.labels)) if self.labels else ""


def check_board_id(board_id: str) -> None:
    """Raises EnrolmentError for what cannot be a board's id."""
    if not 0 < len(board_id) <= _MOST_ID_CHARS or not board_id.isprintable():
        raise EnrolmentError(
            f"board id {board_id!r:.160}: expected 1 to {_MOST_ID_CHARS} printable characters"
        )


def check_texts(application: str | None, labels: Mapping[str, str] | None) -> None:
    """Raises EnrolmentError for an application's name or labels that cannot be."""
    if labels and len(labels) > _MOST_LABELS:
        raise EnrolmentError(f"{len(labels)} labels, expected at most {_MOST_LABELS}")
    if labels and "" in labels:
        raise EnrolmentError("a label without a name, expected name=value")
    for text in (application or "", *(labels or {}), *(labels or {}).values()):
        if len(text) > _MOST_TEXT_CHARS or not text.isprintable():
            raise EnrolmentError(
                f"{text!r:.100}: expected at most {_MOST_TEXT_CHARS} printable characters"
            )


def key_id_of(board_id: str, root: certificate.Certificate) -> bytes:
    """The root's subject key identifier. Raises EnrolmentError if there is none of 20 bytes."""
    key_id = root.subject_key_id
    if key_id is None or len(key_id) != _KEY_ID_BYTES:
        raise EnrolmentError(
            f"root certificate of {board_id}: no subject key identifier of {_KEY_ID_BYTES} bytes"
        )
    return key_id


def _read_root(board_id: str, root_der: bytes) -> certificate.Certificate:
    try:
        return read_certificate(root_der)
    except certificate.CertificateError as error:
        raise EnrolmentError(f"root certificate of {board_id}: {error}") from error


def parse_mac(text: str) -> bytes:
    """The 6 bytes of a MAC address written as `aa:bb:cc:dd:ee:ff`, upper or lower case.

    The bytes carry no case, but a registry keeps the id as typed (the originals' `del` and
    `list` need it so): `AA:...` and `aa:...` are two ids with one root, of which a registry
    takes only the first. Raises EnrolmentError for anything else, blanks around it included.
    """
    if _MAC.fullmatch(text) is None:
        raise EnrolmentError(
            f"MAC address {text!r:.60}: expected six pairs of hex digits, as aa:bb:cc:dd:ee:ff"
        )
    return bytes.fromhex(text.replace(":", ""))


def root_certificate_for_mac(mac: bytes) -> bytes:
    """The DICE root certificate (DER) of the board with this MAC address (6 bytes).

    Same bytes as the originals' `gen_cert` and `submit` make.
    """
    return dice.root_certificate(dice.uds_from_mac(mac))
