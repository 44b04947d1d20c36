"""Which board a log line names: read from the certificate, which anybody may have made."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dice
from dice import certificate, der_writer, keys
from ota_agent.board_identity import NOBODY, BoardIdentity, identity_of
from tests.micropython.test_dice import MAC_SHORT_SERIAL, MAC_ZERO_THEN_HIGH
from tests.micropython.test_dice import as_the_c_code_writes_it as in_the_c_form

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "dice_vectors.json"


def certificate_of(mac: bytes) -> bytes:
    return dice.device_certificate(dice.uds_from_mac(mac), bytes(64), bytes(64))


CERTIFICATE = certificate_of(bytes.fromhex("020000000001"))


def read_in_full(presented: bytes) -> BoardIdentity:
    """As the parser reads it that is used where it matters."""
    parsed = certificate.parse(presented)
    return BoardIdentity(parsed.subject_key_id.hex(), parsed.authority_key_id.hex())


def is_well_formed(identity: BoardIdentity) -> bool:
    """20 bytes each, in hex, or nothing: what may stand in a log line."""
    return all(
        each is None or (len(each) == 40 and int(each, 16) >= 0)
        for each in (identity.key_id, identity.root_key_id)
    )


def test_the_boards_of_the_c_code_are_named() -> None:
    if not VECTORS.is_file():
        pytest.skip(f"no vectors at {VECTORS}")
    for vector in json.loads(VECTORS.read_text())["gen_dice_cert"]:
        board = identity_of(bytes.fromhex(vector["dice_cert_der"]))
        assert board == BoardIdentity(vector["subject_id"], vector["authority_id"])
        root = identity_of(bytes.fromhex(vector["root_cert_der"]))
        assert root == BoardIdentity(vector["authority_id"], vector["authority_id"])


@pytest.mark.parametrize("mac", [bytes(6), MAC_SHORT_SERIAL, MAC_ZERO_THEN_HIGH])
def test_a_board_is_named_whatever_its_serial_number_begins_with(mac: bytes) -> None:
    presented = certificate_of(mac)
    assert identity_of(presented) == read_in_full(presented)
    key = keys.private_key_from_cdi(dice.uds_from_mac(mac))
    assert identity_of(in_the_c_form(presented, key)) == identity_of(presented)


def test_the_root_key_id_stays_when_the_firmware_changes() -> None:
    uds = dice.uds_from_mac(bytes.fromhex("020000000001"))
    before = identity_of(dice.device_certificate(uds, bytes(64), bytes(64)))
    after = identity_of(dice.device_certificate(uds, bytes([1]) * 64, bytes(64)))
    assert before.root_key_id == after.root_key_id is not None
    assert before.key_id != after.key_id


@pytest.mark.parametrize(
    "presented",
    [
        b"", b"\x30", b"\x30\x00", b"\x30\x80\x00\x00", b"\x30\x82\x10\x00" + bytes(4092),
        b"\x30" * 4096, b"\x30\x84" + b"\xff" * 4090, b"\xff" * 4096, b"\xa3\x02" * 2048,
        b"\x30\x82\x0f\xfc\x30\x82\x0f\xf8" + b"\x02\x01\x00" * 7 + b"\xa3\xfe" + b"\xff" * 4000,
    ],
)  # fmt: skip
def test_what_is_no_certificate_names_nobody(presented: bytes) -> None:
    assert identity_of(presented) == NOBODY


def test_a_certificate_cut_short_names_nobody_or_the_board() -> None:
    whole = identity_of(CERTIFICATE)
    for length in range(len(CERTIFICATE)):
        identity = identity_of(CERTIFICATE[:length])
        assert identity in (NOBODY, whole), length


def test_a_certificate_with_any_byte_changed_is_read_without_harm() -> None:
    for at in range(len(CERTIFICATE)):
        for value in (0x00, 0x01, 0x30, 0x7F, 0x80, 0x84, 0xA3, 0xFF):
            changed = CERTIFICATE[:at] + bytes([value]) + CERTIFICATE[at + 1 :]
            assert is_well_formed(identity_of(changed)), (at, value)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_harm(presented: bytes) -> None:
    assert is_well_formed(identity_of(presented))


@given(
    st.lists(st.tuples(st.sampled_from([0x30, 0xA3, 0x04, 0x06]), st.binary(max_size=40))),
    st.integers(0, 2**16),
)
def test_extensions_of_any_kind_are_read_without_harm(
    extensions: list[tuple[int, bytes]], claimed: int
) -> None:
    """Short identifiers, none at all, lengths that lie."""
    key_id, authority_id = b"\x06\x03\x55\x1d\x0e", b"\x06\x03\x55\x1d\x23"
    content = b"".join(
        der_writer.encode(tag, (key_id, authority_id)[len(value) % 2] + value)
        for tag, value in extensions
    )
    sequence = b"\x30\x82" + claimed.to_bytes(3, "big")[1:] + content
    body = b"\x02\x01\x00" * 7 + der_writer.encode(0xA3, sequence)
    presented = der_writer.encode(0x30, der_writer.encode(0x30, body))
    assert is_well_formed(identity_of(presented))
