"""The attestation server, real ones and what is none."""

import secrets
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.dice_auth.redis_peer import RedisPeer
from tests.ota_cli.doctor.peers import (
    NOW,
    Issuer,
    answers,
    context_of,
    over_tls,
    says,
    silent,
    tcp_server,
    write_identity,
)
from tests.ota_cli.doctor.provoking import doctor, each_provokes, provokes
from tests.ota_cli.processes import server

Serve = Callable[[socket.socket], None]
TOKEN = secrets.token_urlsafe(32)


def token_file(folder: Path, name: str = "token", text: str = TOKEN) -> Path:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def attest(folder: Path, *options: Any):  # type: ignore[no-untyped-def]
    registry = f"sqlite:///{folder}/boards.sqlite"
    return server(
        "attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0", *options
    )  # fmt: skip


def identity(folder: Path, **options: Any) -> Path:
    """Files for a server with the name localhost; its CA as ca.pem."""
    issuer = Issuer("attestation CA")
    options.setdefault("names", ("localhost",))
    write_identity(folder, issuer, **options)
    (folder / "ca.pem").write_bytes(issuer.pem)
    return folder


@provokes("attestation-ok")
def test_a_real_server_over_http_on_this_machine_is_fine(tmp_path: Path) -> None:
    with attest(tmp_path) as url:
        report = doctor("--attestation", url)
        assert report.complaints == []
        assert "attestation-ok" in doctor("--attestation", url.removeprefix("http://")).codes


@provokes(
    "attestation-ok", "attestation-untrusted", "attestation-wrong-name", "attestation-wants-https",
    "attestation-agent-refuses", "attestation-token-refused",
)  # fmt: skip
def test_a_real_server_over_https_with_a_token(tmp_path: Path) -> None:
    files, token = identity(tmp_path / "tls"), token_file(tmp_path)
    other = identity(tmp_path / "other")
    with attest(
        tmp_path,
        "--cert",
        files / "agent.pem",
        "--key",
        files / "agent.key",
        "--agent-tokens",
        token,
    ) as address:
        url = f"https://localhost:{address.rpartition(':')[2]}"

        def complaints(given: str, ca: Path | None, with_token: Path | None = token) -> list[str]:
            options: list[Any] = ["--attestation", given]
            options += ["--attestation-ca", ca] if ca is not None else []
            options += ["--attestation-token", with_token] if with_token is not None else []
            return doctor(*options).complaints

        assert complaints(url, files / "ca.pem") == []
        assert complaints(url, other / "ca.pem") == ["attestation-untrusted"]
        assert complaints(url, None) == ["attestation-untrusted"]
        assert complaints(address, files / "ca.pem") == ["attestation-wrong-name"]
        wrong = token_file(tmp_path, "wrong", "x" * 20)
        assert complaints(url, files / "ca.pem", wrong) == ["attestation-token-refused"]
        assert complaints(url, files / "ca.pem", None) == ["attestation-agent-refuses"]
        assert complaints(url.replace("https", "http"), None) == ["attestation-wants-https"]


@provokes("attestation-token-missing", "attestation-files")
def test_tokens_over_plain_http_on_this_machine(tmp_path: Path) -> None:
    token = token_file(tmp_path)
    with attest(tmp_path, "--agent-tokens", token) as url:
        assert doctor("--attestation", url).complaints == ["attestation-token-missing"]
        assert doctor("--attestation", url, "--attestation-token", token).complaints == []
        token.chmod(0o644)
        report = doctor("--attestation", url, "--attestation-token", token)
        assert report.complaints == ["attestation-files"]
        report = doctor("--attestation", url, "--attestation-ca", token)
        assert report.complaints == ["attestation-files"]
    assert TOKEN not in str(report)


