"""The agent's side of TLS: versions, suites, its certificate and key."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL

from ota_agent.errors import CertificateError
from ota_agent.tls_connection import failure_of

# For TLS 1.2: forward secrecy and an AEAD, as every mbedTLS has them. AES-128 first: the ESP32 has
# AES in hardware, and so does the machine this runs on. (TLS 1.3 has no other suites.)
_CIPHERS = b"ECDHE+AES128+AESGCM:ECDHE+CHACHA20:ECDHE+AES256+AESGCM"

_OPTIONS = SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE

# SSL_MODE_ENABLE_PARTIAL_WRITE of openssl/ssl.h: pyOpenSSL sets it, and has no name for it.
_ENABLE_PARTIAL_WRITE = 1

# What OpenSSL says of another key of the same kind, and of another kind.
_ANOTHERS_KEY = ("key values mismatch", "key type mismatch", "no certificate assigned")


@dataclass(frozen=True, slots=True)
class ServerTls:
    """context: for connections. certificate: the first one of its file, which it shows, DER."""

    context: SSL.Context
    certificate: bytes


def server_tls(certificate: Path, key: Path) -> ServerTls:
    """TLS 1.2 or newer with this certificate (chain) and key, PEM; no client certificate.

    Raises CertificateError, one line that names the file and the reason.
    """
    chain, private = _chain_in(certificate, _content(certificate)), _key_in(key, _content(key))
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Where no memory may be made executable (systemd's MemoryDenyWriteExecute) there is no way to
    # be called by OpenSSL: boards that speak TLS 1.3 are given tickets, for which nothing is kept.
    with suppress(MemoryError):
        context.set_tlsext_servername_callback(_give_no_ticket)
    # Of thousands of connections most wait, and need no buffers then.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # What is sent is sent whole, however many records it takes.
    context.clear_mode(_ENABLE_PARTIAL_WRITE)
    try:
        context.use_certificate(chain[0])
        for each in chain[1:]:
            context.add_extra_chain_cert(each)
        context.use_privatekey(private)  # type: ignore[arg-type]
        context.check_privatekey()
    except TypeError as error:
        # One for a key exchange, say.
        raise CertificateError(f"{key}: expected a key that can sign") from error
    except SSL.Error as error:
        reason = failure_of(error)
        if reason in _ANOTHERS_KEY:
            raise CertificateError(f"{key} is not the key of {certificate}") from error
        raise CertificateError(f"{certificate}, {key}: not to be used in TLS ({reason})") from error
    return ServerTls(context, chain[0].public_bytes(serialization.Encoding.DER))


def _give_no_ticket(connection: SSL.Connection) -> None:
    """A board connects once and rarely again, and mbedTLS before 3.6.1 reports a ticket of TLS 1.3
    as an error of the connection. Whatever name it asks for, or none: set before this is called,
    the option turns off tickets of TLS 1.2 alone (SSL_CTX_set_options(3)); set here it turns off
    all, where others could be given a context that has it."""
    connection.set_options(SSL.OP_NO_TICKET)


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file() and not path.is_dir():
        # A pipe would be waited for.
        raise CertificateError(f"{path}: not a regular file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}") from error


def _chain_in(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateError(f"{path}: expected a PEM certificate") from error


def _key_in(path: Path, content: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(content, password=None)
    except TypeError as error:
        raise CertificateError(
            f"{path}: expected an unencrypted key, found an encrypted one"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: expected a PEM private key") from error
