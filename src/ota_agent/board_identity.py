"""Which board a certificate names, for the log alone: whether it is true is the attestation
server's to say."""

from dataclasses import dataclass

# Extension identifiers, RFC 5280, 4.2.1.1 and 4.2.1.2, as they stand in DER, with their tag.
_AUTHORITY_KEY_ID = b"\x06\x03\x55\x1d\x23"
_SUBJECT_KEY_ID = b"\x06\x03\x55\x1d\x0e"
_EXTENSIONS = 0xA3
# Of a TBSCertificate before its key: version, serial number, algorithm, issuer, validity, subject.
_BEFORE_KEY = 6
_KEY_ID_BYTES = 20


@dataclass(frozen=True, slots=True)
class BoardIdentity:
    """The certificate's subject and authority key identifiers, hex; None where it has none.

    root_key_id is that of the root the board was enrolled with: it stays when the firmware changes.
    """

    key_id: str | None
    root_key_id: str | None


NOBODY = BoardIdentity(None, None)


def identity_of(presented: bytes) -> BoardIdentity:
    """Of a certificate, DER; NOBODY where it cannot be read.

    A walk over its outline and nothing more, because it is on the path of every update (a whole
    parse takes five times as long); identifiers of 20 bytes, as DICE makes them.
    """
    try:
        return _walk(presented)
    except IndexError:
        return NOBODY


def _walk(data: bytes) -> BoardIdentity:
    at, _ = _element(data, _element(data, 0)[0])
    for _ in range(_BEFORE_KEY + 1):
        at = _element(data, at)[1]
    if data[at] != _EXTENSIONS:
        return NOBODY
    at, end = _element(data, _element(data, at)[0])
    key_id = root_key_id = None
    while at < end:
        start, following = _element(data, at)
        if data.startswith(_SUBJECT_KEY_ID, start):
            key_id = data[following - _KEY_ID_BYTES : following].hex()
        elif data.startswith(_AUTHORITY_KEY_ID, start):
            root_key_id = data[following - _KEY_ID_BYTES : following].hex()
        at = following
    return BoardIdentity(key_id, root_key_id)


def _element(data: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the DER element at this place begin, and where they end."""
    size = data[at + 1]
    if size < 0x80:
        return at + 2, at + 2 + size
    begin = at + 2 + (size & 0x7F)
    return begin, begin + int.from_bytes(data[at + 2 : begin], "big")
