"""A board's identity: the Open Profile for DICE v2 as the Cloud-Native-IoT originals use it.

SHA-512, HKDF-SHA-512, P-256 with deterministic nonces, X.509 certificates as open-dice's mbedTLS
backend writes them. Evidence is `dice.evidence`, imported where used. Not here: what is
measured and where secrets are kept; nothing here reads a device, a file or a clock.
"""

from ota_crypto import lazy

from .errors import CertificateError, DiceError, EvidenceError

__all__ = [
    "CertificateError",
    "DiceError",
    "EvidenceError",
    "InputValues",
    "certificate",
    "device_certificate",
    "device_certificate_steps",
    "device_identity_steps",
    "device_private_key",
    "key_id",
    "key_pair",
    "main_flow",
    "main_flow_steps",
    "root_certificate",
    "root_certificate_steps",
    "uds_from_mac",
]

_WHERE = {
    "InputValues": "input_values",
    "device_certificate": "identity",
    "device_certificate_steps": "identity",
    "device_identity_steps": "identity",
    "device_private_key": "identity",
    "key_id": "keys",
    "key_pair": "keys",
    "main_flow": "flow",
    "main_flow_steps": "flow",
    "root_certificate": "identity",
    "root_certificate_steps": "identity",
    "uds_from_mac": "identity",
}


def __getattr__(name):
    return lazy.attribute(__name__, name, _WHERE)
