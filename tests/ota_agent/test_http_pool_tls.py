"""The attestation client's connections over TLS."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ota_agent.http_pool import HttpPool
from tests import world
from tests.ota_agent.http_answers import NO, OK
from tests.ota_agent.http_peer import (
    Asked,
    listening,
    open_descriptors,
    run,
    scene,
    timers,
    until,
    until_closed,
)


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    """Of a server for 127.0.0.1, by `world.authority("attestation CA")`."""
    certificate, key = world.authority("attestation CA").issue("127.0.0.1")
    (tmp_path / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


@pytest.fixture
def known_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine knows the authority that issued the server's certificate."""
    (tmp_path / "ca.pem").write_bytes(world.authority("attestation CA").ca_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("known_ca")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_https_keeps_its_connection_too(
    server_tls: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    server_tls.minimum_version = server_tls.maximum_version = version

    async def scenario() -> None:
        async with scene(tls=server_tls) as (peer, pool):
            link = None
            for status, raw in ((200, OK), (401, NO)) * 3:
                asked = Asked(pool)
                link = link or await peer.accept()
                await link.request()
                link.send(raw)
                assert await asked.status() == status
            assert not peer.has_more_links

    run(scenario())


def test_a_certificate_of_an_authority_unknown_here_is_not_taken(
    server_tls: ssl.SSLContext,
) -> None:
    async def scenario() -> None:
        async with listening(server_tls) as peer:
            pool = HttpPool(peer.url, 1)
            for _ in range(2):
                assert "certificate verify failed" in await Asked(pool).failure()
            assert pool._unused == 1
            assert not peer.has_more_links

    run(quietly(scenario))


@pytest.mark.usefixtures("known_ca")
def test_a_certificate_for_another_name_is_not_taken(server_tls: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with listening(server_tls) as peer:
            pool = HttpPool(peer.url.replace("127.0.0.1", "localhost"), 1)
            assert "certificate verify failed" in await Asked(pool).failure()
            assert pool._unused == 1

    run(quietly(scenario))


async def quietly(scenario: Callable[[], Awaitable[None]]) -> None:
    """The server's side of a handshake that fails is logged by asyncio; that is not our side."""
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()

    def told(_: Any, each: dict[str, Any]) -> None:
        if not isinstance(each.get("exception"), ssl.SSLError) and handler is not None:
            handler(loop, each)

    loop.set_exception_handler(told)
    await scenario()


def test_a_server_without_tls_where_https_was_meant_is_a_failure() -> None:
    async def scenario() -> None:
        async with listening() as peer:
            pool = HttpPool(peer.url.replace("http:", "https:"), 1)
            asked = Asked(pool)
            (await peer.accept()).send(OK)
            assert await asked.failure()
            assert pool._unused == 1

    run(scenario())


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_handshake_that_never_ends_can_be_ended(how: str) -> None:
    async def scenario() -> None:
        async with listening() as peer:
            before = open_descriptors(), len(asyncio.all_tasks()), len(timers())
            pool = HttpPool(peer.url.replace("http:", "https:"), 1)
            asked = Asked(pool)
            link = await peer.accept()
            if how == "cancel":
                asked.exchange.cancel()
            else:
                pool.close()
            await link.closed()
            await until(lambda: pool._unused == 1)
            await until_closed(peer, before[0])
            assert len(asyncio.all_tasks()) == before[1]
            assert len(timers()) <= before[2]
            assert not asked.is_answered

    run(scenario())


@pytest.mark.usefixtures("known_ca")
def test_over_tls_too_an_answer_before_the_request_is_not_for_it(
    server_tls: ssl.SSLContext,
) -> None:
    async def scenario() -> None:
        async with scene(tls=server_tls) as (peer, pool):
            first = Asked(pool)
            link = await peer.asked()
            link.send(NO)
            await first.status()
            link.send(OK)
            second = Asked(pool)
            (await peer.asked()).send(NO)
            assert await second.status() == 401

    run(scenario())


@pytest.mark.usefixtures("known_ca")
def test_over_tls_what_follows_an_answer_that_fills_the_buffer_is_nobodys(
    server_tls: ssl.SSLContext,
) -> None:
    """TLS holds the rest, decrypted: the socket has nothing to read."""

    async def scenario() -> None:
        async with scene(tls=server_tls) as (peer, pool):
            head = b"HTTP/1.1 401 x\r\nContent-Length: %05d\r\n\r\n"
            length = len(pool.buffer) - len(head % 0)
            first, second = Asked(pool), Asked(pool)
            link = await peer.asked()
            link.send(head % length + bytes(length) + OK)
            assert await first.status() == 401
            (await peer.asked()).send(NO)
            assert await second.status() == 401

    run(scenario())
