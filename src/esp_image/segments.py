"""The segments of an image: what their headers may say.

Source: ESP-IDF esp_image_format.c, process_segment and verify_segment_header. Stricter than
that: segments may not overlap in the chip's address space.
"""

from .compat import const
from .errors import ImageError

SEGMENT_HEADER_BYTES = 8
DESCRIPTOR_BYTES = 256  # as header's, which is not held as long
_MAX_SEGMENT_BYTES = const(0x1000000)

# Below this address nothing is loaded: 0 is padding (should_load).
_LOWEST_LOADED = const(0x10000000)


class Segment:
    """One segment. address: where the chip loads or maps it. offset: of its data in the image."""

    def __init__(self, address, size, offset):
        self.address = address
        self.size = size
        self.offset = offset

    def __repr__(self):
        return "Segment(0x%08x, 0x%x bytes at 0x%x)" % (self.address, self.size, self.offset)


def check_segment(segment, before, is_app):
    """Check a segment's header against the rules and against the segments before it.

    Raises ImageError at the header's last byte: `segment-length`, `descriptor-missing`,
    `segment-address`, `segment-overlap`.
    """
    last = segment.offset - 1
    if segment.size & 3 or segment.size >= _MAX_SEGMENT_BYTES:
        raise ImageError(
            "segment-length",
            "segment %d: length 0x%x, expected a multiple of 4 below 16 MiB"
            % (len(before), segment.size),
            last,
        )
    if is_app and not before and segment.size < DESCRIPTOR_BYTES:
        raise ImageError(
            "descriptor-missing",
            "segment 0: length %d, an app descriptor needs 256 bytes" % segment.size,
            last,
        )
    if segment.address + segment.size > 0x100000000:
        raise ImageError(
            "segment-address", "%r runs past the end of the address space" % segment, last
        )
    for other in before:
        if _overlap(segment, other):
            raise ImageError("segment-overlap", "%r overlaps %r" % (segment, other), last)


def check_mapping(segment, index, mapping, offset):
    """Check that a flash-mapped segment lies in flash as it lies in memory, modulo the MMU's page.

    Slots start at a multiple of 64 KiB. mapping: as chip_table.mapping gives it. offset: the byte
    to blame. Raises ImageError("segment-mapping"). Whether it is mapped: esp_image_format.c,
    should_map.
    """
    drom, irom, page = mapping
    address = segment.address
    if not (drom[0] <= address < drom[1] or irom[0] <= address < irom[1]):
        return
    if segment.address % page != segment.offset % page:
        raise ImageError(
            "segment-mapping",
            "segment %d: address 0x%08x cannot map offset 0x%x (pages of 0x%x bytes)"
            % (index, segment.address, segment.offset, page),
            offset,
        )


def _overlap(a, b):
    if not a.size or not b.size or a.address < _LOWEST_LOADED or b.address < _LOWEST_LOADED:
        return False
    return a.address < b.address + b.size and b.address < a.address + a.size
