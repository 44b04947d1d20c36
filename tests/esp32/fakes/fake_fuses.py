"""The registers of a chip's fuses, made from the virtual board's eFuse values.

The other way to them than ota_service.boards.efuse's: fields as bits of a block, from ESP-IDF
v5.2.2 components/efuse/<chip>/esp_efuse_table.csv; where a block begins, from esp_efuse_utility.c
beside it (range_read_addr_blocks).
"""

# name: (block, first bit, bits)
_ESP32 = {
    "CHIP_VER_REV1": (0, 111, 1),
    "CHIP_VER_REV2": (0, 180, 1),
    "WAFER_VERSION_MINOR": (0, 184, 2),
    "CODING_SCHEME": (0, 192, 2),
    "ABS_DONE_0": (0, 196, 1),
    "ABS_DONE_1": (0, 197, 1),
    "SECURE_VERSION": (3, 128, 32),
}
_LATER = {
    "SECURE_BOOT_KEY_REVOKE0": (0, 85, 1),
    "SECURE_BOOT_KEY_REVOKE1": (0, 86, 1),
    "SECURE_BOOT_KEY_REVOKE2": (0, 87, 1),
    "KEY_PURPOSE_0": (0, 88, 4),
    "KEY_PURPOSE_1": (0, 92, 4),
    "KEY_PURPOSE_2": (0, 96, 4),
    "KEY_PURPOSE_3": (0, 100, 4),
    "KEY_PURPOSE_4": (0, 104, 4),
    "KEY_PURPOSE_5": (0, 108, 4),
    "SECURE_BOOT_EN": (0, 116, 1),
    "SECURE_VERSION": (0, 142, 16),
}
_S3_AND_C3 = {
    "WAFER_VERSION_MINOR_LO": (1, 114, 3),
    "BLK_VERSION_MINOR": (1, 120, 3),
    "WAFER_VERSION_MINOR_HI": (1, 183, 1),
    "WAFER_VERSION_MAJOR": (1, 184, 2),
    "BLK_VERSION_MAJOR": (2, 128, 2),
}


def _with(*parts):
    fields = {}
    for part in parts:
        fields.update(part)
    return fields


FIELDS = {
    "esp32": _ESP32,
    "esp32s2": _with(
        _LATER,
        {
            "SECURE_VERSION": (0, 139, 16),
            "WAFER_VERSION_MAJOR": (1, 114, 2),
            "WAFER_VERSION_MINOR_HI": (1, 116, 1),
            "WAFER_VERSION_MINOR_LO": (1, 132, 3),
        },
    ),
    "esp32s3": _with(_LATER, _S3_AND_C3),
    "esp32c3": _with(_LATER, _S3_AND_C3),
    "esp32c6": _with(
        _LATER, {"WAFER_VERSION_MINOR": (1, 114, 4), "WAFER_VERSION_MAJOR": (1, 118, 2)}
    ),
}

# block: (offset of its first register, registers)
_ESP32_BLOCKS = {0: (0x00, 7), 2: (0x58, 8), 3: (0x78, 8)}
_LATER_BLOCKS = {0: (0x2C, 6), 1: (0x44, 6), 2: (0x5C, 8)}
_LATER_BLOCKS.update({4 + key: (0x9C + 32 * key, 8) for key in range(6)})
# DR_REG_EFUSE_BASE, components/soc/<chip>/include/soc/reg_base.h
BASES = {
    "esp32": 0x3FF5A000,
    "esp32s2": 0x3F41A000,
    "esp32s3": 0x60007000,
    "esp32c3": 0x60008800,
    "esp32c6": 0x600B0800,
}
_ESP32_DATE = 0x3FF6607C  # SYSCON_DATE_REG, which tells v3 from earlier ones

# Which key block each digest is in, and what else is in others: XTS_AES_128_KEY, HMAC_UP, and the
# number after the last digest's
_DIGEST_KEYS = (2, 0, 5)
_OTHER_PURPOSES = {1: 4, 3: 8, 4: 12}
_PURPOSE_DIGEST0 = 9


def blocks_of(chip):
    """The chip's blocks: {number: (offset from the base, registers)}."""
    return _ESP32_BLOCKS if chip == "esp32" else _LATER_BLOCKS


def registers(efuse, fields):
    """{address: value} of a chip with these fuses (virtual_esp32.efuse.EFuse).

    fields: values by name that come before those. Of the blocks with fields, every bit that no
    field here has is burnt. A chip that is not listed has no registers.
    """
    if efuse.chip not in FIELDS:
        return {}
    values, keys = _values(efuse)
    values.update(fields)
    content = {}
    for block, (_, count) in blocks_of(efuse.chip).items():
        has_fields = block in [field[0] for field in FIELDS[efuse.chip].values()]
        content[block] = (1 << 32 * count) - 1 if has_fields else 0
    for name, (block, first, bits) in FIELDS[efuse.chip].items():
        value = values.get(name, 0)
        assert 0 <= value < 1 << bits, (name, value)
        content[block] &= ~((1 << bits) - 1 << first)
        content[block] |= value << first
    for block, key in keys.items():
        content[block] |= int.from_bytes(key, "little")
    found = {}
    for block, (offset, count) in blocks_of(efuse.chip).items():
        for word in range(count):
            address = BASES[efuse.chip] + offset + 4 * word
            found[address] = content[block] >> 32 * word & 0xFFFFFFFF
    if efuse.chip == "esp32":
        found[_ESP32_DATE] = 0x96042000 if efuse.chip_revision >= 300 else 0x16042000
    return found


def _values(efuse):
    """({field: value}, {block: 32 bytes})."""
    major, minor = efuse.chip_revision // 100, efuse.chip_revision % 100
    version = (1 << efuse.secure_version) - 1
    if efuse.chip == "esp32":
        values = {
            "CHIP_VER_REV1": int(major >= 1),
            "CHIP_VER_REV2": int(major >= 2),
            "WAFER_VERSION_MINOR": minor,
            "ABS_DONE_0": int(efuse.secure_boot == 1),
            "ABS_DONE_1": int(efuse.secure_boot == 2),
            "SECURE_VERSION": version,
        }
        return values, ({2: efuse.key_digests[0]} if efuse.key_digests else {})
    values = {
        "SECURE_BOOT_EN": int(efuse.secure_boot == 2),
        "SECURE_VERSION": version,
        "WAFER_VERSION_MAJOR": major,
    }
    if efuse.chip == "esp32c6":
        values["WAFER_VERSION_MINOR"] = minor
    else:
        values["WAFER_VERSION_MINOR_LO"] = minor & 7
        values["WAFER_VERSION_MINOR_HI"] = minor >> 3
    keys = {}
    for key, purpose in _OTHER_PURPOSES.items():
        values["KEY_PURPOSE_%d" % key] = purpose
        keys[4 + key] = bytes([0xA0 + key]) * 32
    for number, digest in enumerate(efuse.key_digests):
        key = _DIGEST_KEYS[number]
        values["KEY_PURPOSE_%d" % key] = _PURPOSE_DIGEST0 + number
        values["SECURE_BOOT_KEY_REVOKE%d" % number] = int(efuse.revoked[number])
        keys[4 + key] = digest
    return values, keys
