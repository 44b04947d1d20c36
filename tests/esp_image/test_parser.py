"""The stream parser: any cut of the stream, and each thing that can be wrong with it."""

import hashlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esp_image import ImageError, ImageParser
from esp_image.build import app_segments, build_app, build_descriptor, build_image
from tests.esp_image.slots import code_of

SECTOR = b"\xe7".ljust(4096, b"\x5a")
UNSIGNED = build_app("1.0", "thermo", size=1008)
PADDED = UNSIGNED + b"\xff" * (-len(UNSIGNED) % 4096)
SIGNED = PADDED + SECTOR
V1 = UNSIGNED + bytes(68)


def parse(image, cuts=(), **options):
    parser = ImageParser(**options)
    start = 0
    for end in [*sorted(cuts), len(image)]:
        parser.feed(image[start:end])
        start = end
    parser.close()
    return parser


def outcome(image, cuts, signed):
    """All that can be told from outside after feeding the pieces."""
    parser = ImageParser(signed=signed, max_bytes=16384)
    error = None
    start = 0
    try:
        for end in [*sorted(cuts), len(image)]:
            parser.feed(memoryview(image)[start:end])
            start = end
        parser.close()
    except ImageError as caught:
        error = (caught.code, caught.message, caught.offset)
    # The piece with the first wrong byte is refused, none before it.
    assert error is None or error[0] == "truncated" or start <= error[2] < end
    return (
        error,
        parser.received,
        parser.image_bytes,
        parser.total_bytes,
        parser.sha256,
        parser.is_complete,
        parser.header and vars(parser.header),
        parser.descriptor and vars(parser.descriptor),
        [vars(segment) for segment in parser.segments],
        parser.signature_sector,
        parser.v1_trailer,
    )


IMAGES = [(UNSIGNED, False), (SIGNED, True), (V1, "v1"), (UNSIGNED, None), (PADDED, None),
          (SIGNED, None), (SIGNED, False), (UNSIGNED, True)]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(IMAGES),
    st.lists(st.integers(0, len(SIGNED)), max_size=12),
    st.none() | st.tuples(st.integers(0, 1100) | st.integers(0, 8191), st.integers(1, 255)),
    st.none() | st.integers(0, 8191),
    st.booleans(),
)
def test_any_cut_of_the_stream_gives_the_same_result_and_the_same_error(
    image, cuts, change, length, longer
):
    raw, signed = image
    raw = bytearray(raw)
    if change:
        raw[change[0] % len(raw)] ^= change[1]
    if length is not None:
        raw = raw[: length % (len(raw) + 1)]
    if longer:
        raw += b"\x00"
    cuts = [min(cut, len(raw)) for cut in cuts]
    whole = outcome(raw, [], signed)
    assert outcome(raw, cuts, signed) == whole
    assert outcome(raw, range(1, len(raw)), signed) == whole


def test_header_and_descriptor_are_known_as_early_as_they_can_be():
    parser = ImageParser()
    parser.feed(UNSIGNED[:23])
    assert parser.header is None
    parser.feed(UNSIGNED[23:24])
    assert (parser.header.chip_id, parser.header.segment_count) == (0, 3)
    parser.feed(UNSIGNED[24:287])
    assert parser.descriptor is None and parser.total_bytes is None
    parser.feed(UNSIGNED[287:288])
    assert parser.descriptor.version == "1.0"


def test_the_whole_length_is_known_from_the_last_segment_header_on():
    last = parse(UNSIGNED).segments[-1].offset
    parser = ImageParser(signed=True)
    parser.feed(SIGNED[: last - 1])
    assert parser.total_bytes is None
    parser.feed(SIGNED[last - 1 : last])
    assert (parser.image_bytes, parser.total_bytes) == (1008, 8192)


@pytest.mark.parametrize(("image", "signed"), IMAGES[:6])
def test_a_whole_image_is_complete_and_its_parts_are_there(image, signed):
    parser = parse(image, signed=signed)
    assert parser.is_complete and parser.total_bytes == len(image)
    assert parser.sha256 == hashlib.sha256(UNSIGNED[:-32]).digest()
    assert (parser.signature_sector == SECTOR) == (image is SIGNED)
    assert parser.v1_trailer == (bytes(68) if signed == "v1" else None)


@pytest.mark.parametrize(("image", "signed"), IMAGES[:6])
def test_every_truncation_is_refused(image, signed):
    parser = ImageParser(signed=signed)
    for length in range(len(image)):
        if signed is not None or length not in (len(UNSIGNED), len(PADDED)):
            assert not parser.is_complete
            assert code_of(parser.close) == "truncated"
        parser.feed(image[length : length + 1])
    parser.close()


@pytest.mark.parametrize(("image", "signed"), IMAGES[:6])
def test_bytes_after_the_end_are_refused(image, signed):
    assert code_of(parse, image + b"\x00", signed=signed) == "trailing-data"


def test_bytes_after_the_end_may_be_left_alone_as_in_a_slot():
    parser = parse(UNSIGNED + b"anything", signed=False, ignore_rest=True)
    assert parser.received == len(UNSIGNED)


def test_an_error_comes_again_with_every_later_call():
    parser = ImageParser()
    for _ in range(2):
        with pytest.raises(ImageError, match="magic 0x00") as caught:
            parser.feed(b"\x00")
        assert (caught.value.code, caught.value.offset, parser.received) == ("magic", 0, 0)
    assert code_of(parser.close) == "magic"
    assert not parser.is_complete


def test_after_an_error_the_right_bytes_come_too_late():
    parser = ImageParser(signed=True)
    assert code_of(parser.feed, PADDED[:-1] + b"\x00") == "padding"
    assert code_of(parser.feed, b"\xff" + SECTOR) == "padding"
    assert not parser.is_complete and parser.signature_sector is None


