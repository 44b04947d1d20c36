"""Whose signature counts: architecture.md's rules, and what somebody might plant."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_image import ImageError, signature
from esp_image.build import build_app
from esp_image.keys import key_digest_of_public_key, v1_public_key
from esp_image.signature_block import parse_sector
from tests.esp_image import signing
from tests.esp_image.signing import block, finish, pad, private_pem, public_pem, sector_of, sign
from tests.esp_image.slots import code_of, verdict, verify

IMAGE = build_app("1.0", "thermo", "esp32s3")
ESP32_IMAGE = build_app("1.0", "thermo", "esp32")
C2_IMAGE = build_app("1.0", "thermo", "esp32c2")


def digest_of(key):
    return key_digest_of_public_key(public_pem(key))


@pytest.mark.parametrize("kind", ["rsa", "p192", "p256", "p384"])
def test_a_signature_by_a_trusted_key_counts(keys, kind):
    key = keys(kind)
    found = verify(sign(IMAGE, key), trusted=[bytes(32), digest_of(key)])
    assert found.key_digest == digest_of(key)
    algorithm = "sha384" if kind == "p384" else "sha256"
    assert found.image_digest == hashlib.new(algorithm, pad(IMAGE)).digest()


@pytest.mark.parametrize("kind", ["rsa", "p192", "p256", "p384"])
def test_a_signature_by_another_key_does_not(keys, kind):
    assert verdict(sign(IMAGE, keys(kind)), trusted=[bytes(32)]) == "key-untrusted"
    assert verdict(sign(IMAGE, keys(kind)), trusted=[]) == "key-untrusted"


@pytest.mark.parametrize("kind", ["rsa", "p192", "p256", "p384"])
def test_a_signature_over_another_image_does_not(keys, kind):
    key = keys(kind)
    sector = sign(build_app("1.1", "thermo", "esp32s3"), key)[-4096:]
    assert verdict(pad(IMAGE) + sector, trusted=[digest_of(key)]) == "digest-mismatch"
    digest_bytes = 48 if kind == "p384" else 32
    name = "sha384" if kind == "p384" else "sha256"
    forged = bytearray(sector[:1196])
    forged[4 : 4 + digest_bytes] = hashlib.new(name, pad(IMAGE)).digest()
    forged = pad(IMAGE) + sector_of(finish(bytes(forged)))
    assert verdict(forged, trusted=[digest_of(key)]) == "signature-invalid"


def test_a_revoked_key_does_not_count_but_another_beside_it_does(keys):
    old, new = digest_of(keys("p256")), digest_of(keys("p256", 1))
    trust = {"trusted": [old, new], "revoked": [old]}
    assert verdict(sign(IMAGE, keys("p256")), **trust) == "key-revoked"
    both = sign(IMAGE, keys("p256"), keys("p256", 1))
    assert verify(both, **trust).key_digest == new


def test_the_trusted_key_may_be_in_any_of_three_blocks(keys):
    signers = [keys("p256", i) for i in range(3)]
    for signer in signers:
        found = verify(sign(IMAGE, *signers), trusted=[digest_of(signer)])
        assert found.key_digest == digest_of(signer)


@pytest.mark.parametrize("image", [ESP32_IMAGE, C2_IMAGE])
def test_chips_that_look_at_block_0_only_need_the_trusted_key_there(keys, image):
    signed = sign(image, keys("p256"), keys("p256", 1))
    assert verdict(signed, trusted=[digest_of(keys("p256"))]) == "ok"
    assert verdict(signed, trusted=[digest_of(keys("p256", 1))]) == "key-untrusted"


def test_a_block_that_is_wrong_spoils_a_trusted_one(keys):
    padded = pad(IMAGE)
    good = block(padded, keys("p256"))
    stranger = bytearray(block(padded, keys("p256", 1))[:1196])
    stranger[110] ^= 1
    signed = padded + sector_of(good, finish(bytes(stranger)))
    assert verdict(signed, trusted=[digest_of(keys("p256"))]) == "signature-invalid"


@pytest.mark.parametrize("first", ["trusted", "stranger"])
def test_a_second_block_cannot_be_planted_where_the_running_images_key_is_trusted(keys, first):
    signers = [keys("p256"), keys("p256", 1)]
    if first == "stranger":
        signers.reverse()
    signed = sign(IMAGE, *signers)
    trust = {"trusted": [digest_of(keys("p256"))], "only_first_block": True}
    assert verdict(signed, **trust) == "extra-block"
    assert verdict(sign(IMAGE, keys("p256")), **trust) == "ok"


def test_without_a_key_to_trust_the_images_own_is_only_named(keys):
    found = verify(sign(IMAGE, keys("p256")), trusted=None, only_first_block=True)
    assert found.key_digest == digest_of(keys("p256"))
    assert verdict(IMAGE, trusted=None) == "unsigned"


def test_the_esp32c2_knows_its_keys_by_their_first_16_bytes(keys):
    short = digest_of(keys("p256"))[:16]
    assert verdict(sign(C2_IMAGE, keys("p256")), trusted=[short]) == "ok"
    assert verdict(sign(C2_IMAGE, keys("p256", 1)), trusted=[short]) == "key-untrusted"
    for digest, image in ((short, IMAGE), (b"", C2_IMAGE), (bytes(8), C2_IMAGE)):
        with pytest.raises(ValueError, match="trusted key digest"):
            verify(sign(image, keys("p256")), trusted=[digest])


def test_blocks_of_two_schemes_are_refused(keys):
    signed = sign(IMAGE, keys("rsa"), keys("p256"))
    assert verdict(signed, trusted=[digest_of(keys("rsa"))]) == "signature-invalid"


def test_blocks_stand_from_position_0_without_a_gap(keys):
    padded = pad(IMAGE)
    good = block(padded, keys("p256"))
    empty = b"\xff" * signing.BLOCK_BYTES
    trust = {"trusted": [digest_of(keys("p256"))]}
    assert verdict(padded + sector_of(empty, good), **trust) == "unsigned"
    assert verdict(padded + sector_of(good, empty, good), **trust) == "signature-invalid"


@pytest.mark.parametrize("kind", ["rsa", "p192", "p256", "p384"])
def test_fillers_of_a_block_are_zero_and_of_the_sector_ff(keys, kind):
    """With a CRC that fits: espsecure and the ROM look at none of these bytes."""
    good = block(pad(IMAGE), keys(kind))
    fillers = {"rsa": [2, 3], "p192": [3, 85, 149, 165, 1195], "p256": [3, 165, 1195],
               "p384": [3, 245, 1195]}[kind]  # fmt: skip
    for offset in fillers:
        raw = bytearray(good[:1196])
        raw[offset] = 1
        assert code_of(parse_sector, sector_of(finish(bytes(raw)))) == "signature-invalid", offset
    for offset in (1200, 1215, 1216, 4095):
        raw = bytearray(sector_of(good))
        raw[offset] ^= 1
        assert code_of(parse_sector, raw) == "signature-invalid", offset


@pytest.mark.parametrize(
    ("offset", "value"),
    [(1, 4), (2, 1), (2, 2), (36, 0), (36, 1), (36, 3), (36, 4)],
)
def test_an_unknown_scheme_is_refused(keys, offset, value):
    raw = bytearray(block(pad(IMAGE), keys("p256"))[:1196])
    raw[offset] = value
    assert code_of(parse_sector, sector_of(finish(bytes(raw)))) == "signature-invalid"


@pytest.mark.parametrize("offset", [36, 419, 420, 424, 808])
def test_an_rsa_block_whose_numbers_do_not_belong_together_is_refused(keys, offset):
    raw = bytearray(block(pad(IMAGE), keys("rsa"))[:1196])
    raw[offset] ^= 0x81
    assert code_of(parse_sector, sector_of(finish(bytes(raw)))) == "signature-invalid"


def test_a_point_off_the_curve_and_numbers_out_of_range_are_wrong_signatures(keys):
    padded = pad(IMAGE)
    for start in (37, 101, 133):
        for value in (0, 0xFF):
            raw = bytearray(block(padded, keys("p256"))[:1196])
            raw[start : start + 32] = bytes([value]) * 32
            signed = padded + sector_of(finish(bytes(raw)))
            assert verdict(signed, trusted=None) == "signature-invalid"


@given(st.binary(max_size=200), st.integers(0, 4095))
def test_any_sector_is_parsed_or_refused(raw, at):
    sector = bytearray(sector_of(b"\xe7\x03" + bytes(2) + raw))
    sector[at] ^= 0x55
    assert code_of(parse_sector, sector) in ("ok", "unsigned", "signature-invalid")


def test_a_sector_has_4096_bytes():
    with pytest.raises(ValueError, match="4096"):
        parse_sector(bytes(4095))


def test_the_sector_alone_can_be_verified(keys):
    signed = sign(IMAGE, keys("p256"))
    digest = hashlib.sha256(signed[:-4096]).digest()
    found = signature.verify(signed[-4096:], digest, [digest_of(keys("p256"))])
    assert found == digest_of(keys("p256"))


def test_secure_boot_v1_counts_with_a_configured_key(keys):
    image = build_app("1.0", "thermo")
    key, other = (
        v1_public_key(private_pem(keys("p256"))),
        v1_public_key(public_pem(keys("p256", 1))),
    )
    signed = image + v1_trailer(image, keys("p256"))
    found = verify(signed, v1_keys=[other, key])
    assert found.key_digest == key and found.total_bytes == len(signed)
    assert verdict(signed, v1_keys=[other]) == "signature-invalid"
    assert verdict(signed, v1_keys=[]) == "signature-invalid"
    assert verdict(image + b"\x01" + signed[-67:], v1_keys=[key]) == "unsigned"
    assert verdict(image, v1_keys=[key]) == "unsigned"
    for offset in (100, len(image) - 1, len(image) + 4, len(image) + 67):
        raw = bytearray(signed)
        raw[offset] ^= 1
        assert verdict(raw, v1_keys=[key]) != "ok"
    with pytest.raises(ValueError, match="64 bytes"):
        verify(signed, v1_keys=[bytes(32)])


def v1_trailer(image, key):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    r, s = utils.decode_dss_signature(key.sign(image, ec.ECDSA(hashes.SHA256())))
    return struct.pack("<I", 0) + r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_only_keys_that_secure_boot_knows_have_a_digest(keys):
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    for key in (ec.generate_private_key(ec.SECP256K1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(ValueError, match=r"RSA"):
            digest_of(key)
    with pytest.raises(ValueError, match="P-256"):
        v1_public_key(public_pem(keys("p384")))


def test_a_refusal_is_one_line_with_a_code(keys):
    with pytest.raises(ImageError) as caught:
        verify(sign(IMAGE, keys("p256")), trusted=[bytes(32)])
    assert caught.value.code == "key-untrusted"
    assert str(caught.value) == "none of 1 signature blocks that count is by a trusted key"
