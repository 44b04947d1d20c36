"""The signature that the demonstration makes by itself, before Espressif's espsecure."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization

from esp_image.build import build_app
from ota_cli.demo import keys, signature
from tests.esp_image import signing


def test_what_the_demonstration_signs_is_right_to_espsecure(tmp_path: Path) -> None:
    key, signed, pem = keys.make_signing_key(), tmp_path / "signed.bin", tmp_path / "key.pub"
    signed.write_bytes(signature.sign(build_app("1.0", "thermo", "esp32", size=20000), key))
    pem.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    code, said = signing.run("espsecure", "verify-signature", "-v", "2", "-k", pem, signed)
    assert code == 0, said
    assert "verification successful" in said
