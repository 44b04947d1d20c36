"""Multiples of P-256's generator by a fixed-base comb (Hedabou, Pinel, Beneteau 2005).

All digits are odd, +1 or -1: every step doubles once and adds twice, whatever the scalar, without
a branch on a bit. What remains secret-dependent is a table index and the integers themselves.
"""

from .compat import const
from .memory import wipe
from .p256 import ORDER
from .p256_curve import add_affine, double
from .p256_table import POINTS

# The comb of p256_table: 5 teeth 52 bits apart, each cut in two halves.
HALF = 26
_SPACING = const(52)
_BITS = const(260)
# A step is a doubling (8 products) and two additions (11 each): 3 steps make 90.
_STEPS_PER_YIELD = const(3)


def multiply_generator_steps(k):
    """k times the generator, 1 <= k < ORDER, by a comb of signed odd digits."""
    # n is odd: adding it makes an even scalar odd and the product the same.
    k += ORDER * (1 - (k & 1))
    digits = signed_digits(k)
    point = None
    for i in range(HALF - 1, -1, -1):
        if point is not None:
            point = double(point)
        point = add_affine(point, comb_point(digits, i + HALF, 16))
        point = add_affine(point, comb_point(digits, i, 0))
        if i % _STEPS_PER_YIELD == 0:
            yield
    wipe(digits)
    return point


def signed_digits(k):
    """An odd k as 260 digits of +1 and -1; a set bit is +1."""
    return bytearray(((k >> 1) | (1 << (_BITS - 1))).to_bytes(33, "little"))


def comb_point(digits, column, base):
    """The table's point for one column: (x, y), y with the column's sign."""
    index = 0
    for position in range(column + 4 * _SPACING, -1, -_SPACING):
        index = index << 1 | (digits[position >> 3] >> (position & 7)) & 1
    # The top tooth gives the sign; the others count relative to it.
    sign = 2 * (index >> 4) - 1
    index = (index ^ (((sign - 1) >> 1) & 31)) & 15 | base
    row, at = POINTS[index >> 3], (index & 7) << 6
    x = int.from_bytes(row[at : at + 32], "big")
    return x, sign * int.from_bytes(row[at + 32 : at + 64], "big")
