"""Images as a stream, acceptance, building and stamping, on both runtimes."""

from hashlib import sha256

from esp_image import ImageError, ImageParser, acceptance, versions
from esp_image.build import build_app
from esp_image.checksum import xor_plain
from esp_image.chips import CHIPS
from esp_image.compat import xor_bytes
from esp_image.stamp import stamp

try:
    from micropython import heap_lock, heap_unlock
except ImportError:

    def heap_lock():
        """CPython cannot lock its heap."""

    heap_unlock = heap_lock

IMAGE = build_app("1.0", "thermo", size=12288, secure_version=2)


def parse(image, step, **options):
    parser = ImageParser(**options)
    view = memoryview(image)
    for start in range(0, len(image), step):
        parser.feed(view[start : start + step])
    parser.close()
    return parser


def refusal(image, step, **options):
    try:
        parse(image, step, **options)
    except ImageError as error:
        return error.code, error.offset
    raise AssertionError("accepted")


def test_an_image_is_read_whole_in_pieces_and_byte_by_byte():
    for step in (1, 7, 64, 4096, len(IMAGE)):
        parser = parse(IMAGE, step, signed=False)
        assert parser.total_bytes == len(IMAGE)
        assert parser.sha256 == sha256(IMAGE[:-32]).digest()
        found = parser.descriptor
        assert (found.version, found.project_name, found.secure_version) == ("1.0", "thermo", 2)
        assert parser.header.hash_appended and len(parser.segments) == 3


def test_images_of_every_chip_are_built_and_read():
    for chip in CHIPS:
        parser = parse(build_app("1.0", "thermo", chip), 100)
        assert parser.header.chip_id == CHIPS[chip].id


def test_each_changed_byte_of_what_is_judged_alone_is_refused_at_the_same_offset():
    image = bytearray(IMAGE)
    for offset in (0, 1, 13, 23, 29, 33, 5000, len(IMAGE) - 33, len(IMAGE) - 1):
        image[offset] ^= 0xA5
        found = refusal(image, 4096, signed=False)
        assert found == refusal(image, 1, signed=False) == refusal(image, 333, signed=False)
        image[offset] ^= 0xA5


def test_a_short_and_a_long_stream_are_refused():
    assert refusal(IMAGE[:-1], 64, signed=False) == ("truncated", len(IMAGE) - 1)
    assert refusal(IMAGE + b"\x00", 64, signed=False) == ("trailing-data", len(IMAGE))
    assert refusal(IMAGE, 64, signed=True)[0] == "truncated"
    assert refusal(IMAGE, 64, max_bytes=len(IMAGE) - 1)[0] == "too-large"
    wrapped = IMAGE[:28] + b"\xfc\xff\xff\xff" + IMAGE[32:]
    assert refusal(wrapped, 64) == ("segment-length", 31)


def test_a_text_that_is_not_utf8_is_refused():
    assert refusal(IMAGE[:48] + b"\xff\xfe" + IMAGE[50:], 64)[0] == "descriptor-text"


def test_the_fast_checksum_is_the_plain_one_at_every_alignment():
    data = bytearray(IMAGE[:600])
    for start in range(9):
        for size in (0, 1, 2, 3, 4, 5, 7, 31, 32, 33, 63, 500):
            expected = xor_plain(data, start, size, 0xEF)
            assert xor_bytes(data, start, size, 0xEF) == expected
            assert xor_bytes(memoryview(data)[start:], 0, size, 0xEF) == expected


def test_feeding_inside_a_segment_does_not_allocate():
    parser = ImageParser(signed=False)
    view = memoryview(IMAGE)
    parser.feed(view[:512])
    chunk = view[512:4608]
    heap_lock()
    try:
        parser.feed(chunk)
    finally:
        heap_unlock()
    assert parser.received == 4608


def test_acceptance_lists_every_failure():
    parser = parse(IMAGE, 4096)
    expected = acceptance.Expected(
        chip_id=9, secure_version_floor=3, project_name="other", policy="newer"
    )
    codes = [c for c, _ in acceptance.check(parser.header, parser.descriptor, expected)]
    assert codes == ["chip-mismatch", "secure-version", "project-mismatch", "version-unknown"]
    expected = acceptance.Expected(chip_id=0, chip_revision=300, running=parser.descriptor)
    codes = [c for c, _ in acceptance.check(parser.header, parser.descriptor, expected)]
    assert codes == ["same-image"]


def test_versions_are_ordered():
    order = ["0.9", "1.0-alpha.2", "1.0-beta", "1.0", "1.0-3-gabc", "1.0.1", "1.10", "2"]
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            assert versions.compare(a, b) == (i > j) - (i < j)


def test_a_stamped_image_is_whole():
    stamped = stamp(build_app("", ""), "2.0", "thermo", 7)
    found = parse(stamped, 64, signed=False).descriptor
    assert (found.version, found.project_name, found.secure_version) == ("2.0", "thermo", 7)
