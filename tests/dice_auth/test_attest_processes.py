"""Protocol 2 with `ota-service attest serve` as processes: workers that share what they issue, and
files that are read again."""

import asyncio
import dataclasses
import signal
import socket
import ssl
from pathlib import Path

from tests.dice_auth.asking import eventually
from tests.dice_auth.attesting import BOARD, Agent, enrol
from tests.dice_auth.certificates import CertificateAuthority
from tests.dice_auth.server_process import ServerProcess, server_process, wait_until
from tests.dice_auth.test_workers import workers_of

TOKEN = "an-agents-token-0123456789"


def agent_of(server: ServerProcess) -> Agent:
    return Agent(("127.0.0.1", server.port))


def run(server: ServerProcess, work) -> None:  # type: ignore[no-untyped-def]
    async def limited() -> None:
        async with asyncio.timeout(30):
            await work(agent_of(server))

    asyncio.run(limited())


def test_of_all_workers_one_takes_a_nonce(registry_url: str, tmp_path: Path) -> None:
    """Each request is a connection of its own, which the kernel gives to any of them."""
    asyncio.run(enrol(registry_url, BOARD))

    async def work(agent: Agent) -> None:
        for _ in range(5):
            data = await agent.evidence_of()
            replies = await asyncio.gather(*(agent.attest(data) for _ in range(12)))
            assert sorted(reply.status for reply in replies) == [200] + [401] * 11

    with server_process(registry_url, tmp_path, "--workers", "3") as server:
        run(server, work)


def test_a_hangup_makes_every_worker_read_the_policy(sqlite_url: str, tmp_path: Path) -> None:
    asyncio.run(enrol(sqlite_url, BOARD))
    policy = tmp_path / "policy.toml"
    policy.write_text("")
    options = ("--workers", "2", "--policy", str(policy))
    with server_process(sqlite_url, tmp_path, *options) as server:
        wait_until(lambda: len(workers_of(server)) == 2, 5)

        async def is_affirmed(agent: Agent) -> None:
            assert {(await agent.judge()).status for _ in range(4)} == {200}

        run(server, is_affirmed)
        policy.write_text("modus = 1")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(server.events("not-reloaded")), 5)
        assert "line 1: modus" in str(server.events("not-reloaded")[0]["reason"])
        run(server, is_affirmed)
        policy.write_text("unknown_applications = 'refuse'")
        server.process.send_signal(signal.SIGHUP)

        async def is_refused(agent: Agent) -> None:
            async def by_all() -> bool:
                return {(await agent.judge()).status for _ in range(8)} == {403}

            await eventually(by_all, 10)

        run(server, is_refused)
        assert server.events("reloaded")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_a_server_without_anything_to_read_survives_a_hangup(
    sqlite_url: str, tmp_path: Path
) -> None:
    asyncio.run(enrol(sqlite_url, BOARD))
    with server_process(sqlite_url, tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)

        async def work(agent: Agent) -> None:
            assert (await agent.judge()).status == 200

        run(server, work)


def test_https_in_workers_and_a_log_of_json_lines_alone(sqlite_url: str, tmp_path: Path) -> None:
    """Whatever comes in place of a handshake, or ends one half way."""
    asyncio.run(enrol(sqlite_url, BOARD))
    authority = CertificateAuthority(tmp_path, "ca")
    files = authority.issue("attestation")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    tokens.chmod(0o600)
    options = (
        "--workers", "2", "--cert", str(files.certificate), "--key", str(files.key),
        "--agent-tokens", str(tokens),
    )  # fmt: skip
    context = ssl.create_default_context(cafile=authority.certificate)
    with server_process(sqlite_url, tmp_path, *options) as server:
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b""):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(sent)
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            client.unwrap().close()

        async def work(agent: Agent) -> None:
            known = dataclasses.replace(agent, token=TOKEN, tls=context)
            assert (await known.judge()).status == 200
            assert (
                await dataclasses.replace(known, token="x" * 20).ask("GET", "/challenge")
            ).status == 401

        run(server, work)
        assert server.events("listening")[0]["tls"] is True
        assert len(server.events("agent-refused")) == 1
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
        assert server.events("internal-error") == []
