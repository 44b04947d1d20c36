"""Keys and certificates of the demonstration, made anew each time and gone with its folder."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from ota_agent import certificate_folder, issuing

_VALID_DAYS = 1


def make_signing_key() -> rsa.RSAPrivateKey:
    """An RSA-3072 key for Secure Boot V2, written nowhere."""
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


def make_agent_certificate(folder: Path) -> None:
    """A CA (ca.pem) and a server certificate for the name ota-agent (agent.pem, agent.key).

    The CA's key is written nowhere.
    """
    until = issuing.expiry(_VALID_DAYS, datetime.now(UTC))
    ca = issuing.make_ca(until)
    agent = issuing.make_server(ca, (), until)
    files = certificate_folder.Folder(folder)
    certificate_folder.write_new(
        (
            certificate_folder.File(files.ca_pem, ca.pem),
            certificate_folder.File(files.certificate, agent.pem),
            certificate_folder.File(files.key, agent.key, secret=True),
        )
    )
