"""What benchmarks/dice.py runs, under MicroPython and CPython; prints figures.

dice_board.py time [BACKEND] | plain | first FREE_BYTES | again FREE_BYTES
"""

import gc
import sys
import time

if sys.implementation.name == "micropython":
    from ballast_board import fits_in

# this folder holds a dice.py of its own
sys.path.pop(0)

import dice
from ota_crypto import backend, p256, sha256

ROUNDS = 25
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
UDS = bytes(range(32))
KEY = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721

if hasattr(time, "ticks_us"):

    def elapsed_us(call):
        start = time.ticks_us()
        call()
        return time.ticks_diff(time.ticks_us(), start)

else:

    def elapsed_us(call):
        start = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - start) / 1000


def unit():
    x = b = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
    p = PRIME
    for _ in range(1000):
        x = (x * b) % p


def in_units(call):
    """The call's least time over the unit's: on a busy machine a longer call is cut in more often,
    which no mean forgives."""
    call()
    taken, units = [], []
    for _ in range(ROUNDS):
        gc.collect()
        units.append(elapsed_us(unit))
        taken.append(elapsed_us(call))
    return min(taken) / min(units)


def make_certificate():
    return dice.device_certificate(UDS, bytes(64), bytes(64))


def sha512_block_us():
    """One block of 128 bytes, the least of some runs of 64 blocks."""
    from ota_crypto import sha512

    blocks = bytes(64 * 128)
    hashed = sha512()
    return min([elapsed_us(lambda: hashed.update(blocks)) for _ in range(ROUNDS)]) / 64


def print_times():
    digest = sha256(b"sample").digest()
    public_key = p256.public_key(KEY)
    r, s = p256.sign(KEY, digest)
    print("sha512_block_us", round(sha512_block_us(), 2))
    for name, call in (
        ("key_pair_units", lambda: dice.key_pair(UDS)),
        ("sign_units", lambda: p256.sign(KEY, digest)),
        ("verify_units", lambda: p256.verify(public_key, digest, r, s)),
        ("device_certificate_units", make_certificate),
    ):
        print(name, round(in_units(call), 3))
    print("unit_us", round(min([elapsed_us(unit) for _ in range(ROUNDS)])))


def main(mode, argument=None):
    if mode == "time":
        if argument:
            backend.select(argument)
        print_times()
    elif mode == "plain":
        from ota_crypto import compat, sha512_plain

        compat.sha512_compress = lambda: sha512_plain.compress
        print_times()
    else:
        if mode == "again":
            make_certificate()
        print("enough" if fits_in(int(argument), make_certificate) else "too small")


main(*sys.argv[1:])
