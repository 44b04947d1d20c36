"""Servers that are not what they should be, on sockets of this machine, and certificates."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM
NOW = datetime.now(UTC).replace(microsecond=0)
BEGIN, END = datetime(2000, 1, 1, tzinfo=UTC), NOW + timedelta(days=3000)


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Its address. serve(connection): in a thread for each; the connection is closed after it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopping = threading.Event()

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.settimeout(20)
                serve(connection)

        def accept() -> None:
            while not stopping.is_set():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopping.set()
            with suppress(OSError), socket.create_connection(listener.getsockname(), 1):
                pass
            thread.join(10)


@contextmanager
def full_port() -> Iterator[str]:
    """A port whose queue is full: the kernel answers no further connection, as a firewall."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def says(text: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(text)
        silent(connection)

    return serve


def over_tls(
    context: ssl.SSLContext, then: Callable[[socket.socket], None] = silent
) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            then(tls)

    return serve


def answers(status: str, body: bytes = b"{}", *headers: str) -> Callable[[socket.socket], None]:
    """HTTP: the same to every request."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        head = "".join(f"{line}\r\n" for line in headers)
        head = (
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{head}\r\n"
        )
        connection.sendall(head.encode() + body)

    return serve


def context_of(folder: Path, **options: Any) -> ssl.SSLContext:
    """A server's, with agent.pem and agent.key of a folder. options: attributes of the context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ciphers = options.pop("ciphers", None)
    for name, value in options.items():
        setattr(context, name, value)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    context.load_cert_chain(folder / "agent.pem", folder / "agent.key")
    return context


class Issuer:
    """A CA in memory, as people make them."""

    def __init__(self, name: str = "my CA", parent: "Issuer | None" = None, **options: Any) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        by = parent or self
        self.certificate = by.issue(name, self.key, is_ca=True, **options)
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)
        self.pem = self.certificate.public_bytes(_PEM)

    def issue(
        self,
        name: str,
        key: Any,
        *,
        names: tuple[str, ...] = (),
        begin: datetime = BEGIN,
        end: datetime = END,
        is_ca: bool = False,
        path_length: int | None = None,
        purpose: x509.ObjectIdentifier | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(is_ca, path_length), critical=True)
        )
        if names:
            found = [x509.DNSName(each) for each in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def write_identity(
    folder: Path, issuer: Issuer, key: Any = None, *, chain: tuple[Issuer, ...] = (), **options: Any
) -> Path:
    """agent.pem, agent.key and ca.der in a folder, by this CA. options: as of `Issuer.issue`."""
    folder.mkdir(exist_ok=True)
    key = key or ec.generate_private_key(ec.SECP256R1())
    options.setdefault("names", ("ota-agent",))
    certificate = issuer.issue(options.pop("name", "ota-agent"), key, **options)
    pem = certificate.public_bytes(_PEM) + b"".join(each.pem for each in chain)
    (folder / "agent.pem").write_bytes(pem)
    (folder / "agent.key").write_bytes(
        key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "agent.key").chmod(0o600)
    (folder / "ca.der").write_bytes(issuer.der)
    return folder


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
