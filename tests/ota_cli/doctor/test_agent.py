"""The agent's port: what answers there, and with which certificate."""

import socket
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests import world
from tests.ota_cli.doctor.peers import (
    CLIENT_AUTH,
    NOW,
    Issuer,
    answers,
    context_of,
    over_tls,
    rsa_key,
    says,
    silent,
    tcp_server,
    write_identity,
)
from tests.ota_cli.doctor.provoking import Report, doctor, each_provokes, provokes
from tests.ota_cli.processes import server

Serve = Callable[[socket.socket], None]


@provokes("agent-ok", "agent-cert-ok", "agent-ca-ok")
def test_a_real_agent_with_the_certificates_of_agent_init_is_fine(
    certs: Path, tmp_path: Path
) -> None:
    firmware = tmp_path / "new.bin"
    firmware.write_bytes(world.app("2.0.0"))
    with server(
        "agent", "--firmware", firmware,
        "--cert", certs / "agent.pem", "--key", certs / "agent.key",
        "--dice-auth-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0",
    ) as address:  # fmt: skip
        for ca in ("ca.der", "ca.pem"):
            report = doctor("--agent", address, "--agent-ca", certs / ca)
            assert report.exit_code == 0
            assert report.complaints == []
        assert "TLSv1.2" in report.message("agent-ok")
        assert "not held against a CA" in doctor("--agent", address).message("agent-cert-ok")


@each_provokes(
    "serve,found",
    {
        "agent-http": (answers("400 Bad Request"), "HTTP/1.1 400"),
        "agent-not-tls": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "SSH-2.0"),
        "agent-silent": (silent, "3 s"),
        "agent-closes": (lambda connection: None, "closed"),
    },
)
def test_another_service_at_the_port_is_told_apart(code: str, serve: Serve, found: str) -> None:
    with tcp_server(serve) as address:
        report = doctor("--agent", address)
    assert report.complaints == [code]
    assert found in report.message(code)


@each_provokes(
    "options",
    {
        "agent-tls-version": {"minimum_version": ssl.TLSVersion.TLSv1_3},
        "agent-tls-cipher": {
            "maximum_version": ssl.TLSVersion.TLSv1_2, "ciphers": "AES128-SHA256",
        },
        "agent-tls-failed": {"maximum_version": ssl.TLSVersion.TLSv1_2, "ciphers": "PSK"},
    },
)  # fmt: skip
def test_tls_that_no_board_speaks_is_found(
    code: str, options: dict[str, object], tmp_path: Path
) -> None:
    folder = write_identity(tmp_path / "rsa", Issuer(), rsa_key())
    with tcp_server(over_tls(context_of(folder, **options))) as address:
        assert doctor("--agent", address).complaints == [code]


def looked_at(folder: Path, ca: Path | None = None) -> Report:
    """An agent with this certificate, held against the CA."""
    with tcp_server(over_tls(context_of(folder))) as address:
        return doctor("--agent", address, "--agent-ca", ca or folder / "ca.der")


@each_provokes(
    "options",
    {
        "agent-cert-expired": {"end": NOW - timedelta(days=1)},
        "agent-cert-expires-soon": {"end": NOW + timedelta(days=29)},
        "agent-cert-not-from-2000": {"begin": NOW - timedelta(days=1)},
        "agent-cert-wrong-name": {"names": ("agent.example", "192.0.2.1")},
        "agent-cert-no-san": {"names": ()},
        "agent-cert-purpose": {"purpose": CLIENT_AUTH},
    },
)
def test_what_is_wrong_with_the_agents_certificate(
    code: str, options: dict[str, object], tmp_path: Path
) -> None:
    report = looked_at(write_identity(tmp_path / "agent", Issuer(), **options))
    assert report.complaints == [code]


def test_an_expired_certificate_between_is_found(tmp_path: Path) -> None:
    root = Issuer("root")
    between = Issuer("between", root, end=NOW - timedelta(days=1))
    folder, ca = tmp_path / "agent", tmp_path / "root.der"
    ca.write_bytes(root.der)
    report = looked_at(write_identity(folder, between, chain=(between,)), ca)
    assert report.complaints == ["agent-cert-expired"]
    assert "'between'" in report.message("agent-cert-expired")


def test_a_ca_that_another_ca_issued_is_enough_on_a_board(tmp_path: Path) -> None:
    folder = write_identity(tmp_path / "agent", Issuer("between", Issuer("root")))
    assert looked_at(folder).complaints == []


