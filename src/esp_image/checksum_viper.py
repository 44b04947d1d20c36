"""xor_plain in machine code, for MicroPython ports with the viper emitter.

Imported nowhere else: without the emitter this module does not compile.
"""

import micropython


@micropython.viper
def xor_viper(data, start: int, size: int, seed: int) -> int:
    """XOR of `size` bytes of data from `start` onto `seed`, 0..255. Does not allocate."""
    # Words of 32 bits wherever they are aligned: the ESP32 cannot load others from flash or IRAM.
    source = ptr8(data)  # noqa: F821
    address = int(source) + start
    end = address + size
    while address < end and address & 3:
        seed ^= ptr8(address)[0]  # noqa: F821
        address += 1
    words = ptr32(address)  # noqa: F821
    count = (end - address) >> 2
    block_end = count & ~7
    word = 0
    i = 0
    while i < block_end:
        word ^= words[i] ^ words[i + 1] ^ words[i + 2] ^ words[i + 3]
        word ^= words[i + 4] ^ words[i + 5] ^ words[i + 6] ^ words[i + 7]
        i += 8
    while i < count:
        word ^= words[i]
        i += 1
    address += count << 2
    while address < end:
        seed ^= ptr8(address)[0]  # noqa: F821
        address += 1
    word ^= word >> 16
    return (seed ^ word ^ (word >> 8)) & 0xFF
