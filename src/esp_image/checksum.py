"""The image checksum: all bytes of all segments, XORed onto 0xEF.

Source: ESP-IDF esp_image_format.c, process_checksum, ESP_ROM_CHECKSUM_INITIAL.
`compat.xor_bytes` is the fastest version the runtime has; this one is what they are tested with.
"""

CHECKSUM_SEED = 0xEF


def xor_plain(data, start, size, seed):
    """XOR of `size` bytes of data from `start` onto `seed`, 0..255. Does not allocate."""
    for i in range(start, start + size):
        seed ^= data[i]
    return seed
