"""Reading a slot back: every change, truncation and leftover, and what it costs."""

import hashlib

import pytest

from esp_image import readback
from esp_image.build import build_app, build_image
from esp_image.keys import key_digest_of_public_key
from tests.esp_image.signing import public_pem, sign
from tests.esp_image.slots import Slot, code_of, verdict, verify

IMAGE = build_app("1.0", "thermo", "esp32s3", size=61440)
PARTS = 4


def digest_of(key):
    return key_digest_of_public_key(public_pem(key))


@pytest.mark.parametrize("part", range(PARTS))
def test_every_change_of_one_byte_of_a_signed_64_kib_image_is_refused(keys, part):
    signed = sign(IMAGE, keys("p256"))
    assert len(signed) == 65536
    slot = Slot(signed, len(signed))
    trusted = [digest_of(keys("p256"))]
    assert code_of(readback.verify_slot, slot.read, 65536, trusted) == "ok"
    accepted = []
    for offset in range(part, len(signed), PARTS):
        flip = offset * 167 % 255 + 1
        slot.raw[offset] ^= flip
        if code_of(readback.verify_slot, slot.read, 65536, trusted) == "ok":
            accepted.append(offset)
        slot.raw[offset] ^= flip
    assert accepted == []


def test_every_change_of_one_byte_of_an_rsa_signature_sector_is_refused(keys):
    small = build_app("1.0", "thermo", "esp32s3")
    signed = sign(small, keys("rsa"))
    slot = Slot(signed, len(signed))
    for offset in range(len(signed) - 4096, len(signed)):
        slot.raw[offset] ^= 0x10
        assert code_of(readback.verify_slot, slot.read, len(signed), None) != "ok", offset
        slot.raw[offset] ^= 0x10


def test_every_truncation_of_a_signed_image_is_refused(keys):
    signed = sign(build_app("1.0", "thermo", "esp32s3"), keys("p256"))
    trusted = [digest_of(keys("p256"))]
    # The sector's last 448 + 2 * 1216 bytes are FF, as erased flash is: only before that
    # is anything missing.
    for length in range(4096 + 1216):
        assert verdict(signed[:length].rstrip(b"\xff"), trusted=trusted) != "ok", length


def test_two_changes_that_keep_the_checksum_are_refused(keys):
    signed = bytearray(sign(IMAGE, keys("p256")))
    signed[1000] ^= 0x21
    signed[2000] ^= 0x21
    assert verdict(signed, trusted=[digest_of(keys("p256"))]) == "digest-mismatch"
    assert verdict(signed, unsigned_allowed=True) == "hash-mismatch"


def test_what_an_older_image_left_behind_in_the_slot_does_not_matter(keys):
    signed = sign(IMAGE, keys("p256"))
    leftovers = signed + sign(build_app("0.9", "thermo", "esp32s3"), keys("p256", 1))
    found = verify(leftovers, trusted=[digest_of(keys("p256"))])
    assert (found.image_bytes, found.total_bytes) == (61440, 65536)


def test_a_sector_left_behind_by_an_older_image_does_not_sign_an_unsigned_one(keys):
    old = sign(IMAGE, keys("p256"))
    unsigned = build_app("1.1", "thermo", "esp32s3", size=61440)
    trusted = [digest_of(keys("p256"))]
    assert verdict(unsigned + old[-4096:], trusted=trusted) == "digest-mismatch"


def test_the_first_16_bytes_may_still_be_withheld_from_flash(keys):
    signed = sign(IMAGE, keys("p256"))
    trusted = [digest_of(keys("p256"))]
    withheld = b"\xff" * 16 + signed[16:]
    assert verdict(withheld, trusted=trusted) == "magic"
    found = verify(withheld, trusted=trusted, first16=signed[:16])
    assert found.image_digest == hashlib.sha256(IMAGE).digest()
    assert verdict(withheld, trusted=trusted, first16=signed[:15] + b"\x01") == "digest-mismatch"


def test_p384_takes_the_withheld_bytes_in_its_own_pass_too(keys):
    signed = sign(IMAGE, keys("p384"))
    withheld = b"\xff" * 16 + signed[16:]
    found = verify(withheld, trusted=[digest_of(keys("p384"))], first16=signed[:16])
    assert found.image_digest == hashlib.sha384(IMAGE).digest()


def test_an_unsigned_image_counts_only_where_it_is_allowed(keys):
    found = verify(IMAGE, unsigned_allowed=True)
    assert found.key_digest is None
    assert found.image_digest == found.sha256 == hashlib.sha256(IMAGE[:-32]).digest()
    assert (found.total_bytes, found.descriptor.version) == (61440, "1.0")
    assert verdict(IMAGE) == "unsigned"
    # A key that is trusted is asked for, whatever else is allowed.
    trusted = [digest_of(keys("p256"))]
    assert verdict(IMAGE, trusted=trusted, unsigned_allowed=True) == "unsigned"
    assert verdict(IMAGE, trusted=None, unsigned_allowed=True) == "unsigned"


def test_an_unsigned_image_needs_its_appended_hash():
    image = build_app("1.0", "thermo", "esp32s3", hash_appended=False)
    assert verdict(image, unsigned_allowed=True) == "hash-missing"


def test_an_image_larger_than_the_slot_is_refused_before_it_is_read_over_the_end(keys):
    signed = sign(IMAGE, keys("p256"))
    slot = Slot(signed, 0x8000)
    assert code_of(readback.verify_slot, slot.read, 0x8000, None) == "too-large"
    assert slot.reads <= 8


def test_an_erased_slot_is_refused_after_one_read():
    slot = Slot(b"")
    assert code_of(readback.verify_slot, slot.read, len(slot.raw), None) == "magic"
    assert slot.reads == 1


def test_flash_is_read_once(keys):
    signed = sign(IMAGE, keys("p256"))
    slot = Slot(signed)
    readback.verify_slot(slot.read, len(slot.raw), [digest_of(keys("p256"))])
    assert slot.bytes_read == len(signed)
    assert slot.reads < 20


def test_a_bootloader_can_be_read_back(keys):
    image = build_image([(0x3FFF0030, b"boot"), (0x40078000, bytes(6000))], "esp32s3")
    found = verify(sign(image, keys("p256")), trusted=None, bootloader=True)
    assert found.descriptor is None and found.total_bytes == 12288
