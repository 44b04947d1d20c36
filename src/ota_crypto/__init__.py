"""The cryptography that the board and the servers share, on MicroPython and CPython.

Here: SHA-2. In modules of their own, imported where used: `hmac`, `hkdf`, `hmac_drbg`, `p256`,
`rsa_pss`. On CPython `hashlib` and `cryptography` do the work; on MicroPython our own code does,
which is not constant-time: its bignums are not, and someone who can measure the board's power
or timing closely can learn its keys. Not here: TLS, symmetric ciphers, random numbers.
"""

from . import lazy

__all__ = ["sha256", "sha384", "sha512", "wipe"]

_WHERE = {"sha256": "hashes", "sha384": "hashes", "sha512": "hashes", "wipe": "memory"}


def __getattr__(name):
    return lazy.attribute(__name__, name, _WHERE)
