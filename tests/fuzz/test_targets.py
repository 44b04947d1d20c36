"""A short run of every fuzz target, without atheris: its seeds, and 500 mutations of them."""

import random

import pytest

from tests.fuzz.targets import TARGETS

INTERESTING = [b"\x00" * 4, b"\xff" * 4, b"\xfc\xff\xff\xff", b"\x00\x00\x00\x80", b"\xe7\x03"]


def mutate(rng, data):
    """A few changes, most of them near the start, where the headers are."""
    data = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(min(len(data), 512 if rng.random() < 0.7 else len(data)))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + 4] = rng.choice(INTERESTING)
        elif kind == 2:
            del data[at : at + rng.randrange(64)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(32))
        data = data or bytearray(1)
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_lets_no_undocumented_exception_out(name):
    rng = random.Random(name)
    seeds = TARGETS[name].seeds()
    for seed in seeds:
        TARGETS[name].run(seed)
    for _ in range(500):
        TARGETS[name].run(mutate(rng, rng.choice(seeds)))
