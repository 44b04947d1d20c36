"""What may be installed: every failed check is told, with expected and found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esp_image import ImageParser, Refused, acceptance, versions
from esp_image.acceptance import Expected
from esp_image.build import build_app
from esp_image.chips import chip_id


def opened(**options):
    """Header and descriptor, from the first 288 bytes of an image."""
    parser = ImageParser()
    parser.feed(
        build_app(**{"version": "1.0", "project": "thermo", "chip": "esp32s3"} | options)[:288]
    )
    return parser.header, parser.descriptor


def codes(image, content_length=None, **expected):
    wanted = Expected(**{"chip_id": chip_id("esp32s3")} | expected)
    return [code for code, _ in acceptance.check(*image, wanted, content_length)]


def test_an_image_for_this_board_is_taken():
    assert codes(opened(), chip_revision=100, project_name="thermo", max_bytes=4096) == []


def test_every_failed_check_is_listed_with_expected_and_found():
    image = opened(secure_version=1, min_chip_rev=200)
    wanted = Expected(
        chip_id=chip_id("esp32s3"), chip_revision=102, secure_version_floor=2,
        project_name="other", running=image[1], max_bytes=4095,
    )  # fmt: skip
    with pytest.raises(Refused) as caught:
        acceptance.require(*image, wanted, content_length=4096)
    assert caught.value.failures == [
        ("chip-revision", "needs chip revision v2.0 or above, this is v1.2"),
        ("secure-version", "secure version 1, this board takes 2 and above"),
        ("project-mismatch", "project 'thermo', this board runs 'other'"),
        ("same-image", "version '1.0' of 'thermo' runs already"),
        ("too-large", "4096 bytes announced, the slot has 4095"),
    ]
    assert caught.value.code == "chip-revision"
    assert str(caught.value).count("; ") == 4


def test_another_chip_is_named():
    wanted = Expected(chip_id=0)
    assert acceptance.check(*opened(), wanted) == [
        ("chip-mismatch", "chip id 9 (esp32s3), this board is 0 (esp32)")
    ]
    with pytest.raises(Refused):
        acceptance.require_chip(opened()[0], wanted)


@pytest.mark.parametrize(
    ("limits", "revision", "taken"),
    [
        ((0, 65535), 0, True),
        ((0, 0), 399, True),
        ((100, 199), 99, False),
        ((100, 199), 100, True),
        ((100, 199), 199, True),
        ((100, 199), 200, False),
        ((65535, 65535), 399, False),
        ((300, 0), None, True),
    ],
)
def test_the_chips_revision_has_to_be_in_the_images_range(limits, revision, taken):
    image = opened(min_chip_rev=limits[0], max_chip_rev=limits[1])
    assert codes(image, chip_revision=revision) == ([] if taken else ["chip-revision"])


def test_a_bootloaders_maximum_revision_does_not_count():
    header = opened(min_chip_rev=100, max_chip_rev=199)[0]
    wanted = Expected(chip_id=header.chip_id, chip_revision=300)
    assert acceptance.check_chip(header, wanted, bootloader=True) == []
    assert acceptance.check_chip(header, wanted)


@pytest.mark.parametrize(
    ("chip", "limits", "taken"),
    [
        ("esp32s3", (101, 0), False),
        ("esp32s3", (0, 99), False),
        ("esp32s3", (100, 100), True),
        ("esp32s3", (65535, 65535), True),
        ("esp32", (101, 0), True),
    ],
)
def test_the_efuse_blocks_revision_counts_on_all_chips_but_the_esp32(chip, limits, taken):
    header, descriptor = opened(chip=chip)
    descriptor.min_efuse_block_rev, descriptor.max_efuse_block_rev = limits
    found = codes((header, descriptor), chip_id=chip_id(chip), efuse_block_revision=100)
    assert found == ([] if taken else ["efuse-revision"])


@pytest.mark.parametrize("policy", ["different", "newer", "any"])
def test_no_policy_lowers_the_secure_version(policy):
    image = opened(version="9.0", secure_version=3)
    running = opened()[1]
    assert codes(image, policy=policy, running=running, secure_version_floor=3) == []
    assert codes(image, policy=policy, running=running, secure_version_floor=4) == [
        "secure-version"
    ]


@pytest.mark.parametrize(
    ("policy", "running", "new", "code"),
    [
        ("different", "1.0", "1.0", "same-image"),
        ("different", "1.0", "0.9", None),
        ("different", None, "1.0", None),
        ("any", "1.0", "1.0", None),
        ("newer", "1.0", "1.0.1", None),
        ("newer", "1.0", "1.0", "not-newer"),
        ("newer", "1.10", "1.9", "not-newer"),
        ("newer", "1.0", "", "version-unknown"),
        ("newer", "", "1.0", "version-unknown"),
        ("newer", None, "1.0", "version-unknown"),
        ("newer", "1.0", "main", "version-unknown"),
    ],
)
def test_the_version_policy_decides(policy, running, new, code):
    before = None if running is None else opened(version=running)[1]
    assert codes(opened(version=new), policy=policy, running=before) == ([code] if code else [])


def test_the_same_version_with_another_program_is_another_image():
    running = opened()[1]
    running.app_elf_sha256 = bytes(32)
    assert codes(opened(), running=running) == []
    assert codes(opened(), running=opened(project="other")[1]) == []


def test_an_unknown_policy_is_a_callers_bug():
    with pytest.raises(ValueError, match="policy"):
        Expected(chip_id=0, policy="newest")


ORDER = [
    "0.9",
    "1.0-alpha",
    "1.0-alpha.1",
    "1.0-alpha.beta",
    "1.0-beta",
    "1.0-beta.2",
    "1.0-beta.11",
    "1.0-rc.1",
    "1.0-rc.1-3-gabc123",
    "1",
    "v1.0.0-2-g0123abc-dirty",
    "1.0-10-gabcdef0",
    "1.0.1+build.7",
    "1.2",
    "V1.10",
    "2",
]


def test_versions_have_the_order_of_semantic_versioning_and_git_describe():
    for i, a in enumerate(ORDER):
        for j, b in enumerate(ORDER):
            assert versions.compare(a, b) == (i > j) - (i < j), (a, b)
    assert versions.compare("1", "v1.0.0+7") == 0
    assert versions.compare("1.0-dirty", "1.0") == 0


@pytest.mark.parametrize("text", ["", "v", "main", "1..2", ".1", "1.x", "-1", "1.0\u0663"])
def test_a_text_without_numbers_is_no_version(text):
    with pytest.raises(ValueError, match="no version"):
        versions.compare(text, "1.0")


@given(st.text(st.sampled_from("0129.-+vgab"), max_size=12), st.text(st.sampled_from("0129.-g")))
def test_the_order_of_versions_is_the_same_both_ways(a, b):
    try:
        found = versions.compare(a, b)
    except ValueError:
        return
    assert versions.compare(b, a) == -found
