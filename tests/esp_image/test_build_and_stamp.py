"""Images made and images stamped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_image import ImageError, ImageParser, chips
from esp_image.build import build_app, build_image
from esp_image.stamp import stamp
from tests.esp_image.signing import pad, sign
from tests.esp_image.slots import verify


def read(image):
    parser = ImageParser()
    parser.feed(image)
    parser.close()
    return parser


@given(st.sampled_from(sorted(chips.CHIPS)), st.integers(768, 200_000), st.booleans())
def test_an_image_is_as_long_as_asked_and_whole_on_every_chip(chip, size, hash_appended):
    image = build_app("1.0", "thermo", chip, size, hash_appended=hash_appended)
    assert len(image) == (size + 15) // 16 * 16
    assert read(image).header.chip_id == chips.chip_id(chip)


def test_the_same_arguments_give_the_same_bytes():
    assert build_app("1.0", "thermo") == build_app("1.0", "thermo")
    first, second = read(build_app("1.0", "thermo")), read(build_app("1.1", "thermo"))
    assert first.descriptor.app_elf_sha256 != second.descriptor.app_elf_sha256


@pytest.mark.parametrize(
    "options",
    [{"chip": "esp8266"}, {"size": 767 - 16}, {"version": "x" * 33}, {"project": "a\0b"}],
)
def test_what_cannot_be_built_is_a_callers_bug(options):
    with pytest.raises(ValueError, match="expected"):
        build_app(**{"version": "1", "project": "x"} | options)


def test_an_image_has_1_to_16_segments():
    for count in (0, 17):
        with pytest.raises(ValueError, match=r"1\.\.16"):
            build_image([(0, b"")] * count, "esp32")


@pytest.mark.parametrize("hash_appended", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_stamped_image_has_the_new_texts_and_is_whole(hash_appended, padding):
    image = build_app("", "", hash_appended=hash_appended, secure_version=2, size=5008)
    image = pad(image) if padding else image
    stamped = stamp(image, "2.0-rc.1", "né")
    found = read(stamped)
    assert (found.descriptor.version, found.descriptor.project_name) == ("2.0-rc.1", "né")
    assert found.descriptor.secure_version == 2
    assert len(stamped) == len(image)
    changed = [i for i in range(len(image)) if image[i] != stamped[i]]
    # Descriptor, checksum byte, appended hash; nothing else.
    end = found.image_bytes - (32 if hash_appended else 0)
    assert all(48 <= i < 112 or i >= end - 1 for i in changed)
    assert read(stamp(image, "2", "x", secure_version=7)).descriptor.secure_version == 7


def test_stamping_back_gives_the_same_image():
    image = build_app("1.0", "thermo", secure_version=1)
    assert stamp(stamp(image, "2.0", "other", 9), "1.0", "thermo", 1) == image


def test_a_stamped_image_can_be_signed(keys):
    stamped = stamp(build_app("", "", "esp32s3"), "1.0", "thermo")
    assert verify(sign(stamped, keys("p256")), trusted=None).descriptor.version == "1.0"


def test_a_signed_image_is_not_stamped(keys):
    with pytest.raises(ImageError, match="signed") as caught:
        stamp(sign(build_app("", ""), keys("p256")), "1.0", "thermo")
    assert caught.value.code == "signed-image"


def test_a_damaged_image_is_not_stamped():
    image = bytearray(build_app("", ""))
    image[1000] ^= 1
    with pytest.raises(ImageError):
        stamp(image, "1.0", "thermo")


@pytest.mark.parametrize(
    ("version", "project", "secure_version"),
    [("x" * 33, "x", None), ("1", "\x1b[2J", None), ("1", "x", -1), ("1", "x", 1 << 32)],
)
def test_texts_that_do_not_fit_are_refused(version, project, secure_version):
    with pytest.raises(ValueError, match=r"version|project"):
        stamp(build_app("", ""), version, project, secure_version)


def test_chips_are_known_by_name_and_id():
    for name, chip in chips.CHIPS.items():
        assert chips.chip_name(chips.chip_id(name)) == name == chip.name
    for call, value in ((chips.chip_name, 1), (chips.chip_id, "esp8266")):
        with pytest.raises(ValueError, match="expected one of"):
            call(value)
