import datetime
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import dice
from ota_agent import door, session
from tests.ota_agent.registry_peer import RegistryPeer


@dataclass(frozen=True)
class Identity:
    """The agent's certificate and key, files."""

    certificate: Path
    key: Path


@functools.cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def make_identity(
    directory: Path, kind: str = "ecdsa", names: Sequence[str] = ("ota-agent",)
) -> Identity:
    """A self-signed server certificate for these names, made for this run alone."""
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else _rsa_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ota-agent")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(2040, 1, 1))
        .add_extension(x509.SubjectAlternativeName(map(x509.DNSName, names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(exist_ok=True)
    identity = Identity(directory / "certificate.pem", directory / "key.pem")
    identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    identity.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return identity


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return make_identity(tmp_path / "identity")


@pytest.fixture(scope="session")
def board_certificate() -> bytes:
    uds = dice.uds_from_mac(bytes.fromhex("020000000001"))
    return dice.device_certificate(uds, bytes(64), bytes(64))


@pytest.fixture
def quick_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines are looked at every 20 ms, so that tests of short ones are short."""
    monkeypatch.setattr(door, "_DEADLINES_S", 0.02)
    monkeypatch.setattr(session, "_FAREWELL_S", 0.02)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryPeer]:
    """For tests that break nothing and push under names of their own."""
    with RegistryPeer(tmp_path_factory.mktemp("registry")) as peer:
        yield peer


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryPeer]:
    """One that the test may break."""
    with RegistryPeer(tmp_path / "registry") as peer:
        yield peer