def test_the_agents_own_certificate_in_place_of_the_ca_is_found(certs: Path) -> None:
    report = looked_at(certs, certs / "agent.pem")
    assert report.complaints == ["agent-unknown-issuer", "agent-ca-not-ca"]


def test_a_certificate_with_a_month_left_is_fine(tmp_path: Path) -> None:
    folder = write_identity(tmp_path / "agent", Issuer(), end=NOW + timedelta(days=31))
    assert looked_at(folder).complaints == []


@provokes("agent-cert-not-yet-valid", "agent-cert-not-from-2000")
def test_a_certificate_of_tomorrow_is_not_valid_yet(tmp_path: Path) -> None:
    folder = write_identity(tmp_path / "agent", Issuer(), begin=NOW + timedelta(days=1))
    assert looked_at(folder).complaints == ["agent-cert-not-yet-valid", "agent-cert-not-from-2000"]


@provokes("agent-cert-key-type")
@pytest.mark.parametrize("kind", ["p256k1", "ed25519"])
def test_a_key_that_boards_do_not_verify_is_found(kind: str, tmp_path: Path) -> None:
    key = (
        ec.generate_private_key(ec.SECP256K1())
        if kind == "p256k1"
        else ed25519.Ed25519PrivateKey.generate()
    )
    folder = write_identity(tmp_path / "agent", Issuer(), key)
    report = doctor("--agent-cert", folder / "agent.pem", "--agent-ca", folder / "ca.der")
    assert report.complaints == ["agent-cert-key-type"]


@provokes("agent-unknown-issuer")
def test_the_wrong_ca_on_the_board_is_found(certs: Path, tmp_path: Path) -> None:
    folder = write_identity(tmp_path / "agent", Issuer("right"))
    other, namesake = tmp_path / "other.der", tmp_path / "namesake.der"
    other.write_bytes(Issuer("other").der)
    namesake.write_bytes(Issuer("right").der)
    report = looked_at(folder, other)
    assert report.complaints == ["agent-unknown-issuer"]
    assert "'other'" in report.message("agent-unknown-issuer")
    assert "'right'" in report.message("agent-unknown-issuer")
    assert "same name" in looked_at(folder, namesake).message("agent-unknown-issuer")


@provokes("agent-self-signed")
def test_a_self_signed_certificate_is_trusted_only_as_it_is(tmp_path: Path) -> None:
    own = Issuer("ota-agent", names=("ota-agent",))
    folder = tmp_path / "agent"
    write_identity(folder, own, own.key)
    (folder / "agent.pem").write_bytes(own.pem)
    assert looked_at(folder).complaints == []
    (tmp_path / "ca.der").write_bytes(Issuer().der)
    assert looked_at(folder, tmp_path / "ca.der").complaints == ["agent-self-signed"]


@provokes("agent-chain-incomplete")
def test_a_chain_counts_whole_or_not_at_all(tmp_path: Path) -> None:
    root = Issuer("root")
    between = Issuer("between", root)
    folder, ca = tmp_path / "agent", tmp_path / "root.der"
    ca.write_bytes(root.der)
    write_identity(folder, between, chain=(between,))
    assert looked_at(folder, ca).complaints == []
    write_identity(folder, between, chain=(root,))
    assert looked_at(folder, ca).complaints == ["agent-chain-incomplete"]
    write_identity(folder, between)
    assert looked_at(folder, ca).complaints == ["agent-unknown-issuer"]


@provokes("agent-not-trusted")
def test_what_openssl_refuses_for_another_reason_is_not_fine(tmp_path: Path) -> None:
    # CA:TRUE, and a path length of 0 above another CA.
    root = Issuer("root", path_length=0)
    between = Issuer("between", root)
    folder, ca = tmp_path / "agent", tmp_path / "root.der"
    ca.write_bytes(root.der)
    write_identity(folder, between, chain=(between,))
    report = looked_at(folder, ca)
    assert report.complaints == ["agent-not-trusted"]
    assert "path length" in report.message("agent-not-trusted")


def test_a_hostile_chain_costs_no_time_and_no_control_characters(tmp_path: Path) -> None:
    evil = [Issuer("\x1b[31m" + "evil" * 12) for _ in range(12)]
    folder = write_identity(tmp_path / "agent", evil[0], chain=tuple(evil))
    (tmp_path / "ca.der").write_bytes(Issuer().der)
    report = looked_at(folder, tmp_path / "ca.der")
    assert report.complaints == ["agent-chain-incomplete"]
    assert "\\x1b" in report.message("agent-chain-incomplete")
