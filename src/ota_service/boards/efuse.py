"""What an ESP32's fuses say, read from the registers that mirror them.

Addresses and bits from ESP-IDF, the same in v5.2.2 and in today's master: DR_REG_EFUSE_BASE and
DR_REG_APB_CTRL_BASE from components/soc/<chip>/include/soc/reg_base.h, registers and fields, named
below, from efuse_reg.h beside it (in master components/soc/<chip>/register/soc/). Only of chips
that stand here anything is known. Written by reading those files; not tried on a chip.
"""

import machine

from ..compat import const

_BITS_32 = const(0xFFFFFFFF)
_NOTHING_KNOWN = ("unknown", None, 0, [], [], 0)

_ESP32 = const(0)
_ESP32_BASE = const(0x3FF5A000)
_ESP32_DATE = const(0x3FF6607C)  # APB_CTRL_DATE_REG, apb_ctrl_reg.h
# Three bits for the major version, others for 0: efuse_hal.c, efuse_hal_get_major_chip_version
_ESP32_MAJOR = {1: 1, 3: 2, 7: 3}

_ESP32S3 = const(9)
# By the chip's id in image headers, esp_app_format.h esp_chip_id_t: name, base, and fields (offset
# of the register, lowest bit, bits) of secure version, major and, lowest first, minor revision.
_CHIPS = {
    # EFUSE_SECURE_VERSION (RD_REPEAT_DATA3), EFUSE_WAFER_VERSION_MAJOR (RD_MAC_SPI_SYS_3),
    # EFUSE_WAFER_VERSION_MINOR_LO (RD_MAC_SPI_SYS_4) and _HI (RD_MAC_SPI_SYS_3)
    2: ("esp32s2", 0x3F41A000, (0x3C, 11, 16), (0x50, 18, 2), ((0x54, 4, 3), (0x50, 20, 1))),
    # The same fields; MAJOR and MINOR_HI in RD_MAC_SPI_SYS_5, MINOR_LO in RD_MAC_SPI_SYS_3
    5: ("esp32c3", 0x60008800, (0x3C, 14, 16), (0x58, 24, 2), ((0x50, 18, 3), (0x58, 23, 1))),
    9: ("esp32s3", 0x60007000, (0x3C, 14, 16), (0x58, 24, 2), ((0x50, 18, 3), (0x58, 23, 1))),
    # EFUSE_WAFER_VERSION_MAJOR, EFUSE_WAFER_VERSION_MINOR (RD_MAC_SPI_SYS_3)
    13: ("esp32c6", 0x600B0800, (0x3C, 14, 16), (0x50, 22, 2), ((0x50, 18, 4),)),
}
# EFUSE_BLK_VERSION_MINOR (RD_MAC_SPI_SYS_3) and EFUSE_BLK_VERSION_MAJOR (RD_SYS_PART1_DATA4)
_S3_BLOCK_MINOR = (0x50, 24, 3)
_S3_BLOCK_MAJOR = (0x6C, 0, 2)

# Within EFUSE_RD_REPEAT_DATA1_REG and, from bit 32 on, EFUSE_RD_REPEAT_DATA2_REG
_KEY_REVOKE0 = const(21)  # EFUSE_SECURE_BOOT_KEY_REVOKE0, 1 and 2 follow
_KEY_PURPOSE_0 = const(24)  # EFUSE_KEY_PURPOSE_0, 4 bits; 1 to 5 follow
_SECURE_BOOT_EN = const(52)  # EFUSE_SECURE_BOOT_EN
_KEY0 = const(0x9C)  # EFUSE_RD_KEY0_DATA0_REG; the other five blocks follow
_KEY_BYTES = const(32)
_KEYS = const(6)
# esp_efuse_chip.h: ESP_EFUSE_KEY_PURPOSE_SECURE_BOOT_DIGEST0, 1 and 2 follow
_DIGEST0 = const(9)
_DIGESTS = const(3)


