from . import certificate as certificate
from .errors import CertificateError as CertificateError
from .errors import DiceError as DiceError
from .errors import EvidenceError as EvidenceError
from .flow import main_flow as main_flow
from .flow import main_flow_steps as main_flow_steps
from .identity import device_certificate as device_certificate
from .identity import device_certificate_steps as device_certificate_steps
from .identity import device_identity_steps as device_identity_steps
from .identity import device_private_key as device_private_key
from .identity import root_certificate as root_certificate
from .identity import root_certificate_steps as root_certificate_steps
from .identity import uds_from_mac as uds_from_mac
from .input_values import InputValues as InputValues
from .keys import key_id as key_id
from .keys import key_pair as key_pair

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
