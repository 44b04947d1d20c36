"""The literals of ota_crypto, made again from their definitions."""

from itertools import islice
from math import isqrt

from ota_crypto import p256_table, sha512_pure
from ota_crypto.p256_curve import PRIME

Point = tuple[int, int]
GENERATOR = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def _primes(count: int) -> list[int]:
    candidates = (n for n in range(2, 1000) if all(n % d for d in range(2, isqrt(n) + 1)))
    return list(islice(candidates, count))


def _cube_root(n: int) -> int:
    low, high = 0, 1 << (n.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= n else (low, middle - 1)
    return low


def _as_words(values: list[int]) -> bytes:
    """64-bit words, each as two little-endian 32-bit words, the high one first."""
    halves = [half for v in values for half in (v >> 32 & 0xFFFFFFFF, v & 0xFFFFFFFF)]
    return b"".join(half.to_bytes(4, "little") for half in halves)


def test_sha_512_constants_are_fractions_of_roots_of_primes() -> None:
    primes = _primes(80)
    assert _as_words([_cube_root(p << 192) for p in primes]) == sha512_pure._ROUND_CONSTANTS
    assert _as_words([isqrt(p << 128) for p in primes[:8]]) == sha512_pure._INITIAL_512
    assert _as_words([isqrt(p << 128) for p in primes[8:16]]) == sha512_pure._INITIAL_384


def _add(a: Point, b: Point) -> Point:
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, PRIME)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, PRIME)
    x = (slope * slope - a[0] - b[0]) % PRIME
    return x, (slope * (a[0] - x) - a[1]) % PRIME


def _shift(point: Point, bits: int) -> Point:
    for _ in range(bits):
        point = _add(point, point)
    return point


def test_the_comb_holds_the_multiples_it_says() -> None:
    teeth = [_shift(GENERATOR, p256_table.SPACING * q) for q in range(p256_table.TEETH)]
    first_half = []
    for j in range(1 << (p256_table.TEETH - 1)):
        point = teeth[-1]
        for q, (x, y) in enumerate(teeth[:-1]):
            point = _add(point, (x, y) if j >> q & 1 else (x, PRIME - y))
        first_half.append(point)
    points = first_half + [_shift(point, p256_table.SPACING // 2) for point in first_half]
    expected = b"".join(x.to_bytes(32, "big") + y.to_bytes(32, "big") for x, y in points)
    assert expected == b"".join(p256_table.POINTS)
