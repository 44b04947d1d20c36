"""Points of P-256 on Python's integers, and powers modulo a prime.

Jacobian coordinates (x / z^2, y / z^3), None for infinity, after Guide to Elliptic Curve
Cryptography, 3.2.2. Not constant-time: Python's integers are not.
"""

# SP 800-186, 3.2.1.3
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


def square_of_y(x):
    """What the square of y is at this x, if there is such a point. SP 800-186, 2.1.1."""
    return (x * x * x - 3 * x + _B) % PRIME


def is_on_curve(x, y):
    """Whether (x, y), both below the prime, is a point."""
    return y * y % PRIME == square_of_y(x)


def double(point):
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


def add_affine(point, other):
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
        return double(point) if r == 0 else None
    hh = h * h % p
    hhh = h * hh % p
    v = x1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    return x3, (r * (v - x3) - y1 * hhh) % p, z1 * h % p


def power_steps(base, exponent, modulus):
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
