"""Verifying ECDSA signatures on P-256, for runtimes without `cryptography`.

Nothing is secret here: branches follow the numbers. Both scalars share their doublings.
"""

from .p256 import ORDER
from .p256_comb import HALF, comb_point, signed_digits
from .p256_curve import PRIME, add_affine, double, power_steps, square_of_y


def verify_steps(public_key, digest, r, s):
    """See `p256.verify`; r and s are known to be in range. FIPS 186-5, 6.4.2."""
    point = yield from decode_point_steps(public_key)
    if point is None:
        return False
    e = int.from_bytes(digest[:32], "big")
    inverse = yield from power_steps(s, ORDER - 2, ORDER)
    u1 = e * inverse % ORDER
    u2 = r * inverse % ORDER
    total = yield from _multiply_both_steps(u1, u2, point)
    if total is None:
        return False
    # x mod n is compared without leaving Jacobian coordinates: x is r or r + n.
    x, _, z = total
    zz = z * z % PRIME
    if r * zz % PRIME == x:
        return True
    return r + ORDER < PRIME and (r + ORDER) * zz % PRIME == x


def decode_point_steps(encoded):
    """(x, y) of an encoded point, None if it is not one of the curve. SEC 1, 2.3.4."""
    form = encoded[0] if len(encoded) else None
    if not ((len(encoded) == 65 and form == 4) or (len(encoded) == 33 and form in (2, 3))):
        return None
    x = int.from_bytes(bytes(encoded[1:33]), "big")
    if x >= PRIME:
        return None
    square = square_of_y(x)
    if form == 4:
        y = int.from_bytes(bytes(encoded[33:]), "big")
    else:
        # p = 3 mod 4: the square root, if there is one
        y = yield from power_steps(square, (PRIME + 1) // 4, PRIME)
        if y & 1 != form & 1:
            y = PRIME - y
    if y >= PRIME or y * y % PRIME != square:
        return None
    return x, y


def _multiply_both_steps(u1, u2, point):
    """u1 G + u2 Q for public scalars; None for infinity."""
    negated = u1 & 1 == 0
    digits = signed_digits(ORDER - u1 if negated else u1)
    odd = yield from _odd_multiples_steps(point)
    naf = _non_adjacent_form(u2)
    # the comb needs its steps even if u2 is short
    naf += [0] * (HALF - len(naf))
    total = None
    for i in range(len(naf) - 1, -1, -1):
        total = double(total)
        if naf[i]:
            total = _add(total, _signed(odd, naf[i]))
        if i < HALF:
            for column, base in ((i + HALF, 16), (i, 0)):
                x, y = comb_point(digits, column, base)
                total = add_affine(total, (x, -y if negated else y))
        if i % 2 == 0:
            yield
    return total


def _odd_multiples_steps(point):
    """Q, 3Q, 5Q ... 15Q in Jacobian coordinates."""
    first = (point[0], point[1], 1)
    twice = double(first)
    multiples = [first]
    for _ in range(7):
        if len(multiples) % 4 == 0:
            yield
        multiples.append(_add(multiples[-1], twice))
    return multiples


def _signed(odd, digit):
    if digit > 0:
        return odd[digit >> 1]
    x, y, z = odd[-digit >> 1]
    return x, PRIME - y, z


def _non_adjacent_form(k):
    """k's digits of width 5, lowest first: 0 or odd, -15..15, followed by four zeros."""
    digits = []
    while k:
        if k & 1:
            digit = k & 31
            if digit > 15:
                digit -= 32
            k -= digit
            digits.append(digit)
        else:
            digits.append(0)
        k >>= 1
    return digits


def _add(point, other):
    """The sum of two points; 16 products."""
    if point is None:
        return other
    if other is None:
        return point
    x1, y1, z1 = point
    x2, y2, z2 = other
    p = PRIME
    zz1 = z1 * z1 % p
    zz2 = z2 * z2 % p
    u1 = x1 * zz2 % p
    s1 = y1 * (z2 * zz2 % p) % p
    h = (x2 * zz1 - u1) % p
    r = (y2 * (z1 * zz1 % p) - s1) % p
    if h == 0:
        return double(point) if r == 0 else None
    hh = h * h % p
    hhh = h * hh % p
    v = u1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - s1 * hhh) % p, z1 * z2 % p * h % p