def read(chip_id):
    """(name, revision, Secure Boot state, key digests, revoked ones of them, secure version).

    chip_id: as in image headers. For a chip that is not listed here: `unknown`, None for the
    revision, Secure Boot off, no digests, secure version 0.
    """
    if chip_id == _ESP32:
        return _read_esp32()
    if chip_id not in _CHIPS:
        return _NOTHING_KNOWN
    name, base, secure_version, major, minor_parts = _CHIPS[chip_id]
    minor = bits = 0
    for part in minor_parts:
        minor |= _field(base, part) << bits
        bits += part[2]
    revision = _field(base, major) * 100 + minor
    if chip_id == _ESP32S3 and _is_first_s3(base, minor):
        revision = 0
    flags = _word(base + 0x34) | _word(base + 0x38) << 32
    digests, revoked = _key_digests(base, flags)
    return (
        name,
        revision,
        2 if flags >> _SECURE_BOOT_EN & 1 else 0,
        digests,
        revoked,
        _ones(_field(base, secure_version)),
    )


def _key_digests(base, flags):
    """(digests, those of them that are revoked). Of each of the three digests the first key block
    with its purpose counts: esp_efuse_api_key.c, esp_secure_boot_read_key_digests."""
    digests, revoked = [], []
    purposes = [flags >> _KEY_PURPOSE_0 + 4 * key & 15 for key in range(_KEYS)]
    for number in range(_DIGESTS):
        if _DIGEST0 + number not in purposes:
            continue
        key = purposes.index(_DIGEST0 + number)
        digest = _bytes(base + _KEY0 + _KEY_BYTES * key)
        digests.append(digest)
        if flags >> _KEY_REVOKE0 + number & 1:
            revoked.append(digest)
    return digests, revoked


def _is_first_s3(base, minor):
    """The version's fields of the ESP32-S3 v0.0 hold something else: efuse_hal.c, is_eco0."""
    block = _field(base, _S3_BLOCK_MAJOR), _field(base, _S3_BLOCK_MINOR)
    return minor & 7 == 0 and block == (1, 1)


def _read_esp32():
    """One key digest, which cannot be revoked, in the block that is Secure Boot V1's key else."""
    word6 = _word(_ESP32_BASE + 0x18)  # EFUSE_BLK0_RDATA6_REG
    word5 = _word(_ESP32_BASE + 0x14)  # EFUSE_BLK0_RDATA5_REG
    major = _word(_ESP32_BASE + 0x0C) >> 15 & 1  # EFUSE_RD_CHIP_VER_REV1 in EFUSE_BLK0_RDATA3_REG
    major |= (word5 >> 20 & 1) << 1  # EFUSE_RD_CHIP_VER_REV2
    major |= _word(_ESP32_DATE) >> 31 << 2
    minor = word5 >> 24 & 3  # EFUSE_RD_WAFER_VERSION_MINOR
    secure_boot, digests = 0, []
    if word6 >> 5 & 1:  # EFUSE_RD_ABS_DONE_1
        secure_boot = 2
        digests = [_bytes(_ESP32_BASE + 0x58)]  # EFUSE_BLK2_RDATA0_REG
    elif word6 >> 4 & 1:  # EFUSE_RD_ABS_DONE_0
        secure_boot = 1
    secure_version = 0
    # With a coding scheme (EFUSE_RD_CODING_SCHEME, 0 and 3 for none) none is ever burnt:
    # esp_efuse_fields.c, esp_efuse_update_secure_version.
    if word6 & 3 in (0, 3):
        # EFUSE_RD_SECURE_VERSION, all of EFUSE_BLK3_RDATA4_REG
        secure_version = _ones(_word(_ESP32_BASE + 0x88))
    revision = _ESP32_MAJOR.get(major, 0) * 100 + minor
    return "esp32", revision, secure_boot, digests, [], secure_version


def _word(address):
    """A register. machine.mem32 gives it as a signed number (extmod/machine_mem.c)."""
    return machine.mem32[address] & _BITS_32


def _field(base, field):
    offset, lowest, bits = field
    return _word(base + offset) >> lowest & (1 << bits) - 1


def _bytes(address):
    words = [_word(address + at).to_bytes(4, "little") for at in range(0, _KEY_BYTES, 4)]
    return b"".join(words)


def _ones(value):
    """How many bits are set: the secure version, esp_efuse_fields.c."""
    return sum([value >> bit & 1 for bit in range(32)])
