"""The golden evidence by independent libraries: what it claims, and whose signature it has."""

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import dice
from dice import certificate
from esp_image.build import build_app
from tests.micropython import golden_exchange as golden

cbor2 = pytest.importorskip("cbor2", reason="cbor2 is not installed")
cwt = pytest.importorskip("cwt", reason="cwt is not installed")


def test_it_is_what_an_independent_library_verifies_and_reads() -> None:
    image = build_app("1.0.0", "thermo", chip="esp32c6")
    digest = hashlib.sha256(image).digest()
    shown = dice.device_certificate(golden.UDS, 2 * digest, bytes(64))
    assert cbor2.loads(golden.EVIDENCE).value[1] == {33: shown}
    key = x509.load_der_x509_certificate(shown).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    payload = cwt.COSE.new(verify_kid=False).decode(
        golden.EVIDENCE, cwt.COSEKey.from_pem(pem, alg="ES256")
    )
    point = certificate.parse(dice.root_certificate(golden.UDS)).public_key
    compressed = bytes([2 + point[64] % 2]) + point[1:33]
    assert cbor2.loads(payload) == {
        10: golden.NONCE,
        256: b"\x01" + hashlib.sha256(compressed).digest()[:16],
        259: b"esp32c6",
        270: "thermo",
        271: ["1.0.0"],
        -70001: golden.CHANNEL,
        -70002: digest,
    }
