"""Keys made at test time and signature sectors written by hand, so that they can also be wrong.

That the right ones are right is espsecure's to say (test_against_espsecure.py).
"""

import hashlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

SECTOR_BYTES = 4096
BLOCK_BYTES = 1216
BIN = Path(sys.executable).parent
CURVES = {"p192": ec.SECP192R1, "p256": ec.SECP256R1, "p384": ec.SECP384R1}


def run(tool, *arguments):
    """Run esptool or espsecure as a command; its exit code and all that it printed."""
    done = subprocess.run(
        [str(BIN / tool), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def make_key(kind):
    if kind == "rsa":
        return rsa.generate_private_key(65537, 3072)
    return ec.generate_private_key(CURVES[kind]())


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def public_pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def pad(image):
    return image + b"\xff" * (-len(image) % SECTOR_BYTES)


def sign(image, *keys):
    """The image, padded, with one signature block a key."""
    padded = pad(image)
    return padded + sector_of(*[block(padded, key) for key in keys])


def sector_of(*blocks):
    return b"".join(blocks).ljust(SECTOR_BYTES, b"\xff")


def block(padded, key, digest=None):
    if isinstance(key, rsa.RSAPrivateKey):
        return finish(_rsa_fields(padded, key, digest))
    return finish(_ecdsa_fields(padded, key, digest))


def finish(fields):
    """CRC and the closing zeros behind a block's 1196 bytes."""
    fields = fields.ljust(1196, b"\x00")
    return fields + struct.pack("<I", zlib.crc32(fields)) + bytes(16)


def _rsa_fields(padded, key, digest):
    digest = digest or hashlib.sha256(padded).digest()
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    signature = key.sign(digest, pss, utils.Prehashed(hashes.SHA256()))
    numbers = key.public_key().public_numbers()
    return struct.pack(
        "<BBxx32s384sI384sI384s",
        0xE7,
        2,
        digest,
        numbers.n.to_bytes(384, "little"),
        numbers.e,
        ((1 << 6144) % numbers.n).to_bytes(384, "little"),
        -pow(numbers.n, -1, 1 << 32) % (1 << 32),
        signature[::-1],
    )


def _ecdsa_fields(padded, key, digest):
    curve, size, field = {
        "secp192r1": (1, 24, 64),
        "secp256r1": (2, 32, 64),
        "secp384r1": (3, 48, 96),
    }[key.curve.name]
    algorithm = hashes.SHA384() if curve == 3 else hashes.SHA256()
    digest = digest or hashlib.new(algorithm.name, padded).digest()
    r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(algorithm))))
    numbers = key.public_key().public_numbers()

    def pair(a, b):
        return (a.to_bytes(size, "little") + b.to_bytes(size, "little")).ljust(field, b"\x00")

    head = bytes([0xE7, 3, curve == 3, 0]) + digest + bytes([curve])
    return head + pair(numbers.x, numbers.y) + pair(r, s)
