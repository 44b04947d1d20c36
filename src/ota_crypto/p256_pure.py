"""P-256 on Python's integers, for runtimes without `cryptography`.

Jacobian coordinates (x / z^2, y / z^3), None for infinity; formulas dbl-2001-b and madd-2007-bl's
relatives as in Guide to Elliptic Curve Cryptography, 3.2. Multiplying the generator uses a comb
whose digits are all odd, so that its steps do not depend on the scalar: no zero digit, no
branch on a bit. What remains secret-dependent is in the integers themselves, and in a table
index. Verification, where nothing is secret, shares its doublings between both scalars.
"""

from .compat import const
from .p256 import ORDER
from .p256_table import POINTS

# SP 800-186, 3.2.1.3
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B

# The comb of p256_table: 6 teeth 44 bits apart, each cut in two halves.
_SPACING = const(44)
_HALF = const(22)
_BITS = const(264)
# One comb step is a doubling (8 products) and two additions (11 each): 3 steps make 90.
_COMB_STEPS_PER_YIELD = const(3)


def public_key_steps(private_key):
    """See `p256.public_key`."""
    point = yield from _multiply_generator_steps(private_key)
    x, y = yield from _affine_steps(point)
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def sign_steps(private_key, digest, hash_name):
    """See `p256.sign`. RFC 6979, 3.2; FIPS 186-5, 6.4.1."""
    from .hmac_drbg import HmacDrbg
    from .memory import wipe

    e = int.from_bytes(digest[:32], "big") % ORDER
    seed = bytearray(private_key.to_bytes(32, "big") + e.to_bytes(32, "big"))
    nonces = HmacDrbg(seed, hash_name)
    wipe(seed)
    yield
    while True:
        k = int.from_bytes(nonces.generate(32), "big")
        if not 0 < k < ORDER:
            continue
        point = yield from _multiply_generator_steps(k)
        r = (yield from _affine_steps(point))[0] % ORDER
        inverse = yield from _power_steps(k, ORDER - 2, ORDER)
        s = inverse * (e + r * private_key) % ORDER
        if r and s:
            nonces.close()
            return r, s


def verify_steps(public_key, digest, r, s):
    """See `p256.verify`; r and s are known to be in range. FIPS 186-5, 6.4.2."""
    point = yield from decode_point_steps(public_key)
    if point is None:
        return False
    e = int.from_bytes(digest[:32], "big")
    inverse = yield from _power_steps(s, ORDER - 2, ORDER)
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
    square = (x * x * x - 3 * x + _B) % PRIME
    if form == 4:
        y = int.from_bytes(bytes(encoded[33:]), "big")
    else:
        # p = 3 mod 4: the square root, if there is one
        y = yield from _power_steps(square, (PRIME + 1) // 4, PRIME)
        if y & 1 != form & 1:
            y = PRIME - y
    if y >= PRIME or y * y % PRIME != square:
        return None
    return x, y


def _multiply_generator_steps(k):
    """k times the generator, 1 <= k < ORDER, by a comb of signed odd digits (Hedabou et al.)."""
    # n is odd: adding it makes an even scalar odd and the product the same.
    k += ORDER * (1 - (k & 1))
    digits = _signed_digits(k)
    point = None
    for i in range(_HALF - 1, -1, -1):
        if point is not None:
            point = _double(point)
        point = _add_affine(point, _comb_point(digits, i + _HALF, 32))
        point = _add_affine(point, _comb_point(digits, i, 0))
        if i % _COMB_STEPS_PER_YIELD == 0:
            yield
    for i in range(len(digits)):
        digits[i] = 0
    return point


def _signed_digits(k):
    """An odd k as 264 digits of +1 and -1; a set bit is +1."""
    return bytearray(((k >> 1) | (1 << (_BITS - 1))).to_bytes(33, "little"))


def _comb_point(digits, column, base):
    """The table's point for one column: (x, y), y with the column's sign."""
    index = 0
    for position in range(column + 5 * _SPACING, -1, -_SPACING):
        index = index << 1 | (digits[position >> 3] >> (position & 7)) & 1
    # The top tooth gives the sign; the others count relative to it.
    sign = 2 * (index >> 5) - 1
    at = ((index ^ (((sign - 1) >> 1) & 63)) & 31 | base) * 64
    x = int.from_bytes(POINTS[at : at + 32], "big")
    return x, sign * int.from_bytes(POINTS[at + 32 : at + 64], "big")


def _multiply_both_steps(u1, u2, point):
    """u1 G + u2 Q for public scalars; None for infinity."""
    negated = u1 & 1 == 0
    digits = _signed_digits(ORDER - u1 if negated else u1)
    odd = _odd_multiples(point)
    naf = _non_adjacent_form(u2)
    total = None
    for i in range(len(naf) - 1, -1, -1):
        total = _double(total)
        if naf[i]:
            total = _add(total, _signed(odd, naf[i]))
        if i < _HALF:
            for column, base in ((i + _HALF, 32), (i, 0)):
                x, y = _comb_point(digits, column, base)
                total = _add_affine(total, (x, -y if negated else y))
        if i % 2 == 0:
            yield
    return total


def _odd_multiples(point):
    """Q, 3Q, 5Q ... 15Q in Jacobian coordinates."""
    first = (point[0], point[1], 1)
    twice = _double(first)
    multiples = [first]
    for _ in range(7):
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


def _double(point):
    """Twice a point; 8 products."""
    if point is None:
        return None
    x, y, z = point
    p = PRIME
    zz = z * z % p
    yy = y * y % p
    beta = x * yy % p
    alpha = 3 * (x - zz) * (x + zz) % p
    x3 = (alpha * alpha - 8 * beta) % p
    # the group's order is odd: there is no point with y = 0
    return x3, (alpha * (4 * beta - x3) - 8 * yy * yy) % p, 2 * y * z % p


def _add_affine(point, other):
    """A point plus an affine one (x, y), whose y may be negative; 11 products."""
    x2, y2 = other
    p = PRIME
    if point is None:
        return x2, y2 % p, 1
    x1, y1, z1 = point
    zz = z1 * z1 % p
    h = (x2 * zz - x1) % p
    r = (y2 * (z1 * zz % p) - y1) % p
    if h == 0:
        return _double(point) if r == 0 else None
    hh = h * h % p
    hhh = h * hh % p
    v = x1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - y1 * hhh) % p, z1 * h % p


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
        return _double(point) if r == 0 else None
    hh = h * h % p
    hhh = h * hh % p
    v = u1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - s1 * hhh) % p, z1 * z2 % p * h % p


def _affine_steps(point):
    """(x, y) of a finite point."""
    x, y, z = point
    inverse = yield from _power_steps(z, PRIME - 2, PRIME)
    squared = inverse * inverse % PRIME
    return x * squared % PRIME, y * squared * inverse % PRIME


def _power_steps(base, exponent, modulus):
    """base ** exponent % modulus for a public exponent of 256 bits, 32 bits at a time.

    MicroPython's three-argument `pow` cannot be interrupted; one digit takes it at most 97
    products. Inverses are powers here because its `pow(x, -1, n)` returns 0.
    """
    powers = {0: 1}
    result = 1
    for shift in range(224, -1, -32):
        digit = (exponent >> shift) & 0xFFFFFFFF
        if digit not in powers:
            powers[digit] = pow(base, digit, modulus)
            yield
        result = pow(result, 0x100000000, modulus) * powers[digit] % modulus
        yield
    return result
