"""The chips of the family as text, and what reading an image takes of it; `chips` has the rest.

Text takes a fifth of what objects would, and a board looks at it for an image's first bytes only.
Sources: see `chips`.
"""

from .compat import const

RSA = "rsa-3072"
ECDSA_P192 = "ecdsa-p192"
ECDSA_P256 = "ecdsa-p256"
ECDSA_P384 = "ecdsa-p384"
_PAGE_BYTES = const(0x10000)
_SMALLEST_PAGE_BYTES = const(0x2000)
_PAGE_LOG2 = const((13, 18))
_DIGEST_BYTES = const(32)

# One row a chip: chips.Chip's arguments, numbers but those of blocks and digests in hex, schemes
# by the letters of chips._SCHEMES.
_TABLE = """\
esp32 0 1000 3f400000 3f800000 400d0000 40400000 VR 1 32
esp32s2 2 1000 3f000000 3ff80000 40080000 40800000 R 3 32
esp32c3 5 0 3c000000 3c800000 42000000 42800000 R 3 32
esp32s3 9 0 3c000000 3e000000 42000000 44000000 R 3 32
esp32c2 c 0 3c000000 3c400000 42000000 42400000 12 1 16 pages
esp32c6 d 0 42000000 43000000 42000000 43000000 R12 3 32 pages
esp32h2 10 0 42000000 43000000 42000000 43000000 R12 3 32 pages
esp32p4 12 2000 40000000 44000000 40000000 44000000 R123 3 32
esp32c61 14 0 42000000 44000000 42000000 44000000 12 3 32 pages
esp32c5 17 2000 42000000 44000000 42000000 44000000 R123 3 32"""


def rows():
    """(name, id, the other columns) of each chip."""
    for row in _TABLE.split("\n"):
        columns = row.split()
        yield columns[0], int(columns[1], 16), columns[2:]


def columns_of(id):
    """The other columns of the chip with this id in image headers, None for an unknown one."""
    for _, number, columns in rows():
        if number == id:
            return columns
    return None


def signing_limits(id):
    """(how many blocks of a signature sector the chip looks at, bytes of a key digest in eFuse), as
    chips.Chip's; (None, 32) for an unknown one."""
    columns = columns_of(id)
    return (int(columns[6]), int(columns[7])) if columns else (None, _DIGEST_BYTES)


def mapping(id, page_log2):
    """(drom, irom, bytes of an MMU page) of the chip with this id: how a segment has to lie.
    page_log2: as chips.Chip.page_bytes."""
    columns = columns_of(id)
    ends = [int(column, 16) for column in columns[1:5]]
    return tuple(ends[:2]), tuple(ends[2:]), page_bytes(len(columns) > 8, page_log2)


def page_bytes(pages_vary, page_log2):
    """See chips.Chip.page_bytes."""
    if not pages_vary:
        return _PAGE_BYTES
    if _PAGE_LOG2[0] <= page_log2 <= _PAGE_LOG2[1]:
        return 1 << page_log2
    return _SMALLEST_PAGE_BYTES
