"""SHA-2 with hashlib's manners: an object with `update(data)` and one `digest()`.

What holds on both runtimes: `digest()` is asked once and nothing is fed after it. Only
SHA-384 and SHA-512 objects can always be copied.
"""

import hashlib

from . import backend, compat

_pure = None


def sha256(data=b""):
    """A SHA-256 object (FIPS 180-4), 32 bytes; hashlib's on every runtime."""
    return hashlib.sha256(data)


def sha384(data=b""):
    """A SHA-384 object (FIPS 180-4), 48 bytes."""
    if backend.is_native():
        return hashlib.sha384(data)
    return _own().Sha384(data)


def sha512(data=b""):
    """A SHA-512 object (FIPS 180-4), 64 bytes."""
    if backend.is_native():
        return hashlib.sha512(data)
    return _own().Sha512(data)


def _own():
    """Our own SHA-512, loaded at its first use."""
    global _pure
    if _pure is None:
        # Compiling this one takes the most space of all: it goes first, while nothing is held.
        compat.sha512_compress()
        from . import sha512_pure

        _pure = sha512_pure
    return _pure


_BY_NAME = {"sha256": sha256, "sha384": sha384, "sha512": sha512}
_SIZES = {"sha256": (32, 64), "sha384": (48, 128), "sha512": (64, 128)}


def by_name(name):
    """The constructor for `sha256`, `sha384` or `sha512`; ValueError for another name."""
    if name not in _BY_NAME:
        raise ValueError("hash is sha256, sha384 or sha512, not %r" % (name,))
    return _BY_NAME[name]


def sizes(name):
    """(digest, block) of a hash in bytes; ValueError for a name unknown here."""
    by_name(name)
    return _SIZES[name]
