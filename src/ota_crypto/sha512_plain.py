"""The compression function of SHA-512 in plain Python: the oracle for the viper version."""

import struct

_MASK = (1 << 64) - 1


def compress(state, block, constants, schedule):
    """Take one block of 128 bytes into `state` (FIPS 180-4, 6.4.2).

    state: 64 bytes, constants: 640, layout as in `sha512_pure`. schedule: 128 bytes of scratch,
    which this version leaves alone.
    """
    w = list(struct.unpack_from(">16Q", block))
    halves = struct.unpack("<160I", constants)
    for t in range(16, 80):
        x, y = w[t - 15], w[t - 2]
        s0 = _rotate(x, 1) ^ _rotate(x, 8) ^ (x >> 7)
        s1 = _rotate(y, 19) ^ _rotate(y, 61) ^ (y >> 6)
        w.append((w[t - 16] + s0 + w[t - 7] + s1) & _MASK)
    words = struct.unpack("<16I", state)
    start = [(words[2 * i] << 32) | words[2 * i + 1] for i in range(8)]
    a, b, c, d, e, f, g, h = start
    for t in range(80):
        k = (halves[2 * t] << 32) | halves[2 * t + 1]
        choice = g ^ (e & (f ^ g))
        t1 = h + (_rotate(e, 14) ^ _rotate(e, 18) ^ _rotate(e, 41)) + choice + k + w[t]
        majority = (a & b) | (c & (a | b))
        t2 = (_rotate(a, 28) ^ _rotate(a, 34) ^ _rotate(a, 39)) + majority
        h, g, f, e = g, f, e, (d + t1) & _MASK
        d, c, b, a = c, b, a, (t1 + t2) & _MASK
    for i, value in enumerate((a, b, c, d, e, f, g, h)):
        total = (start[i] + value) & _MASK
        struct.pack_into("<2I", state, 8 * i, total >> 32, total & 0xFFFFFFFF)


def _rotate(x, n):
    return ((x >> n) | (x << (64 - n))) & _MASK
