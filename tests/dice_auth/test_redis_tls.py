"""Redis over TLS: servers and commands work as without, and what is wrong is one line."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dice_auth.errors import RegistryError
from dice_auth.registry import Registry
from dice_auth.registry_url import open_registry
from ota_cli.command_line import run
from tests.dice_auth.asking import ask, eventually
from tests.dice_auth.boards import board
from tests.dice_auth.certificates import CertificateAuthority, Files
from tests.dice_auth.redis_peer import RedisPeer
from tests.dice_auth.test_server import running
from tests.ota_cli.doctor.provoking import doctor
from tests.ports import free_port

FIRST, SECOND = board(1), board(2)


@dataclass
class TlsRedis:
    """Asks for a client certificate on its TLS port; its other port is plain."""

    peer: RedisPeer
    ca: CertificateAuthority
    client: Files
    tls_port: int

    def url(self, host: str = "localhost", **files: Path) -> str:
        client = {"cert": self.client.certificate, "key": self.client.key}
        given = {"ca": self.ca.certificate, **client, **files}
        query = "&".join(f"{name}={path}" for name, path in given.items())
        return f"rediss://{host}:{self.tls_port}?{query}"


@contextmanager
def tls_redis(folder: Path, ca: CertificateAuthority, shown: Files) -> Iterator[TlsRedis]:
    """One that shows this certificate."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    peer = RedisPeer(
        folder, "--tls-port", str(port), "--tls-cert-file", shown.certificate,
        "--tls-key-file", shown.key, "--tls-ca-cert-file", ca.certificate,
        "--notify-keyspace-events", "Kgh",
    )  # fmt: skip
    peer.start()
    try:
        yield TlsRedis(peer, ca, ca.issue("client", of_client=True), port)
    finally:
        peer.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    folder = tmp_path_factory.mktemp("redis-tls")
    ca = CertificateAuthority(folder, "ca")
    with tls_redis(folder, ca, ca.issue("localhost")) as found:
        yield found


@pytest.fixture(autouse=True)
def empty(redis: TlsRedis) -> None:
    redis.peer.run("FLUSHALL")


def fault(url: str) -> str:
    """Of the first question to it."""

    async def check() -> None:
        async with open_registry(url) as registry:
            await registry.check()

    with pytest.raises(RegistryError) as raised:
        asyncio.run(check())
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_server_gives_its_verdicts_by_it(redis: TlsRedis) -> None:
    """Every way there is to Redis: lookups, batches, nonces, what it tells of changes."""
    redis.peer.run("HSET", SECOND.board_id, "root_cert", SECOND.root_pem)

    async def work(registry: Registry) -> None:
        await registry.enrol(FIRST.board_id, FIRST.root)
        async with running(redis.url()) as address:
            assert await ask(address, FIRST.pem) == 200

            async def is_second(status: int) -> bool:
                return await ask(address, SECOND.pem) == status

            await eventually(lambda: is_second(200), 5)
            redis.peer.run("DEL", SECOND.board_id)
            await eventually(lambda: is_second(401), 5)
        nonce = bytes(32)
        assert await registry.issue_nonce(nonce)
        assert await registry.use_nonce(nonce)
        assert not await registry.use_nonce(nonce)

    async def both() -> None:
        async with open_registry(redis.url("127.0.0.1")) as registry:
            await work(registry)

    asyncio.run(both())


def test_commands_use_it(
    redis: TlsRedis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "registry"
    file.write_text(redis.url())
    monkeypatch.setenv("OTA_REGISTRY_FILE", str(file))
    for words in (
        ["submit", FIRST.board_id],
        ["revoke", FIRST.board_id, "--reason", "stolen"],
        ["list"],
    ):
        assert run(words) == 0
    out = capsys.readouterr().out
    assert FIRST.board_id in out and "revoked" in out
    assert doctor("--board-id", FIRST.board_id).complaints == ["board-revoked"]
    file.write_text(redis.url(ca=CertificateAuthority(tmp_path, "other").certificate))
    assert run(["list"]) == 1
    error = capsys.readouterr().err
    assert "does not verify" in error and error.count("\n") == 1
    report = doctor("--board-id", FIRST.board_id)
    assert report.complaints == ["registry-unreachable"]
    assert "does not verify" in report.message("registry-unreachable")


def test_what_is_not_to_be_believed_is_told(redis: TlsRedis, tmp_path: Path) -> None:
    other = CertificateAuthority(tmp_path, "other")
    assert "is ca=FILE in the URL its CA?" in fault(redis.url(ca=other.certificate))
    # The system's CAs have not issued it either.
    assert "is ca=FILE" in fault(f"rediss://localhost:{redis.tls_port}")
    with tls_redis(tmp_path / "1", redis.ca, redis.ca.issue("elsewhere")) as its:
        assert "not valid for 'localhost'" in fault(its.url())
    with tls_redis(tmp_path / "2", redis.ca, redis.ca.issue("old", expired=True)) as its:
        reason = "its certificate does not verify: certificate has expired"
        assert fault(its.url("127.0.0.1")) == f"Redis at 127.0.0.1:{its.tls_port}: {reason}"


def test_a_redis_that_asks_for_a_certificate_gets_the_one_that_is_named(
    redis: TlsRedis, tmp_path: Path
) -> None:
    bare = f"rediss://localhost:{redis.tls_port}?ca={redis.ca.certificate}"
    # Its reason is an alert after the handshake, which the end of the connection may overtake.
    reasons = "TLS failed: |Connection |Error while "
    assert re.match(f"Redis at localhost:{redis.tls_port}: ({reasons})", fault(bare))
    stranger = CertificateAuthority(tmp_path, "other").issue("stranger", of_client=True)
    strange = fault(redis.url(cert=stranger.certificate, key=stranger.key))
    assert re.match(f"Redis at localhost:{redis.tls_port}: ({reasons})", strange)
    whole = tmp_path / "whole.pem"
    whole.write_bytes(redis.client.certificate.read_bytes() + redis.client.key.read_bytes())

    async def check() -> None:
        async with open_registry(f"{bare}&cert={whole}") as registry:
            await registry.check()

    asyncio.run(check())


def test_tls_to_a_port_without_it_ends_and_is_told(redis: TlsRedis) -> None:
    url = redis.url().replace(f":{redis.tls_port}", f":{redis.peer.port}")
    assert "no TLS is spoken there" in fault(url)
    report = doctor("--registry", url)
    assert "no TLS is spoken there" in report.message("registry-unreachable")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("ca", "no such file"),
        ("cert", "no such file"),
        ("key", "no such file"),
        ("ca=", "expected certificates, PEM"),
        ("cert=", "expected a certificate and its unencrypted key, PEM"),
        ("key=", "expected a certificate and its unencrypted key, PEM"),
    ],
)
def test_a_file_that_will_not_do_is_named_at_once(
    redis: TlsRedis, tmp_path: Path, file: str, said: str
) -> None:
    path = tmp_path / "strange.pem"
    if file.endswith("="):
        path.write_text("no PEM\n")
    with pytest.raises(RegistryError) as raised:
        open_registry(redis.url(**{file.rstrip("="): path}))
    error = str(raised.value)
    assert str(path) in error and said in error and "\n" not in error
