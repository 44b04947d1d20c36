"""Signing an image for Secure Boot V2 with Espressif's espsecure command.

espsecure is GPL: it is run, never imported.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from esp_image import ImageError, ImageParser
from ota_cli.errors import CommandError
from ota_cli.files import read_bytes

_RSA_BITS = 3072
_CURVES = ("secp192r1", "secp256r1", "secp384r1")
_EXPECTED = "expected an unencrypted private key, PEM: RSA-3072 or ECDSA P-192, P-256 or P-384"


def check_unsigned(content: bytes, name: str) -> None:
    """Raise CommandError unless this is one whole image without a signature."""
    parser = ImageParser(signed=None)
    try:
        parser.feed(content)
        parser.close()
    except ImageError as error:
        raise CommandError(f"{name}: {error.code}: {error}") from None
    if parser.signature_sector is not None:
        raise CommandError(f"{name}: signed-image: signed already; sign the unsigned image")


def check_private_key(path: Path) -> None:
    """Raise CommandError unless the file is a key that Secure Boot V2 signs with."""
    content = read_bytes(path, "key")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CommandError(f"key {path}: {_EXPECTED}") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size != _RSA_BITS:
            raise CommandError(f"key {path}: RSA-{key.key_size}, {_EXPECTED}")
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise CommandError(f"key {path}: {_EXPECTED}")


def sign(content: bytes, key: Path) -> bytes:
    """The image with a signature sector of one block. Raises CommandError."""
    with tempfile.TemporaryDirectory(prefix="ota-service-") as folder:
        plain, signed = Path(folder, "plain.bin"), Path(folder, "signed.bin")
        plain.write_bytes(content)
        command = [sys.executable, "-m", "espsecure", "sign-data", "--version", "2"]
        command += ["--keyfile", str(key), "--output", str(signed), str(plain)]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode == 0 and signed.exists():
            return signed.read_bytes()
    said = done.stderr + done.stdout
    if "No module named" in said:
        raise CommandError("espsecure is missing: pip install 'esp32-ota-service[signing]'")
    raise CommandError(f"espsecure did not sign with {key}: {_reason(said)}")


def _reason(said: str) -> str:
    """The line that says error; else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no reason"])[-1]
