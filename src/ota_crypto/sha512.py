"""SHA-512 and SHA-384 (FIPS 180-4) for runtimes whose hashlib lacks them.

The compression function comes from `compat`: viper machine code where there is some.
State, schedule and constants are 64-bit words, each kept as two 32-bit words, the high one
first, in the CPU's byte order (little endian on every supported CPU).
"""

import binascii

from . import compat

_BLOCK_BYTES = compat.const(128)

# FIPS 180-4, 5.3.5 and 5.3.4: initial hash values
_INITIAL_512 = (
    "6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1510e527fade682d1"
    "9b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179"
)
_INITIAL_384 = (
    "cbbb9d5dc1059ed8629a292a367cd5079159015a3070dd17152fecd8f70e593967332667ffc00b31"
    "8eb44a8768581511db0c2e0d64f98fa747b5481dbefa4fa4"
)
# FIPS 180-4, 4.2.3: the 80 constants
_ROUND_CONSTANTS = (
    "428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc3956c25bf348b538"
    "59f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118d807aa98a303024212835b0145706fbe"
    "243185be4ee4b28c550c7dc3d5ffb4e272be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235"
    "c19bf174cf692694e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c65"
    "2de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5983e5152ee66dfab"
    "a831c66d2db43210b00327c898fb213fbf597fc7beef0ee4c6e00bf33da88fc2d5a79147930aa725"
    "06ca6351e003826f142929670a0e6e7027b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed"
    "53380d139d95b3df650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353b"
    "a2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30d192e819d6ef5218"
    "d69906245565a910f40e35855771202a106aa07032bbd1b819a4c116b8d2d0c81e376c085141ab53"
    "2748774cdf8eeb9934b0bcb5e19b48a8391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373"
    "682e6ff3d6b2b8a3748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec"
    "90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532bca273eceea26619c"
    "d186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed17806f067aa72176fba0a637dc5a2c898a6"
    "113f9804bef90dae1b710b35131c471b28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc"
    "431d67c49c100d4c4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817"
)

_compress = None
_constants = None


def _words(text):
    """Big-endian hex as 32-bit words in little-endian order."""
    data = bytearray(binascii.unhexlify(text))
    for i in range(0, len(data), 4):
        data[i], data[i + 1], data[i + 2], data[i + 3] = (
            data[i + 3],
            data[i + 2],
            data[i + 1],
            data[i],
        )
    return data


class Sha512:
    """hashlib-style: `update(data)`, `digest()`, `copy()`. One digest, nothing after it."""

    digest_size = 64
    block_size = 128
    _initial = _INITIAL_512

    def __init__(self, data=b""):
        global _compress, _constants
        if _compress is None:
            _constants = _words(_ROUND_CONSTANTS)
            _compress = compat.sha512_compress()
        self._state = _words(self._initial)
        self._schedule = bytearray(_BLOCK_BYTES)
        self._block = bytearray(_BLOCK_BYTES)
        self._length = 0
        if data:
            self.update(data)

    def update(self, data):
        """Feed bytes; allocates nothing but two views."""
        view = memoryview(data)
        count = len(view)
        filled = self._length % _BLOCK_BYTES
        self._length += count
        at = 0
        if filled:
            at = min(_BLOCK_BYTES - filled, count)
            self._block[filled : filled + at] = view[:at]
            if filled + at < _BLOCK_BYTES:
                return
            _compress(self._state, self._block, _constants, self._schedule)
        while count - at >= _BLOCK_BYTES:
            _compress(self._state, view[at : at + _BLOCK_BYTES], _constants, self._schedule)
            at += _BLOCK_BYTES
        self._block[: count - at] = view[at:]

    def digest(self):
        """The hash; the object is spent and its buffers are overwritten."""
        from .memory import wipe

        bits = self._length * 8
        self.update(b"\x80")
        filled = self._length % _BLOCK_BYTES
        if filled > _BLOCK_BYTES - 16:
            self.update(bytes(_BLOCK_BYTES - filled))
            filled = 0
        self.update(bytes(_BLOCK_BYTES - 8 - filled) + bits.to_bytes(8, "big"))
        result = self._state[:]
        for i in range(0, 64, 4):
            word = int.from_bytes(self._state[i : i + 4], "little")
            result[i : i + 4] = word.to_bytes(4, "big")
        for buffer in (self._block, self._schedule, self._state):
            wipe(buffer)
        return bytes(result[: self.digest_size])

    def copy(self):
        """An independent object that has been fed the same bytes."""
        other = type(self)()
        other._state[:] = self._state
        other._block[:] = self._block
        other._length = self._length
        return other


class Sha384(Sha512):
    """SHA-512 with other initial values, cut to 48 bytes."""

    digest_size = 48
    _initial = _INITIAL_384
