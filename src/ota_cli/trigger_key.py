"""The trigger key of a board: reading its file, and proving it to the board (protocol.md, A)."""

import hmac
import re
from pathlib import Path

from ota_cli.errors import CommandError
from ota_cli.files import read_bytes

_KEY_BYTES = 32
_HEX = re.compile(rb"[0-9a-fA-F]{64}\s*")


def read_trigger_key(path: Path) -> bytes:
    """32 bytes from a file that holds them, or 64 hex digits. Raises CommandError.

    The content is a secret: no message shows any of it.
    """
    content = read_bytes(path, "trigger key")
    if len(content) == _KEY_BYTES:
        return content
    if not _HEX.fullmatch(content):
        raise CommandError(f"trigger key {path}: expected 64 hex digits, or 32 bytes")
    return bytes.fromhex(content.decode())


def proof(key: bytes, nonce: str, method: str, body: bytes) -> dict[str, str]:
    """The headers that prove the key for one request. nonce: as GET /update gives it."""
    mac = hmac.digest(key, nonce.encode() + method.encode() + body, "sha256")
    return {"OTA-Nonce": nonce, "OTA-MAC": mac.hex()}
