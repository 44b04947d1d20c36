"""A board's identity: the Open Profile for DICE v2 as the Cloud-Native-IoT originals use it.

SHA-512, HKDF-SHA-512, P-256 with deterministic nonces, X.509 certificates as open-dice's mbedTLS
backend writes them. Evidence is `dice.evidence`, imported where used. Not here: what is
measured and where secrets are kept; nothing here reads a device, a file or a clock.
"""

from . import certificate
from .errors import CertificateError, DiceError, EvidenceError
from .flow import main_flow, main_flow_steps
from .identity import (
    device_certificate,
    device_certificate_steps,
    device_private_key,
    root_certificate,
    root_certificate_steps,
    uds_from_mac,
)
from .input_values import InputValues
from .keys import key_id, key_pair

__all__ = [
    "CertificateError",
    "DiceError",
    "EvidenceError",
    "InputValues",
    "certificate",
    "device_certificate",
    "device_certificate_steps",
    "device_private_key",
    "key_id",
    "key_pair",
    "main_flow",
    "main_flow_steps",
    "root_certificate",
    "root_certificate_steps",
    "uds_from_mac",
]
