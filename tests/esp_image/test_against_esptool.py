"""esptool's second opinion: the same fields and the same verdict, on real and random images.

Where this package is stricter on purpose, the stricter rule has a test of its own in
test_parser.py: zero padding before the checksum, segments that overlap, segments that cannot be
mapped, printable texts, an app descriptor in every application, chips of the family only.
"""

import os
import random
import re
import struct
from concurrent.futures import ThreadPoolExecutor

from esp_image import ImageError, ImageParser, build
from esp_image.chips import CHIPS, chip_name
from tests.esp_image import signing

# Each takes esptool a fifth of a second; the full measure is OTA_AGREEMENT_IMAGES=200.
COUNT = int(os.environ.get("OTA_AGREEMENT_IMAGES", "80"))
REAL = {
    "esp_idf_blink_esp32s2.bin": False,
    "bootloader_esp32_v5_2.bin": True,
    "bootloader_esp32c3.bin": True,
    "bootloader_unsigned_v2.bin": True,
    "bootloader_signed_v2_rsa.bin": True,
    "bootloader_multi_signed_v2_rsa.bin": True,
    "bootloader_signed_v2_ecdsa256.bin": True,
}


def esptool_says(path):
    """What image-info prints, as fields; None if it refuses the image."""
    code, text = signing.run("esptool", "image-info", path)
    if code:
        return None
    checksum = re.search(r"Checksum: 0x\w+ \((.*?)\)", text)
    digest = re.search(r"Validation hash: (\w+) \((.*?)\)", text)
    segments = re.findall(r"^ +\d+ +(0x\w+) +(0x\w+) +(0x\w+)", text, re.MULTILINE)
    return {
        "chip": int(re.search(r"Chip ID: (\d+)", text)[1]),
        "entry": int(re.search(r"Entry point(?:: (\w+)| not set)", text)[1] or "0", 16),
        "revisions": re.findall(r"chip revision: v([\d.]+)", text),
        # Its offset is that of the segment's header.
        "segments": [(int(a, 16), int(s, 16), int(o, 16) + 8) for s, a, o in segments],
        "sha256": digest and digest[1],
        "intact": checksum[1] == "valid" and (digest is None or digest[2] == "valid"),
        "app": [
            (re.search(label + r": ?(.*)", text) or [None, None])[1]
            for label in ("Project name", "App version", "Secure version", "ELF file SHA256")
        ],
    }


def we_say(raw, bootloader):
    parser = ImageParser(bootloader=bootloader)
    parser.feed(raw)
    parser.close()
    header, app = parser.header, parser.descriptor
    fields = {
        "chip": header.chip_id,
        "entry": header.entry,
        "revisions": [
            f"{revision // 100}.{revision % 100}"
            for revision in (header.min_chip_rev_full, header.max_chip_rev_full)
        ],
        "segments": [(s.address, s.size, s.offset) for s in parser.segments],
        "sha256": parser.sha256 and parser.sha256.hex(),
        "intact": True,
    }
    if app is not None:
        fields["app"] = [
            app.project_name, app.version, str(app.secure_version), app.app_elf_sha256.hex()
        ]  # fmt: skip
    return fields


def random_app(rng):
    """An application with random chip, texts, revisions and segments that a chip could map."""
    chip = rng.choice(sorted(CHIPS))
    descriptor = build.build_descriptor(
        rng.choice(["", "1.0", "v2.3.4-5-gabcdef", "x" * 32]),
        rng.choice(["", "thermo", "né", "y" * 32]),
        rng.choice([0, 1, 0xFFFFFFFF]),
        rng.randbytes(32),
    )
    data = descriptor + rng.randbytes(4 * rng.randrange(9000))
    ram = rng.randbytes(4 * rng.randrange(300))
    code = rng.randbytes(4 * rng.randrange(1, 9000))
    segments = build.app_segments(chip, data, ram, code)
    for _ in range(rng.randrange(6)):
        # Padding, and RAM behind what there is: neither overlaps.
        address = rng.choice([0, segments[1][0] + 0x4000 * len(segments)])
        segments.append((address, rng.randbytes(4 * rng.randrange(500))))
    return build.build_image(
        segments,
        chip,
        rng.choice([0, 1, 103, 300, 0xFFFF]),
        rng.choice([0, 99, 399, 0xFFFF]),
        rng.random() < 0.9,
        rng.choice([None, 0x40080000]),
    )


def damage(rng, raw):
    """The image, half of the time with one thing wrong that both sides look at."""
    raw = bytearray(raw)
    kind = rng.choice(["none", "none", "none", "byte", "length", "truncated", "magic"])
    if kind == "byte":
        raw[rng.randrange(288, len(raw))] ^= rng.randrange(1, 256)
    elif kind == "length":
        struct.pack_into("<I", raw, 28, rng.choice([0xFFFFFFFC, len(raw) * 4, 0x7FFFFFFC]))
    elif kind == "truncated":
        del raw[rng.randrange(24, len(raw)) :]
    elif kind == "magic":
        raw[0] ^= 1
    return bytes(raw)


def test_random_images_have_the_same_fields_and_the_same_verdict(tmp_path):
    rng = random.Random(20260401)
    images = [damage(rng, random_app(rng)) for _ in range(COUNT)]
    paths = []
    for i, raw in enumerate(images):
        paths.append(tmp_path / f"{i}.bin")
        paths[-1].write_bytes(raw)
    with ThreadPoolExecutor(2) as pool:
        opinions = list(pool.map(esptool_says, paths))
    accepted = 0
    for path, raw, theirs in zip(paths, images, opinions, strict=True):
        try:
            ours = we_say(raw, bootloader=False)
        except ImageError:
            ours = None
        if theirs is None or not theirs["intact"]:
            assert ours is None, path
            continue
        assert ours == theirs, path
        accepted += 1
    assert COUNT // 3 < accepted < COUNT


def test_real_images_have_the_same_fields_and_the_same_verdict(real_images):
    for name, bootloader in REAL.items():
        theirs = esptool_says(real_images / name)
        ours = we_say((real_images / name).read_bytes(), bootloader)
        assert theirs["intact"]
        assert ours == {key: theirs[key] for key in ours}, name


def test_built_images_are_whole_to_esptool_on_every_chip(tmp_path):
    for chip in CHIPS:
        path = tmp_path / f"{chip}.bin"
        path.write_bytes(build.build_app("1.2", "thermo", chip, size=4096, secure_version=3))
        theirs = esptool_says(path)
        assert theirs["intact"] and chip_name(theirs["chip"]) == chip
        assert theirs["app"][:3] == ["thermo", "1.2", "3"]
