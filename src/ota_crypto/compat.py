"""Differences between CPython and MicroPython for this package, chosen by trying the feature."""

import hashlib

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


try:
    import cryptography as _cryptography
except ImportError:
    _cryptography = None

# hashlib has SHA-512 on CPython, not in MicroPython's builds.
HAS_HASHLIB_SHA512 = hasattr(hashlib, "sha512")
# The `cryptography` package, for P-256 and RSA.
HAS_CRYPTOGRAPHY = _cryptography is not None


def sha512_compress():
    """The compression function of SHA-512: compiled where viper is, else the plain one."""
    try:
        from .sha512_viper import compress
    except (ImportError, SyntaxError):  # no viper on this runtime, or not for this CPU
        from .sha512_plain import compress
    return compress
