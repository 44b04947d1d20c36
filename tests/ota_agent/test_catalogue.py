"""Which of many images are served."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_image import versions
from ota_agent.catalogue import Listed, choose, listed
from ota_agent.default_firmware import DefaultFirmware, parse_default
from ota_agent.errors import FirmwareError, SettingsError
from ota_agent.firmware import Firmware
from ota_agent.offer import Offer


def image(version: str, **changes: Any) -> Listed:
    fields = {"file": f"{version}.bin", "chip": "esp32", "project": "thermo", "secure_version": 0,
              "sha256": version, **changes}  # fmt: skip
    return Listed(version=version, **fields)


def firmware(chip: str, project: str, version: str = "1.0.0") -> Firmware:
    return Firmware(memoryview(b""), chip, project, version, 0, "", frozenset(), None)


def chosen(*images: Listed, served: frozenset[str] = frozenset()) -> list[str]:
    return [each.version for each in choose(images, served)[0]]


@pytest.mark.parametrize(
    "lower_to_higher",
    [
        ["1.9.0", "1.10.0"],
        ["2.0.0-rc.1", "2.0.0"],
        ["v1.0.0", "v1.0.0-3-gabc", "1.0.1"],
    ],
)
def test_the_highest_version_is_served_in_whatever_order_files_are_listed(
    lower_to_higher: list[str],
) -> None:
    for order in itertools.permutations(lower_to_higher):
        assert chosen(*map(image, order)) == [lower_to_higher[-1]]


def test_a_higher_secure_version_goes_before_a_higher_version() -> None:
    assert chosen(image("2.0.0"), image("1.5.0", secure_version=1)) == ["1.5.0"]


def test_each_chip_and_application_has_its_own() -> None:
    images = [image("1.0.0"), image("2.0.0", chip="esp32s3"), image("3.0.0", project="lamp")]
    assert sorted(chosen(*images)) == ["1.0.0", "2.0.0", "3.0.0"]


@pytest.mark.parametrize("other", ["1.0.0", "v1.0", "1.0.0+build"])
def test_of_two_images_of_the_same_version_neither_is_served(other: str) -> None:
    two = [image("1.0.0", file="a.bin"), image(other, file="b.bin", sha256="another")]
    found, left_out = choose(two, set())
    assert found == []
    assert "b.bin is another image of the same version" in left_out["a.bin"]
    assert "a.bin is another image of the same version" in left_out["b.bin"]


def test_a_secure_version_does_not_tell_two_images_of_the_same_version_apart() -> None:
    assert chosen(image("1.0.0"), image("1.0.0", sha256="x", secure_version=1)) == []


def test_below_two_of_the_same_version_the_next_is_served() -> None:
    assert chosen(image("2.0.0"), image("2.0.0", sha256="x"), image("1.0.0")) == ["1.0.0"]


def test_of_two_of_the_same_version_the_one_that_is_served_stays() -> None:
    two = [image("1.0.0", file="a.bin"), image("1.0.0", file="b.bin", sha256="x")]
    for stays in two:
        found, left_out = choose(two, {stays.sha256})
        assert found == [stays]
        assert list(left_out) == [each.file for each in two if each is not stays]


def test_the_same_image_twice_is_one() -> None:
    found, left_out = choose([image("1.0.0", file="a.bin"), image("1.0.0", file="b.bin")], set())
    assert [each.version for each in found] == ["1.0.0"]
    assert left_out == {}


@st.composite
def any_image(draw: st.DrawFn) -> Listed:
    fields = (
        draw(st.sampled_from(["esp32", "esp32s3"])),
        draw(st.sampled_from(["thermo", "lamp"])),
        draw(st.sampled_from(["1", "1.0", "1.1", "1.1-rc.1", "v1.1", "2.0", "2.0-1-ga"])),
        draw(st.integers(0, 2)),
    )
    return Listed(str(draw(st.uuids())), *fields, f"{fields}{draw(st.sampled_from('ab'))}")


@given(st.lists(any_image(), max_size=12), st.integers(0, 3))
def test_whatever_there_is_the_choice_is_one_a_slot_and_of_the_highest_that_are_not_in_doubt(
    images: list[Listed], count: int
) -> None:
    served = {each.sha256 for each in images[:count]}
    found, left_out = choose(images, served)
    assert len({each.slot for each in found}) == len(found)
    for each in images:
        same = [
            other for other in images
            if other.slot == each.slot and versions.compare(other.version, each.version) == 0
        ]  # fmt: skip
        assert (each.file in left_out) <= (len({other.sha256 for other in same}) > 1)
        if each.file not in left_out:
            best = next(one for one in found if one.slot == each.slot)
            assert best.secure_version >= each.secure_version
            if best.secure_version == each.secure_version:
                assert versions.compare(best.version, each.version) >= 0
    assert all(each.file not in left_out for each in found)
    again = {(each.slot, each.sha256) for each in choose(images[::-1], served)[0]}
    assert again == {(each.slot, each.sha256) for each in found}


@pytest.mark.parametrize(
    ("project", "version", "code"),
    [("", "1.0", "no-project"), ("thermo", "", "no-version"), ("thermo", "abc", "version-unknown")],
)
def test_an_image_that_cannot_be_placed_is_named_with_the_cure(
    project: str, version: str, code: str
) -> None:
    with pytest.raises(FirmwareError, match=r"a\.bin: .*ota-service image stamp") as raised:
        listed("a.bin", firmware("esp32", project, version))
    assert raised.value.code == code


THERE = [firmware("esp32", "thermo"), firmware("esp32", "lamp"), firmware("esp32s3", "thermo")]


@pytest.mark.parametrize(
    ("chip", "application", "found"),
    [
        ("esp32", "thermo", 0),
        ("ESP32", "lamp", 1),
        ("ESP32-S3", "thermo", 2),
        ("esp32s3", "", 2),
        ("esp32", "", None),
        ("esp32s3", "lamp", None),
        ("esp32c3", "thermo", None),
        ("esp32", "Thermo", None),
    ],
)
def test_a_board_gets_what_is_for_its_chip_and_application(
    chip: str, application: str, found: int | None
) -> None:
    expected = None if found is None else THERE[found]
    assert Offer(THERE, None).for_board(chip, application) is expected


@pytest.mark.parametrize(
    ("text", "found"),
    [("lamp", 1), ("thermo@esp32", 0), ("thermo@ESP32-S3", 2), ("thermo", None),
     ("lamp@esp32s3", None), ("other", None)],
)  # fmt: skip
def test_a_default_names_one_or_says_why_not(text: str, found: int | None) -> None:
    firmware, reason = parse_default(text).choose(THERE)
    assert firmware is (None if found is None else THERE[found])
    assert bool(reason) == (found is None)


def test_a_default_that_several_chips_have_says_which() -> None:
    _, reason = parse_default("thermo").choose(THERE)
    assert "esp32, esp32s3" in reason
    assert "thermo@CHIP" in reason


def test_a_project_with_an_at_sign_can_be_named() -> None:
    assert parse_default("a@b@esp32") == DefaultFirmware("a@b", "esp32")


@pytest.mark.parametrize("text", ["", "@esp32", "thermo@", "thermo@esp64", "thermo@ esp32"])
def test_what_is_no_default_is_refused(text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_default(text)
    assert repr(text) in str(raised.value)
