"""What benchmarks/image.py runs under MicroPython: image.bin, key digests as hex; prints figures.

micropython image_board.py SIGNED_RSA SIGNED_P256
"""

import gc
import sys
import time
from hashlib import sha256

from ballast_board import fits_in

from esp_image import ImageParser, readback, signature

CHUNK_BYTES = 4096
ROUNDS = 15
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


def elapsed_us(call, *arguments):
    start = time.ticks_us()
    call(*arguments)
    return time.ticks_diff(time.ticks_us(), start)


def median(values):
    return sorted(values)[len(values) // 2]


def unit():
    """The unit of time: 1000 products of 256 bits modulo a prime."""
    x = b = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
    p = PRIME
    for _ in range(1000):
        x = (x * b) % p


def bare_loop(file, buffer):
    """The yardstick: what reading and hashing alone cost."""
    file.seek(0)
    digest = sha256()
    while True:
        count = file.readinto(buffer)
        if count < CHUNK_BYTES:
            break
        digest.update(buffer)
    digest.digest()


def parse_loop(file, buffer):
    file.seek(0)
    parser = ImageParser(signed=True)
    while True:
        count = file.readinto(buffer)
        if count < CHUNK_BYTES:
            break
        parser.feed(buffer)
    parser.close()


def stream(file, buffer):
    """One image through a parser: what the caller holds is the buffer."""
    parse_loop(file, buffer)


def read_back(file, buffer):
    """One slot read back, its signature verified; the caller holds nothing of it."""

    def read(offset, chunk):
        file.seek(offset)
        file.readinto(chunk)

    readback.verify_slot(read, 1 << 24, None)


def fits(free_bytes, call, path):
    """Whether a call succeeds, its code loaded, with this many bytes free and in one piece."""
    with open(path, "rb") as file:
        buffer = bytearray(CHUNK_BYTES)
        call(file, buffer)
        return fits_in(free_bytes, lambda: call(file, buffer))


def verification(path):
    """Parsing and verifying the signature sector of an image, without the hash of the image."""
    with open(path, "rb") as file:
        file.seek(-CHUNK_BYTES, 2)
        sector = file.read(CHUNK_BYTES)
    digest = signature.parse_sector(sector)[0].image_digest
    gc.collect()
    return min([elapsed_us(signature.verify, sector, digest, None) for _ in range(9)])


def print_times(rsa_path, p256_path):
    unit_us = min([elapsed_us(unit) for _ in range(25)])
    # Both verifications once before, so that no import is measured.
    verification(rsa_path)
    verification(p256_path)
    print("unit_us", unit_us)
    print("rsa3072_us", verification(rsa_path))
    print("p256_us", verification(p256_path))
    ratios = []
    with open(rsa_path, "rb") as file:
        buffer = bytearray(CHUNK_BYTES)
        for _ in range(ROUNDS):
            gc.collect()
            bare = elapsed_us(bare_loop, file, buffer)
            gc.collect()
            parsed = elapsed_us(parse_loop, file, buffer)
            ratios.append((parsed / bare, parsed, bare))
    ratio, parsed, bare = median(ratios)
    print("stream_ratio", ratio)
    print("parse_us", parsed)
    print("bare_us", bare)


def main(mode, *arguments):
    if mode == "time":
        print_times(*arguments)
    else:
        call = {"stream": stream, "readback": read_back}[mode]
        path, free_bytes = arguments
        print("enough" if fits(int(free_bytes), call, path) else "too small")


main(*sys.argv[1:])
