"""Differences between CPython and MicroPython for this package, chosen by trying the feature."""

import hashlib

try:
    import micropython
    from micropython import const

    HAS_NATIVE_CODE = True
except ImportError:

    class micropython:
        """Stands in for the module, so that tools on CPython can import what is marked viper."""

        @staticmethod
        def viper(function):
            return function

    HAS_NATIVE_CODE = False

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
    """The compression function of SHA-512: machine code where viper is, else the plain one."""
    if HAS_NATIVE_CODE:
        try:
            from .sha512_viper import compress

            return compress
        except (ImportError, SyntaxError):  # a build without viper, or without it for this CPU
            pass
    from .sha512_plain import compress

    return compress
