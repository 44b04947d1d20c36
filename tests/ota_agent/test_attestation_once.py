"""Evidence is asked about once, challenges and certificates as often as it takes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ota_agent.attestation import AttestationClient, Reply
from tests.ota_agent.http_answers import OK
from tests.ota_agent.http_peer import Peer, listening, run

UNAVAILABLE = b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"


class Asking:
    """A client whose questions a test answers."""

    def __init__(self, client: AttestationClient, peer: Peer) -> None:
        self.client = client
        self.peer = peer

    def attest(self) -> "asyncio.Future[Reply]":
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.client.attest(b"evidence", "ab" * 32, reply.set_result)
        return reply

    def challenge(self) -> "asyncio.Future[Reply]":
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.client.challenge(reply.set_result)
        return reply


def play(scenario: Callable[[Asking], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with listening() as peer:
            client = AttestationClient(peer.url, 5)
            try:
                await scenario(Asking(client, peer))
            finally:
                client.close()

    run(whole())


@pytest.mark.parametrize("answer", [UNAVAILABLE, OK.replace(b"200", b"500"), b""])
def test_evidence_whose_answer_is_lost_is_not_sent_again(answer: bytes) -> None:
    """Its nonce may be used up: the board would be refused for what is not its fault."""

    async def scenario(asking: Asking) -> None:
        reply = asking.attest()
        link = await asking.peer.asked()
        link.send(answer)
        link.close()
        found = await reply
        assert found.status == (500 if b" 500 " in answer else 0)
        assert not asking.peer.has_more_links

    play(scenario)


def test_evidence_is_not_sent_again_by_a_kept_connection_either() -> None:
    async def scenario(asking: Asking) -> None:
        first = asking.attest()
        link = await asking.peer.asked()
        link.send(OK)
        assert (await first).status == 200
        second = asking.attest()
        assert await link.request() == b"evidence"
        link.close()
        assert (await second) == Reply(0, "closed without an answer")
        assert not asking.peer.has_more_links

    play(scenario)


def test_a_challenge_is_asked_for_again() -> None:
    async def scenario(asking: Asking) -> None:
        reply = asking.challenge()
        for _ in range(2):
            link = await asking.peer.accept()
            await link.head()
            link.send(UNAVAILABLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            link.close()
        link = await asking.peer.accept()
        assert (await link.head()).startswith(b"GET /challenge HTTP/1.1\r\n")
        link.send(OK)
        found = await reply
        assert (found.status, found.body) == (200, b"{}")

    play(scenario)
