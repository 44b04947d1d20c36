"""espsecure's second opinion on signatures, run as a command.

Stricter here than there, each with a test in test_signature.py: blocks without a gap, one scheme
in a sector, fillers, a wrong block beside a right one, block 0 on chips that look at no other.
"""

import pytest

from esp_image.build import build_app
from esp_image.keys import key_digest_of_public_key, v1_public_key
from esp_image.signature_block import parse_sector
from tests.esp_image import signing
from tests.esp_image.slots import SLOT_BYTES, verdict, verify

IMAGE = build_app("1.0", "thermo", "esp32s3", size=20000)
SCHEMES = {"rsa": "rsa3072", "p192": "ecdsa192", "p256": "ecdsa256", "p384": "ecdsa384"}


def espsecure(*arguments):
    code, text = signing.run("espsecure", *arguments)
    assert code == 0, text
    return text


@pytest.mark.parametrize("kind", SCHEMES)
def test_what_espsecure_signs_is_verified_and_named_alike(tmp_path, kind):
    plain, signed, key = tmp_path / "plain.bin", tmp_path / "signed.bin", tmp_path / "key.pem"
    plain.write_bytes(IMAGE)
    espsecure("generate-signing-key", "--version", 2, "--scheme", SCHEMES[kind], key)
    espsecure("sign-data", "--version", 2, "--keyfile", key, "-o", signed, plain)
    espsecure("digest-sbv2-public-key", "--keyfile", key, "-o", tmp_path / "digest.bin")
    digest = key_digest_of_public_key(key.read_bytes())
    assert digest == (tmp_path / "digest.bin").read_bytes()
    assert verify(signed.read_bytes(), trusted=[digest]).key_digest == digest
    assert digest.hex(" ") in espsecure("signature-info-v2", signed)


@pytest.mark.parametrize("kind", SCHEMES)
def test_what_these_tests_sign_is_right_to_espsecure(tmp_path, keys, kind):
    signed, key = tmp_path / "signed.bin", tmp_path / "key.pem"
    signed.write_bytes(signing.sign(IMAGE, keys(kind, 1), keys(kind)))
    key.write_bytes(signing.public_pem(keys(kind)))
    text = espsecure("verify-signature", "--version", 2, "--keyfile", key, signed)
    assert "block 1 verification successful" in text.lower()


def test_a_third_block_that_espsecure_appends_counts(tmp_path, keys):
    signed, key = tmp_path / "signed.bin", tmp_path / "key.pem"
    signed.write_bytes(signing.sign(IMAGE, keys("p256"), keys("p256", 1)))
    key.write_bytes(signing.private_pem(keys("p256", 2)))
    out = tmp_path / "out.bin"
    append = ("--append-signatures", "--keyfile", key, "-o", out)
    espsecure("sign-data", "--version", 2, *append, signed)
    raw = out.read_bytes()
    assert len(parse_sector(raw[-4096:])) == 3
    assert verdict(raw, trusted=[key_digest_of_public_key(key.read_bytes())]) == "ok"


def test_secure_boot_v1_is_signed_and_verified_alike(tmp_path, keys):
    plain, signed, key = tmp_path / "plain.bin", tmp_path / "signed.bin", tmp_path / "key.pem"
    plain.write_bytes(build_app("1.0", "thermo"))
    key.write_bytes(signing.private_pem(keys("p256")))
    espsecure("sign-data", "--version", 1, "--keyfile", key, "-o", signed, plain)
    raw = signed.read_bytes()
    assert verdict(raw, v1_keys=[v1_public_key(key.read_bytes())]) == "ok"
    assert verdict(raw, v1_keys=[v1_public_key(signing.public_pem(keys("p256", 1)))]) != "ok"


@pytest.mark.parametrize(
    ("name", "pem", "blocks"),
    [
        ("bootloader_signed_v2_rsa.bin", "rsa_secure_boot_signing_pubkey.pem", 1),
        ("bootloader_multi_signed_v2_rsa.bin", "rsa_secure_boot_signing_pubkey.pem", 3),
        ("bootloader_signed_v2_ecdsa256.bin", "ecdsa256_secure_boot_signing_pubkey.pem", 1),
    ],
)
def test_espressifs_signed_images_are_taken_with_their_key_only(real_images, name, pem, blocks):
    raw = (real_images / name).read_bytes()
    espsecure(
        "verify-signature", "--version", 2, "--keyfile", real_images / pem, real_images / name
    )
    digest = key_digest_of_public_key((real_images / pem).read_bytes())
    found = verify(raw, trusted=[digest], bootloader=True)
    assert (found.key_digest, found.total_bytes) == (digest, len(raw))
    assert len(parse_sector(raw[-4096:])) == blocks
    assert verdict(raw, trusted=[bytes(32)], bootloader=True) == "key-untrusted"
    assert verdict(raw, trusted=[digest], revoked=[digest], bootloader=True) == "key-revoked"


def test_the_digest_of_espressifs_rsa_key_is_the_published_one(real_images):
    pem = (real_images / "rsa_secure_boot_signing_pubkey.pem").read_bytes()
    expected = (real_images / "rsa_public_key_digest.bin").read_bytes()
    assert key_digest_of_public_key(pem) == expected


def test_espressifs_unsigned_images_are_refused_unless_that_is_allowed(real_images):
    for name, bootloader in (
        ("bootloader_unsigned_v2.bin", True),
        ("bootloader_esp32c3.bin", True),
        ("esp_idf_blink_esp32s2.bin", False),
    ):
        raw = (real_images / name).read_bytes().ljust(SLOT_BYTES * 2, b"\xff")
        assert verdict(raw, trusted=None, bootloader=bootloader) == "unsigned"
        assert verdict(raw, unsigned_allowed=True, bootloader=bootloader) == "ok"
