"""The chips of the family, as far as images and signatures differ between them.

Sources: ESP-IDF esp_app_format.h (ids), components/soc/<chip>/include/soc/soc.h (SOC_DROM_LOW to
SOC_IROM_HIGH), soc_caps.h (SOC_SECURE_BOOT_V1, SOC_SECURE_BOOT_V2_RSA, SOC_SECURE_BOOT_V2_ECC,
SOC_EFUSE_SECURE_BOOT_KEY_DIGESTS, SOC_MMU_PAGE_SIZE_CONFIGURABLE), bootloader Kconfig
(BOOTLOADER_OFFSET_IN_FLASH).
"""

from .compat import const

_PAGE_BYTES = const(0x10000)
_SMALLEST_PAGE_BYTES = const(0x2000)
_PAGE_LOG2 = const((13, 18))

RSA = const("rsa-3072")
ECDSA_P192 = const("ecdsa-p192")
ECDSA_P256 = const("ecdsa-p256")
ECDSA_P384 = const("ecdsa-p384")
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
        if not self.pages_vary:
            return _PAGE_BYTES
        if _PAGE_LOG2[0] <= page_log2 <= _PAGE_LOG2[1]:
            return 1 << page_log2
        return _SMALLEST_PAGE_BYTES


# One row a chip: Chip's arguments. Chip objects are made of those that are asked for.
_TABLE = (
    ("esp32", 0, 0x1000, (0x3F400000, 0x3F800000), (0x400D0000, 0x40400000), (V1, RSA), 1),
    ("esp32s2", 2, 0x1000, (0x3F000000, 0x3FF80000), (0x40080000, 0x40800000), (RSA,)),
    ("esp32c3", 5, 0, (0x3C000000, 0x3C800000), (0x42000000, 0x42800000), (RSA,)),
    ("esp32s3", 9, 0, (0x3C000000, 0x3E000000), (0x42000000, 0x44000000), (RSA,)),
    ("esp32c2", 12, 0, (0x3C000000, 0x3C400000), (0x42000000, 0x42400000),
     (ECDSA_P192, ECDSA_P256), 1, 16, True),
    ("esp32c6", 13, 0, (0x42000000, 0x43000000), (0x42000000, 0x43000000),
     (RSA, ECDSA_P192, ECDSA_P256), 3, 32, True),
    ("esp32h2", 16, 0, (0x42000000, 0x43000000), (0x42000000, 0x43000000),
     (RSA, ECDSA_P192, ECDSA_P256), 3, 32, True),
    ("esp32p4", 18, 0x2000, (0x40000000, 0x44000000), (0x40000000, 0x44000000),
     (RSA, ECDSA_P192, ECDSA_P256, ECDSA_P384)),
    ("esp32c61", 20, 0, (0x42000000, 0x44000000), (0x42000000, 0x44000000),
     (ECDSA_P192, ECDSA_P256), 3, 32, True),
    ("esp32c5", 23, 0x2000, (0x42000000, 0x44000000), (0x42000000, 0x44000000),
     (RSA, ECDSA_P192, ECDSA_P256, ECDSA_P384)),
)  # fmt: skip

_made = {}


def __getattr__(name):
    """CHIPS: every chip by its name, for whoever needs them all."""
    if name == "CHIPS":
        return {row[0]: by_id(row[1]) for row in _TABLE}
    raise AttributeError(name)


def by_id(id):
    """The chip with this id in image headers, or None."""
    if id not in _made:
        for row in _TABLE:
            if row[1] == id:
                _made[id] = Chip(*row)
    return _made.get(id)


def chip_name(id):
    """Name of the chip with this id. Raises ValueError for an unknown one."""
    chip = by_id(id)
    if chip is None:
        raise ValueError("chip id %s: expected one of %s" % (id, [row[1] for row in _TABLE]))
    return chip.name


def chip_id(name):
    """Id of the chip with this name. Raises ValueError for an unknown one."""
    for row in _TABLE:
        if row[0] == name:
            return row[1]
    names = ", ".join(sorted([row[0] for row in _TABLE]))
    raise ValueError("chip %r: expected one of %s" % (name, names))


def describe(id):
    """`9 (esp32s3)`, or the bare number of an unknown chip: for messages."""
    chip = by_id(id)
    return "%d (%s)" % (id, chip.name) if chip else str(id)
