"""A small world for tests: signed images, boards in memory, a TLS agent that does as it is told.

Keys and certificates are made once a test process.
"""

import asyncio
import functools
import ipaddress
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from esp_image import build
from ota_service import OtaService
from tests.esp_image import signing
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

MAC = bytes.fromhex("240ac4000001")
CHIP = "esp32c6"
FLASH_BYTES = 1024 * 1024
SLOTS = {"ota_0": (0x10000, 0x60000), "ota_1": (0x70000, 0x60000)}  # 1 MB laid out


@functools.cache
def key(name: str) -> Any:
    """A P-256 signing key that goes by this name."""
    return signing.make_key("p256")


@functools.cache
def app(version: str, signer: str | None = "owner", project: str = "thermo", chip: str = CHIP,
        size: int = 40_000, secure_version: int = 0) -> bytes:  # fmt: skip
    """An application image, signed unless `signer` is None."""
    plain = build.build_app(version, project, chip=chip, size=size, secure_version=secure_version)
    return plain if signer is None else signing.sign(plain, key(signer))


def board(image: bytes, mac: bytes = MAC, **efuse: Any) -> VirtualBoard:
    """A board in memory with `image` in ota_0, booted."""
    efuse.setdefault("chip", CHIP)
    flash = NorFlash(MemoryStorage(flash_content(FLASH_BYTES, image)))
    made = VirtualBoard(flash, EFuse(mac, **efuse))
    made.boot()
    OtaService(made)  # its application has run before
    return made


def slot_bytes(of: VirtualBoard, label: str) -> bytes:
    """What a slot holds."""
    return bytes(of.flash.read(*SLOTS[label]))


class Authority:
    """A CA in memory. `ca` is its certificate in DER."""

    def __init__(self, name: str = "test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(self._name, self._key.public_key(), None, is_ca=True)
        self.ca = certificate.public_bytes(serialization.Encoding.DER)
        self.ca_pem = certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str = "ota-agent", expired: bool = False) -> tuple[bytes, bytes]:
        """A server certificate and its key, PEM."""
        server_key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(subject, server_key.public_key(), name, expired=expired)
        return certificate.public_bytes(serialization.Encoding.PEM), server_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def _certificate(self, subject: x509.Name, public: Any, name: str | None,
                     is_ca: bool = False, expired: bool = False) -> x509.Certificate:  # fmt: skip
        now = datetime.now(UTC)
        end = datetime(2001, 1, 1, tzinfo=UTC) if expired else now + timedelta(days=2)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if name is not None:
            names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@functools.cache
def authority(name: str) -> Authority:
    """The CA that goes by this name."""
    return Authority(name)


@functools.cache
def server_context(
    ca: str = "test CA", name: str = "ota-agent", expired: bool = False
) -> ssl.SSLContext:
    """A TLS server context with a certificate for `name`."""
    certificate, private = authority(ca).issue(name, expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in (("c", certificate), ("k", private)):
            Path(folder, file).write_bytes(content)
        context.load_cert_chain(Path(folder, "c"), Path(folder, "k"))
    return context


Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Agent:
    """A TLS server whose sessions are the coroutine functions given, one after the other; the
    last one serves whoever comes after."""

    def __init__(self, *sessions: Session, context: ssl.SSLContext | None) -> None:
        self._sessions = list(sessions)
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self.certificates: list[bytes] = []
        self.connections = 0

    async def __aenter__(self) -> "Agent":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        session = self._sessions[min(self.connections, len(self._sessions)) - 1]
        try:
            self.certificates.append(await reader.read(4096))
            await session(reader, writer)
        except OSError:
            pass  # the board hung up, as it does when it refuses
        finally:
            writer.transport.abort()


def sends(content: bytes, pieces: int = 16384) -> Session:
    """A session that sends these bytes and closes."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(content), pieces):
            writer.write(content[start : start + pieces])
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    return session


def stalls_after(content: bytes) -> Session:
    """A session that sends these bytes and then nothing, with the connection open."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        await reader.read()

    return session


def resets_after(content: bytes) -> Session:
    """A session that sends these bytes and breaks the connection."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return session


def service(of: VirtualBoard, agent: Agent, **settings: Any) -> OtaService:
    """An OtaService that trusts the test CA and is quick to give up."""
    defaults = {
        "agent_ca": authority("test CA").ca,
        "agent_port": agent.port,
        "attempts": 1,
        "retry_delay_s": 0,
        "connect_s": 5,
        "first_byte_s": 5,
        "read_s": 5,
    }
    return OtaService(of, {**defaults, **settings})
