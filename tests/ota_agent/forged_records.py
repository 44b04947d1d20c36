"""Records of TLS 1.3 (RFC 8446) that no library sends, under a board's own keys."""

import hashlib
import hmac
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HANDSHAKE, DATA = 22, 23


class RecordForger:
    """key_log: what the board's `ssl` has written (SSLContext.keylog_filename) of one connection,
    with a suite of AES-GCM, over which it has sent nothing since the handshake."""

    def __init__(self, key_log: Path) -> None:
        lines = [line.split() for line in key_log.read_text().splitlines()]
        self._secret = bytes.fromhex(
            next(line[2] for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0")
        )
        is_long = len(self._secret) == hashlib.sha384().digest_size
        self._hash, self._key_bytes = ("sha384", 32) if is_long else ("sha256", 16)
        self._begin()

    def record(self, kind: int, content: bytes) -> bytes:
        inner = content + bytes([kind])
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._key.encrypt(nonce, inner, header)

    def key_update(self) -> bytes:
        """And the next record is under the new keys (section 4.6.3)."""
        record = self.record(HANDSHAKE, b"\x18\0\0\x01\0")
        self._secret = self._expand(b"traffic upd", len(self._secret))
        self._begin()
        return record

    def _begin(self) -> None:
        self._key = AESGCM(self._expand(b"key", self._key_bytes))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._number = 0

    def _expand(self, label: bytes, count: int) -> bytes:
        """HKDF-Expand-Label (section 7.1), one block of it."""
        label = b"tls13 " + label
        info = count.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return hmac.new(self._secret, info + b"\x01", self._hash).digest()[:count]
