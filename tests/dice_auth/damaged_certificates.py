"""Random damage to certificates: bytes, bits, stretches, elements, lengths; from a seed."""

import random
from functools import cache

from tests.dice_auth.bad_certificates import element_at, paths


def mutated(generator: random.Random, certificate: bytes, other: bytes) -> bytes:
    """A certificate damaged once or a few times; `other`: what a splice takes its bytes from."""
    data = bytearray(certificate)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
        generator.choice(_MUTATIONS)(generator, data, other)
    return bytes(data)


def _place(generator: random.Random, data: bytearray) -> int:
    return generator.randrange(len(data)) if data else 0


def _stretch(generator: random.Random, data: bytearray) -> slice:
    start = _place(generator, data)
    return slice(start, start + generator.choice((1, 1, 2, 4, 20, 64, 200)))


def _set_byte(generator: random.Random, data: bytearray, other: bytes) -> None:
    data[_one(generator, data)] = bytes([generator.randrange(256)])


def _one(generator: random.Random, data: bytearray) -> slice:
    at = _place(generator, data)
    return slice(at, at + 1)


def _flip_bit(generator: random.Random, data: bytearray, other: bytes) -> None:
    where = _one(generator, data)
    data[where] = bytes(byte ^ (1 << generator.randrange(8)) for byte in data[where])


def _set_awkward_byte(generator: random.Random, data: bytearray, other: bytes) -> None:
    data[_one(generator, data)] = generator.choice((b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff"))


def _delete(generator: random.Random, data: bytearray, other: bytes) -> None:
    del data[_stretch(generator, data)]


def _cut(generator: random.Random, data: bytearray, other: bytes) -> None:
    del data[_place(generator, data) :]


def _insert(generator: random.Random, data: bytearray, other: bytes) -> None:
    at = _place(generator, data)
    data[at:at] = generator.randbytes(generator.choice((1, 2, 4, 64)))


def _duplicate(generator: random.Random, data: bytearray, other: bytes) -> None:
    stretch = data[_stretch(generator, data)]
    at = _place(generator, data)
    data[at:at] = stretch


def _duplicate_element(generator: random.Random, data: bytearray, other: bytes) -> None:
    element = _some_element(generator, other)
    at = data.find(element)
    if at >= 0:
        data[at:at] = element


def _splice(generator: random.Random, data: bytearray, other: bytes) -> None:
    """The head of one and the tail of the other."""
    at = _place(generator, data)
    data[at:] = other[at:]


def _take_over(generator: random.Random, data: bytearray, other: bytes) -> None:
    """A stretch of the other in the same place."""
    where = _stretch(generator, data)
    data[where] = other[where]


def _exchange_element(generator: random.Random, data: bytearray, other: bytes) -> None:
    """An element of the other in the place of one as long."""
    element = _some_element(generator, other)
    at = data.find(element[:2])
    if at >= 0:
        data[at : at + len(element)] = element


def _edit_length(generator: random.Random, data: bytearray, other: bytes) -> None:
    element = _some_element(generator, other)
    at = data.find(element[:2])
    if at >= 0:
        step = generator.choice((-2, -1, 1, 2, 0x80 - element[1]))
        data[at + 1 : at + 2] = bytes([(element[1] + step) & 0xFF])


@cache
def _elements_of(certificate: bytes) -> list[bytes]:
    return [element_at(certificate, path) for path in paths(certificate)]


def _some_element(generator: random.Random, certificate: bytes) -> bytes:
    return generator.choice(_elements_of(certificate))


_MUTATIONS = (
    _set_byte, _flip_bit, _flip_bit, _set_awkward_byte, _delete, _cut, _insert, _duplicate,
    _duplicate_element, _splice, _take_over, _exchange_element, _edit_length,
)  # fmt: skip
