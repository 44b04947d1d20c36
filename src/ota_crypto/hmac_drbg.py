"""HMAC_DRBG (NIST SP 800-90A Rev. 1, 10.1.2): random-looking bytes that a seed determines.

DICE draws key pairs from it, RFC 6979 nonces. No reseeding, no additional input.
"""

from .hashes import sizes
from .hmac import Hmac


class HmacDrbg:
    """A generator; the same seed gives the same bytes for ever."""

    def __init__(self, seed, hash_name="sha512"):
        """seed: all the seed material in one piece. Raises ValueError for an unknown hash."""
        self._hash_name = hash_name
        digest_bytes = sizes(hash_name)[0]
        self._value = b"\x01" * digest_bytes
        self._mac = Hmac(bytes(digest_bytes), hash_name)
        self._fresh = True
        self._update(b"\x00", seed)
        self._update(b"\x01", seed)

    def _update(self, separator, data=b""):
        """Half of HMAC_DRBG_Update (10.1.2.2): a new key, then a new value."""
        key = self._mac.digest(self._value, separator, data)
        self._mac.close()
        self._mac = Hmac(key, self._hash_name)
        self._value = self._mac.digest(self._value)

    def generate(self, length):
        """The next `length` bytes.

        The update that ends a request (10.1.2.5, step 6) is made when the next one begins: the
        last one is never needed.
        """
        if not self._fresh:
            self._update(b"\x00")
        self._fresh = False
        output = b""
        while len(output) < length:
            self._value = self._mac.digest(self._value)
            output += self._value
        return output[:length]

    def close(self):
        """Overwrite the state that can be overwritten; the object is spent."""
        self._mac.close()
        self._value = b""