def changed(offset, raw, image=UNSIGNED):
    return image[:offset] + raw + image[offset + len(raw) :]


def segments_of(*segments):
    descriptor = build_descriptor("1", "x")
    return build_image([(0x3F400020, descriptor), *segments], "esp32")


@pytest.mark.parametrize(
    ("image", "code", "offset"),
    [
        (changed(0, b"\xea"), "magic", 0),
        (changed(1, b"\x00"), "segment-count", 1),
        (changed(1, b"\x11"), "segment-count", 1),
        (changed(12, b"\x04"), "chip-unknown", 13),
        (changed(23, b"\x02"), "hash-flag", 23),
        (changed(28, b"\x02"), "segment-length", 31),
        (changed(28, b"\xfc\x00\x00\x00"), "descriptor-missing", 31),
        (changed(28, b"\x00\x00\x00\x01"), "segment-length", 31),
        (changed(28, b"\xfc\xff\xff\xff"), "segment-length", 31),
        (changed(24, b"\xfc\xff\xff\xff"), "segment-address", 31),
        (changed(28, b"\xfc\xff\xff\x00"), "too-large", 31),
        (changed(32, b"\x00"), "descriptor-magic", 35),
        (changed(48, b"\x1b[2J"), "descriptor-text", 287),
        (changed(48, b"\xff"), "descriptor-text", 287),
        (changed(25, b"\x10"), "segment-mapping", 287),
        (changed(400, b"\xff\xff"), "checksum", 975),
        (changed(974, b"\x01"), "padding", 974),
        (changed(975, b"\x01"), "checksum", 975),
        (changed(976, b"\x01\x02"), "hash-mismatch", 976),
        (segments_of((0x3FFB0000, bytes(8)), (0x3FFB0004, bytes(8))), "segment-overlap", 311),
        (segments_of((0x400D0000, bytes(8))), "segment-mapping", 295),
    ],
)
def test_each_wrong_field_has_its_code_and_its_offset(image, code, offset):
    parser = ImageParser(signed=False, max_bytes=0x10000)
    for i in range(offset):
        parser.feed(image[i : i + 1])
    with pytest.raises(ImageError) as caught:
        parser.feed(image[offset : offset + 1])
    assert (caught.value.code, caught.value.offset) == (code, offset)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "signed", "code", "offset"),
    [
        (changed(1500, b"\x00", SIGNED), True, "padding", 1500),
        (changed(1500, b"\x00", SIGNED), None, "trailing-data", 1500),
        (changed(4096, b"\xff", SIGNED), True, "unsigned", 4096),
        (changed(4096, b"\xff", SIGNED), None, "trailing-data", 4096),
    ],
)
def test_what_follows_the_image_has_to_be_padding_and_a_signature(image, signed, code, offset):
    with pytest.raises(ImageError) as caught:
        parse(image, signed=signed)
    assert (caught.value.code, caught.value.offset) == (code, offset)


@pytest.mark.parametrize(("signed", "needed"), [(False, 1008), (True, 8192), ("v1", 1076)])
def test_an_image_larger_than_its_slot_is_refused_at_the_header_that_shows_it(signed, needed):
    image = {False: UNSIGNED, True: SIGNED, "v1": V1}[signed]
    parse(image, signed=signed, max_bytes=needed)
    with pytest.raises(ImageError) as caught:
        parse(image, signed=signed, max_bytes=needed - 1)
    assert caught.value.code == "too-large"
    assert caught.value.offset < 1008


def test_a_signature_sector_that_does_not_fit_is_refused():
    assert code_of(parse, SIGNED, max_bytes=4096) == "too-large"


def test_lengths_near_the_end_of_32_bits_do_not_wrap():
    for length in (0xFFFFFFFC, 0xFFFFFFE0, 0x80000000, 0xFFFFFF00):
        image = changed(28, struct.pack("<I", length))
        assert code_of(parse, image, signed=True) == "segment-length"


def test_a_bootloader_has_no_descriptor():
    image = build_image([(0x3FFF0030, b"boot"), (0x40078000, bytes(64))], "esp32")
    parser = parse(image, bootloader=True)
    assert parser.descriptor is None
    assert code_of(parse, image) == "descriptor-missing"


def test_an_image_without_appended_hash_ends_with_its_checksum():
    image = build_app("1", "x", hash_appended=False)
    parser = parse(image, signed=False)
    assert parser.sha256 is None and parser.total_bytes == len(image)


def test_without_hashing_the_appended_hash_is_kept_but_not_compared():
    image = changed(len(UNSIGNED) - 1, b"\x00")
    assert parse(image, signed=False, hash=False).sha256 == image[-32:]


def test_pages_of_another_size_are_allowed_where_the_chip_has_them():
    descriptor = bytearray(build_descriptor("1", "x"))
    # 16 KiB pages: the code is mapped 0x4000 further than 64 KiB pages would have it.
    for page_log2, code in ((14, "ok"), (16, "segment-mapping")):
        descriptor[180] = page_log2
        data, ram, program = app_segments("esp32c6", bytes(descriptor), b"ram.", bytes(64))
        program = (program[0] + 0x4000, program[1])
        image = build_image([data, ram, program], "esp32c6")
        assert code_of(parse, image) == code


@given(st.binary(max_size=600), st.sampled_from([True, False, None, "v1"]), st.booleans())
def test_any_bytes_are_parsed_or_refused(raw, signed, bootloader):
    code_of(parse, UNSIGNED[: random.Random(len(raw)).randrange(64)] + raw, signed=signed,
            bootloader=bootloader)  # fmt: skip


def test_the_form_of_the_image_is_one_of_four():
    with pytest.raises(ValueError, match="signed"):
        ImageParser(signed="v2")