@provokes("attestation-no-protocol-2")
def test_a_server_that_is_closed_to_agents_says_why(tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    with server("attest", "serve", "--registry", registry, "--listen", "0.0.0.0:0") as url:
        report = doctor("--attestation", url.replace("0.0.0.0", "127.0.0.1"))
    assert report.complaints == ["attestation-no-protocol-2"]
    assert "HTTPS" in report.message("attestation-no-protocol-2")


@provokes("attestation-unhealthy")
def test_a_server_whose_redis_died_is_unhealthy(tmp_path: Path) -> None:
    redis = RedisPeer(tmp_path)
    redis.start()
    try:
        with server("attest", "serve", "--registry", redis.url, "--listen", "127.0.0.1:0") as url:
            assert doctor("--attestation", url).complaints == []
            redis.stop()
            assert doctor("--attestation", url).complaints == ["attestation-unhealthy"]
    finally:
        redis.stop()


@provokes("attestation-wants-http")
def test_https_to_a_server_of_http(tmp_path: Path) -> None:
    with attest(tmp_path) as url:
        report = doctor("--attestation", url.replace("http", "https"))
    assert report.complaints == ["attestation-wants-http"]


@each_provokes("days", {"attestation-cert-expired": -1, "attestation-cert-expires-soon": 29})
def test_the_dates_of_the_servers_certificate(code: str, days: int, tmp_path: Path) -> None:
    files, token = identity(tmp_path, end=NOW + timedelta(days=days)), token_file(tmp_path)
    healthy = answers("200 OK", b'{"status": "ok"}')
    with tcp_server(over_tls(context_of(files), healthy)) as address:
        url = f"https://localhost:{address.rpartition(':')[2]}"
        report = doctor(
            "--attestation", url, "--attestation-ca", files / "ca.pem", "--attestation-token", token
        )
    assert report.complaints[0] == code


def by_path(**of: Serve) -> Serve:
    """Another answer for /healthz than for /challenge."""

    def serve(connection: socket.socket) -> None:
        head = connection.recv(65536, socket.MSG_PEEK)
        of["health" if b"/healthz" in head else "challenge"](connection)

    return serve


HEALTHY = answers("200 OK", b'{"status": "ok"}')


@each_provokes("serve", {
    "attestation-not-http": says(b"SSH-2.0-x\r\n"),
    "attestation-not-attestation": answers("404 Not Found", b"<html>\x1b[31m"),
    "attestation-failed": answers("500 Internal Server Error"),
    "attestation-full": by_path(health=HEALTHY, challenge=answers("429 Too Many Requests")),
    "attestation-no-protocol-2": by_path(health=HEALTHY, challenge=answers("404 Not Found")),
    "attestation-unhealthy": by_path(health=HEALTHY, challenge=answers("503 No", b"\xff\x1b[31m")),
})  # fmt: skip
def test_what_answers_instead(code: str, serve: Serve) -> None:
    with tcp_server(serve) as address:
        assert doctor("--attestation", address).complaints == [code]


@provokes("attestation-original", "attestation-no-protocol-2")
def test_the_c_original_can_serve_protocol_1() -> None:
    original = answers("405 Method Not Allowed", b"Only POST method allowed")
    with tcp_server(original) as address:
        report = doctor("--attestation", address)
    assert report.complaints == ["attestation-original", "attestation-no-protocol-2"]
    assert report.exit_code == 0


@provokes("attestation-not-http")
def test_a_server_that_says_nothing_is_waited_for_and_no_longer() -> None:
    with tcp_server(silent) as address:
        assert doctor("--attestation", address).complaints == ["attestation-not-http"]


def test_the_token_goes_nowhere_over_plain_http_beyond_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heads.append(connection.recv(65536, socket.MSG_PEEK))
        HEALTHY(connection)

    # A name of another machine, which leads here.
    monkeypatch.setattr("ota_cli.doctor.ports._look_up", lambda h, p, answer: answer(["127.0.0.1"]))
    with tcp_server(serve) as address:
        url = f"http://attest.example:{address.rpartition(':')[2]}"
        report = doctor("--attestation", url, "--attestation-token", token_file(tmp_path))
    assert "attestation-agent-refuses" in report.complaints
    assert [head for head in heads if TOKEN.encode() in head] == []
    assert [head for head in heads if b"/challenge" in head] != []
