"""`--trust KEY`: a key whose signature counts, as a file or a digest."""

import re
from pathlib import Path

from ota_cli.errors import EXIT_USAGE, CommandError
from ota_cli.files import read_bytes

_DIGEST_HEX = re.compile(r"[0-9a-fA-F]{64}")


def digest_of(text: str) -> bytes:
    """Of a trusted key, given as such or by its public file. Raises CommandError."""
    if _DIGEST_HEX.fullmatch(text):
        return bytes.fromhex(text)
    from ota_cli.images import key_digest

    path = Path(text)
    if b"PRIVATE KEY" in read_bytes(path, "key"):
        raise CommandError(
            f"--trust {path}: a private key, which has no business on an agent; expected the public"
            " one (espsecure extract-public-key --version 2 --keyfile KEY PUBLIC)",
            EXIT_USAGE,
        )
    return key_digest(path)
