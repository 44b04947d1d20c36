"""The chips of the family, as far as images and signatures differ between them.

Sources: ESP-IDF esp_app_format.h (ids), components/soc/<chip>/include/soc/soc.h (SOC_DROM_LOW to
SOC_IROM_HIGH), soc_caps.h (SOC_SECURE_BOOT_V1, SOC_SECURE_BOOT_V2_RSA, SOC_SECURE_BOOT_V2_ECC,
SOC_EFUSE_SECURE_BOOT_KEY_DIGESTS, SOC_MMU_PAGE_SIZE_CONFIGURABLE), bootloader Kconfig
(BOOTLOADER_OFFSET_IN_FLASH).
"""

from .chip_table import (
    ECDSA_P192,
    ECDSA_P256,
    ECDSA_P384,
    RSA,
    page_bytes,
    rows,
)
from .compat import const

V1 = const("v1-ecdsa-p256")


class Chip:
    """One chip.

    name: as esptool spells it. id: as in the image header. bootloader_offset: in flash, bytes.
    drom, irom: (first, behind the last) address of flash-mapped data and code.
    schemes: the signature schemes its bootloader knows. signature_blocks: how many of the
    sector's blocks it looks at. key_digest_bytes: how much of a key digest eFuse holds.
    """

    def __init__(self, name, id, bootloader_offset, drom, irom, schemes, signature_blocks=3,
                 key_digest_bytes=32, pages_vary=False):  # fmt: skip
        self.name = name
        self.id = id
        self.bootloader_offset = bootloader_offset
        self.drom = drom
        self.irom = irom
        self.schemes = schemes
        self.signature_blocks = signature_blocks
        self.key_digest_bytes = key_digest_bytes
        self.pages_vary = pages_vary

    def is_mapped(self, address):
        """Whether a segment at this address is mapped from flash, not loaded.

        Source: esp_image_format.c, should_map.
        """
        return self.drom[0] <= address < self.drom[1] or self.irom[0] <= address < self.irom[1]

    def page_bytes(self, page_log2):
        """Size of an MMU page. page_log2: the app descriptor's mmu_page_size, 0 in old images.

        Where the chip's pages vary and the image does not tell, the smallest that exists.
        Source: esp_image_format.c, verify_segment_header; hal/mmu_types.h.
        """
        return page_bytes(self.pages_vary, page_log2)


_SCHEMES = {"V": V1, "R": RSA, "1": ECDSA_P192, "2": ECDSA_P256, "3": ECDSA_P384}

_made = {}


def __getattr__(name):
    """CHIPS: every chip by its name, for whoever needs them all."""
    if name == "CHIPS":
        return {name: by_id(id) for name, id, _ in rows()}
    raise AttributeError(name)


def by_id(id):
    """The chip with this id in image headers, or None."""
    if id not in _made:
        for name, number, columns in rows():
            if number == id:
                _made[id] = _make(name, id, columns)
    return _made.get(id)


def _make(name, id, columns):
    offset, drom, drom_end, irom, irom_end = [int(column, 16) for column in columns[:5]]
    schemes, blocks, digest_bytes = columns[5:8]
    return Chip(
        name, id, offset, (drom, drom_end), (irom, irom_end),
        tuple([_SCHEMES[letter] for letter in schemes]), int(blocks), int(digest_bytes),
        len(columns) > 8,
    )  # fmt: skip


def chip_name(id):
    """Name of the chip with this id. Raises ValueError for an unknown one."""
    chip = by_id(id)
    if chip is None:
        ids = [number for _, number, _ in rows()]
        raise ValueError("chip id %s: expected one of %s" % (id, ids))
    return chip.name


def chip_id(name):
    """Id of the chip with this name. Raises ValueError for an unknown one."""
    for row, id, _ in rows():
        if row == name:
            return id
    names = ", ".join(sorted([row for row, _, _ in rows()]))
    raise ValueError("chip %r: expected one of %s" % (name, names))


def describe(id):
    """`9 (esp32s3)`, or the bare number of an unknown chip: for messages."""
    chip = by_id(id)
    return "%d (%s)" % (id, chip.name) if chip else str(id)
