"""Signatures and reading a slot back, on both runtimes. The key is made here, for this run."""

import struct
import sys
from binascii import crc32
from hashlib import sha256

from esp_image import ImageError, readback, signature
from esp_image.build import build_app
from esp_image.chips import ECDSA_P256
from esp_image.key_digest import ecdsa_key_digest
from ota_crypto import p256

SECTOR_BYTES = 4096
IMAGE = build_app("1.0", "thermo", "esp32s3", size=8192)
PRIVATE = int.from_bytes(sha256(b"a key for this test").digest(), "big")


class Skipped(Exception):
    """Known by its name to the runner; pytest's own skip where that is there."""


def skip(reason):
    if sys.implementation.name == "cpython":
        import pytest

        pytest.skip(reason)
    raise Skipped(reason)


def shared_image(name):
    """One of Espressif's images, from the folder beside the checkout."""
    path = __file__.rsplit("/", 1)[0] + "/../../../shared/images/" + name
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        skip(path + " is not there")


def reversed_bytes(number):
    return number.to_bytes(32, "little")


def sector_for(padded):
    """A signature sector with one ECDSA P-256 block, and the key's digest."""
    digest = sha256(padded).digest()
    r, s = p256.sign(PRIVATE, digest)
    point = p256.public_key(PRIVATE)
    x, y = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")
    fields = b"\xe7\x03\x00\x00" + digest + b"\x02" + reversed_bytes(x) + reversed_bytes(y)
    fields += reversed_bytes(r) + reversed_bytes(s)
    fields += bytes(1196 - len(fields))
    block = fields + struct.pack("<I", crc32(fields)) + bytes(16)
    digest = ecdsa_key_digest(ECDSA_P256, x, y)
    return block + b"\xff" * (SECTOR_BYTES - len(block)), digest


def verify(image, **options):
    raw = bytearray(image) + b"\xff" * SECTOR_BYTES

    def read(offset, buffer):
        buffer[:] = memoryview(raw)[offset : offset + len(buffer)]

    return readback.verify_slot(read, len(raw), **options)


def verdict(image, **options):
    try:
        verify(image, **options)
    except ImageError as error:
        return error.code
    return "ok"


def test_a_p256_signature_counts_by_its_key():
    sector, key_digest = sector_for(IMAGE)
    signed = IMAGE + sector
    found = verify(signed, trusted=[key_digest])
    assert found.key_digest == key_digest
    assert found.image_digest == sha256(IMAGE).digest()
    assert found.total_bytes == len(signed)
    assert verdict(signed, trusted=[bytes(32)]) == "key-untrusted"
    assert verdict(signed, trusted=[key_digest], revoked=[key_digest]) == "key-revoked"
    assert verdict(signed, trusted=None, only_first_block=True) == "ok"
    assert verdict(IMAGE, trusted=[key_digest]) == "unsigned"


def test_a_changed_byte_is_refused():
    sector, key_digest = sector_for(IMAGE)
    signed = bytearray(IMAGE + sector)
    signed[5000] ^= 1
    signed[6000] ^= 1
    assert verdict(signed, trusted=[key_digest]) == "digest-mismatch"
    block = bytearray(sector[:1196])
    block[110] ^= 1
    forged = bytes(block) + struct.pack("<I", crc32(block)) + bytes(16)
    forged = IMAGE + forged + b"\xff" * (SECTOR_BYTES - len(forged))
    assert verdict(forged, trusted=[key_digest]) == "signature-invalid"


def test_the_withheld_first_bytes_are_put_in_place():
    sector, key_digest = sector_for(IMAGE)
    withheld = b"\xff" * 16 + IMAGE[16:] + sector
    assert verdict(withheld, trusted=[key_digest]) == "magic"
    assert verdict(withheld, trusted=[key_digest], first16=IMAGE[:16]) == "ok"


def test_an_unsigned_image_counts_only_where_it_is_allowed():
    assert verdict(IMAGE) == "unsigned"
    assert verify(IMAGE, unsigned_allowed=True).image_digest == sha256(IMAGE[:-32]).digest()
    assert verdict(IMAGE[:-1] + b"\x00", unsigned_allowed=True) == "hash-mismatch"


def test_reading_a_slot_lets_others_run_after_every_sector():
    sector, key_digest = sector_for(IMAGE)
    raw = memoryview(IMAGE + sector)

    def read(offset, buffer):
        buffer[:] = raw[offset : offset + len(buffer)]

    steps = readback.verify_slot_steps(read, len(raw), [key_digest])
    for _ in range(len(IMAGE) // SECTOR_BYTES):
        next(steps)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            assert stop.value.key_digest == key_digest
            break


def test_espressifs_rsa_signatures_are_verified():
    for name, blocks in (
        ("bootloader_signed_v2_rsa.bin", 1),
        ("bootloader_multi_signed_v2_rsa.bin", 3),
    ):
        image = shared_image(name)
        digest = shared_image("rsa_public_key_digest.bin")
        assert verify(image, trusted=[digest], bootloader=True).key_digest == digest
        assert len(signature.parse_sector(image[-SECTOR_BYTES:])) == blocks
        damaged = bytearray(image)
        damaged[-SECTOR_BYTES + 900] ^= 1
        assert verdict(damaged, trusted=[digest], bootloader=True) == "signature-invalid"


def test_the_p256_signature_of_an_image_from_espressif_is_verified():
    image = shared_image("bootloader_signed_v2_ecdsa256.bin")
    assert verdict(image, trusted=None, bootloader=True) == "ok"


def test_with_room_made_nothing_of_the_image_is_held_while_its_signature_is_verified():
    sector, key_digest = sector_for(IMAGE)
    raw = memoryview(IMAGE + sector)
    taken = []

    def read(offset, buffer):
        buffer[:] = raw[offset : offset + len(buffer)]
        taken.append(len(buffer))

    def make_room():
        taken.append("room")

    steps = readback.verify_slot_steps(
        read, len(raw), [key_digest], make_room=make_room,
        take_buffer=lambda: memoryview(bytearray(SECTOR_BYTES)),
    )  # fmt: skip
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            image = stop.value
            break
    first = taken.index("room")
    assert taken[:first] == [SECTOR_BYTES] * (len(IMAGE) // SECTOR_BYTES)
    # Then the signature sector, piece by piece, and room again.
    assert sum(taken[first + 1 : -1]) == SECTOR_BYTES and taken[-1] == "room"
    assert image.key_digest == key_digest
    assert (image.header, image.descriptor, image.segments) == (None, None, None)
