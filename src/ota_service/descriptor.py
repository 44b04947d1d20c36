"""The app descriptor of what stands in a slot."""

from esp_image import ImageError, header

_BYTES = header.DESCRIPTOR_OFFSET + header.DESCRIPTOR_BYTES


def read_descriptor(partition):
    """The app descriptor of the image in a partition, or None if there is none.

    Not checked here: whether the image is whole.
    """
    head = bytearray(_BYTES)
    partition.readblocks(0, head, 0)
    try:
        header.parse_header(head)
        return header.parse_descriptor(memoryview(head)[header.DESCRIPTOR_OFFSET :])
    except ImageError:
        return None
