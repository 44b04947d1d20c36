"""What the agent makes of the attestation server's answers, and of none: whatever is not a whole
200 in time is a refusal, and a server that fails is left alone for a moment, never for good."""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ota_agent import attestation, circuit_breaker, http_pool
from ota_agent.attestation import Answer, AttestationClient, Question
from tests.ota_agent.attestation_peer import AttestationPeer, attestation_peer, status
from tests.ota_agent.http_peer import (
    full_listener,
    open_descriptors,
    run,
    timers,
    turns,
    until,
    url_of,
)

SEED = 8
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{}"
ACCEPTED = Answer(True, "accepted", "")


class Asked:
    """A question and its answer; a second answer to it would be an error of the loop's."""

    def __init__(self, client: AttestationClient, pem: bytes = b"pem") -> None:
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.question: Question | None = client.ask(pem, self._answer.set_result)
        assert not self.is_answered

    @property
    def is_answered(self) -> bool:
        return self._answer.done()

    async def answer(self) -> Answer:
        return await self._answer

    async def refusal(self) -> str:
        """The reason, without what stands before each."""
        answer = await self._answer
        assert (answer.accepted, answer.outcome) == (False, "attestation-unavailable")
        assert answer.reason.startswith("attestation server: ")
        return answer.reason.removeprefix("attestation server: ")

    def cancel(self) -> None:
        assert self.question is not None
        self.question.cancel()


@asynccontextmanager
async def scene(
    answer: bytes | None = status(200), timeout_s: float = 5.0
) -> AsyncIterator[tuple[AttestationPeer, AttestationClient]]:
    """In the end all slots are there, and no question, task or timer."""
    async with attestation_peer(answer) as peer:
        client = AttestationClient(peer.url, timeout_s)
        try:
            yield peer, client
        finally:
            client.close()
        await until(lambda: client._pool._unused == attestation._MOST_CONNECTIONS)
        await until(lambda: not client._pool._connecting)
        assert not client._open
        # The test's own time limit is the one timer left.
        assert len(timers()) == 1


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "_PAUSE_S", 0.002)
    monkeypatch.setattr(attestation, "_OVERDUE_S", 0.01)
    monkeypatch.setattr(circuit_breaker, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(circuit_breaker, "_LONGEST_PAUSE_S", 0.1)


def few_connections(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(attestation, "_MOST_CONNECTIONS", most)


async def fail_until_open(client: AttestationClient) -> None:
    for _ in range(5):
        await Asked(client).refusal()
    assert client._breaker.is_open


async def recovered(client: AttestationClient) -> None:
    """Whoever asks again and again is accepted in the end."""
    while not (await Asked(client).answer()).accepted:
        continue


# Answers


@pytest.mark.parametrize(
    ("code", "outcome", "requests"),
    [
        (200, "accepted", 1),
        (401, "refused", 1),
        (403, "refused", 1),
        (201, "attestation-unavailable", 1),
        (204, "attestation-unavailable", 1),
        (206, "attestation-unavailable", 1),
        (301, "attestation-unavailable", 1),
        (302, "attestation-unavailable", 1),
        (400, "attestation-unavailable", 1),
        (404, "attestation-unavailable", 1),
        (407, "attestation-unavailable", 1),
        (429, "attestation-unavailable", 1),
        (500, "attestation-unavailable", 3),
        (502, "attestation-unavailable", 3),
        (503, "attestation-unavailable", 3),
        (504, "attestation-unavailable", 3),
        (599, "attestation-unavailable", 1),
        (999, "attestation-unavailable", 1),
    ],
)
def test_each_status_has_its_outcome_and_is_named(code: int, outcome: str, requests: int) -> None:
    async def scenario() -> None:
        async with scene(status(code)) as (peer, client):
            answer = await Asked(client).answer()
            assert answer.accepted == (code == 200)
            assert answer.outcome == outcome
            if code != 200:
                assert answer.reason == f"attestation server: status {code}"
            assert len(peer.requests) == requests

    run(scenario())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (HALF, "closed in the middle of its answer"),
        (b"no HTTP, close\r\n\r\n", "not an HTTP answer"),
        (status(200).replace(b"HTTP", b"RTSP"), "not an HTTP/1 answer"),
        (b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 200 x\r\nContent-Length: 99999\r\n\r\n" + bytes(99_999), "more than 65536"),
    ],
)
def test_what_is_no_whole_answer_is_tried_three_times_and_named(raw: bytes, reason: str) -> None:
    async def scenario() -> None:
        async with scene(raw) as (peer, client):
            assert reason in await Asked(client).refusal()
            assert len(peer.requests) == 3

    run(scenario())


@pytest.mark.parametrize("bad", [status(503), status(500), HALF])
def test_the_next_attempt_may_succeed(bad: bytes) -> None:
    async def scenario() -> None:
        async with scene(bad) as (peer, client):
            asked = Asked(client)
            await peer.asked.wait()
            peer.answer = status(200)
            assert await asked.answer() == ACCEPTED
            assert client._breaker.failures == 0

    run(scenario())


def test_an_answer_never_comes_before_ask_has_returned_nor_twice() -> None:
    """Neither from a kept connection nor from an open breaker; Asked sees to it."""

    async def scenario() -> None:
        async with scene() as (peer, client):
            for _ in range(3):
                assert await Asked(client).answer() == ACCEPTED
            peer.answer = HALF
            await fail_until_open(client)
            assert "not asked again" in await Asked(client).refusal()

    run(scenario())


# Time


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "a byte at a time"])
def test_no_answer_in_time_is_a_refusal_and_its_connection_is_given_up(drips: bool) -> None:
    async def scenario() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            drip = asyncio.create_task(trickle(writer)) if drips else None
            await read_to_end(reader)
            if drip is not None:
                drip.cancel()
            writer.close()
            ended.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            client = AttestationClient(url_of(server.sockets[0]), 0.1)
            assert await Asked(client).refusal() == "no answer within 0.1 s"
            await ended.wait()
            client.close()
            await until(lambda: client._pool._unused == attestation._MOST_CONNECTIONS)

    run(scenario())


async def trickle(writer: asyncio.StreamWriter) -> None:
    for byte in status(200) * 100:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.01)


async def read_to_end(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read()
    except ConnectionError:
        return


def test_the_timeout_covers_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "_PAUSE_S", 60.0)

    async def scenario() -> None:
        async with scene(status(503), timeout_s=0.05) as (peer, client):
            assert await Asked(client).refusal() == "no answer within 0.05 s"
            assert len(peer.requests) == 1
            assert client._breaker.failures == 1

    run(scenario())


def test_a_host_that_drops_whoever_connects_is_no_answer_and_costs_no_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel would try for two minutes, and hold the slot."""
    few_connections(monkeypatch, 2)

    async def scenario() -> None:
        with full_listener() as url:
            client = AttestationClient(url, 0.05)
            asked = [Asked(client) for _ in range(2)]
            for each in asked:
                assert await each.refusal() == "no answer within 0.05 s"
            await until(lambda: client._pool._unused == 2)
            assert client._breaker.failures == 2
            client.close()

    run(scenario())


def test_who_had_no_turn_is_refused_for_that_and_it_is_no_failure_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_connections(monkeypatch, 3)

    async def scenario() -> None:
        async with scene(None, timeout_s=0.1) as (peer, client):
            asked = [Asked(client) for _ in range(20)]
            reasons = [await each.refusal() for each in asked]
            assert reasons == ["no answer within 0.1 s"] * 3 + ["no turn within 0.1 s"] * 17
            assert len(peer.requests) == 3
            assert client._breaker.failures == 3
            peer.answer = status(200)
            assert await Asked(client).answer() == ACCEPTED

    run(scenario())


def test_who_has_failed_once_and_waits_for_the_next_turn_does_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second attempt has no turn, but the first had one, and failed."""
    few_connections(monkeypatch, 1)

    async def scenario() -> None:
        async with scene(HALF, timeout_s=0.1) as (peer, client):
            first = Asked(client)
            await peer.asked.wait()
            peer.answer = None
            second = Asked(client)
            assert await first.refusal() == "no answer within 0.1 s"
            assert await second.refusal() == "no answer within 0.1 s"
            assert client._breaker.failures == 2

    run(scenario())


def test_a_caller_that_fails_does_not_stop_the_clock_for_the_others() -> None:
    async def scenario() -> None:
        async with scene(None, timeout_s=0.05) as (_, client):

            def fail(answer: Answer) -> None:
                raise RuntimeError("a bug of the caller's")

            loop = asyncio.get_running_loop()
            handler = loop.get_exception_handler()
            told: list[Any] = []
            loop.set_exception_handler(lambda _, each: told.append(str(each["exception"])))
            client.ask(b"pem", fail)
            assert await Asked(client).refusal() == "no answer within 0.05 s"
            assert await Asked(client).refusal() == "no answer within 0.05 s"
            loop.set_exception_handler(handler)
            assert told == ["a bug of the caller's"]

    run(scenario())


# The breaker


@pytest.mark.parametrize("bad", [HALF, status(503), None])
def test_after_five_failures_in_a_row_nobody_asks_and_later_one_tries(bad: bytes | None) -> None:
    async def scenario() -> None:
        async with scene(bad, timeout_s=0.1) as (peer, client):
            await fail_until_open(client)
            requests = len(peer.requests)
            last = client._failure
            refusals = [await Asked(client).refusal() for _ in range(10)]
            assert refusals == [f"{last} (5 times in a row, not asked again)"] * 10
            assert len(peer.requests) == requests
            peer.answer = status(200)
            await recovered(client)
            assert await Asked(client).answer() == ACCEPTED

    run(scenario())


def test_it_opens_once_however_many_were_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their failures are one piece of news: the pause is the first, not one doubled each time."""
    monkeypatch.setattr(circuit_breaker, "_LONGEST_PAUSE_S", 1000.0)

    async def scenario() -> None:
        async with scene(None, timeout_s=0.1) as (peer, client):
            asked = [Asked(client) for _ in range(30)]
            for each in asked:
                assert await each.refusal() == "no answer within 0.1 s"
            peer.answer = status(200)
            await recovered(client)

    run(scenario())


def test_a_certificate_that_makes_the_server_fail_does_not_shut_out_other_boards() -> None:
    async def scenario() -> None:
        async with scene(status(500)) as (peer, client):
            for _ in range(10):
                assert await Asked(client).refusal() == "status 500"
            peer.answer = status(200)
            assert await Asked(client).answer() == ACCEPTED

    run(scenario())


def test_a_refusal_is_an_answer_and_closes_the_breaker() -> None:
    async def scenario() -> None:
        async with scene(HALF) as (peer, client):
            await fail_until_open(client)
            peer.answer = status(401)
            while (await Asked(client).answer()).outcome != "refused":
                continue
            assert not client._breaker.is_open

    run(scenario())


def test_when_the_board_that_tries_goes_away_another_tries() -> None:
    async def scenario() -> None:
        async with scene(HALF) as (peer, client):
            await fail_until_open(client)
            peer.answer = None
            for _ in range(3):
                trying = Asked(client)
                while trying.question is None:
                    await trying.refusal()
                    trying = Asked(client)
                peer.asked.clear()
                await peer.asked.wait()
                assert Asked(client).question is None
                trying.cancel()
            peer.answer = status(200)
            assert await Asked(client).answer() == ACCEPTED

    run(scenario())


def test_a_server_that_comes_up_later_is_found() -> None:
    async def scenario() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            client = AttestationClient(url_of(bound), 5)
            await fail_until_open(client)
            assert "Connect call failed" in await Asked(client).refusal()
            bound.listen()
            peer = AttestationPeer(status(200))
            server = await asyncio.start_server(peer._serve, sock=bound)
            async with server:
                await recovered(client)
                client.close()

    run(scenario())


# Questions ended before they are answered


@pytest.mark.parametrize("raw", [status(200), status(503), HALF, None])
@pytest.mark.parametrize("late", [0, 1, 2, 3, 4, 5, 6, 8, 10, 15])
def test_a_question_may_be_ended_at_any_time(
    monkeypatch: pytest.MonkeyPatch, raw: bytes | None, late: int
) -> None:
    """Waiting for a turn, connecting, asked, half answered, between attempts: it is not answered,
    and its slot is there for the next."""
    few_connections(monkeypatch, 2)

    async def scenario() -> None:
        async with scene(raw) as (peer, client):
            asked = [Asked(client) for _ in range(4)]
            await turns(late)
            ended = [each for each in asked if not each.is_answered]
            for each in ended:
                each.cancel()
                each.cancel()
            peer.answer = status(200)
            after = [Asked(client) for _ in range(4)]
            for each in after:
                assert await each.answer() == ACCEPTED
            assert not any(each.is_answered for each in ended)

    run(scenario())


def test_ended_between_attempts_it_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "_PAUSE_S", 60.0)

    async def scenario() -> None:
        async with scene(status(503)) as (peer, client):
            asked = Asked(client)
            assert asked.question is not None
            await until(lambda: asked.question is not None and asked.question._pause is not None)
            asked.cancel()
            # Its own time limit and the client's look for the overdue.
            assert len(timers()) == 2
            assert len(peer.requests) == 1
            assert not asked.is_answered

    run(scenario())


@pytest.mark.parametrize("raw", [status(200), status(503), None])
@pytest.mark.parametrize("late", [0, 1, 2, 3, 4, 5, 6, 8, 10, 15])
def test_after_close_nothing_is_left_and_nobody_is_answered(
    monkeypatch: pytest.MonkeyPatch, raw: bytes | None, late: int
) -> None:
    few_connections(monkeypatch, 2)
    monkeypatch.setattr(attestation, "_PAUSE_S", 60.0)

    async def scenario() -> None:
        async with attestation_peer(raw) as peer:
            tasks, descriptors = len(asyncio.all_tasks()), open_descriptors()
            client = AttestationClient(peer.url, 5)
            asked = [Asked(client) for _ in range(4)]
            await turns(late)
            open_then = [each for each in asked if not each.is_answered]
            client.close()
            await until(lambda: client._pool._unused == 2)
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            await until(lambda: open_descriptors() <= descriptors)
            assert len(timers()) == 1
            assert not any(each.is_answered for each in open_then)

    run(scenario())


# All of it together


class Moody:
    """Accepts boards with an even number, refuses the others, in whatever manner comes to it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.is_well = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                continue
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        number = int(await reader.readexactly(int(length[1])))
        whole = status(200 if number % 2 == 0 else 401)
        mood = "well" if self.is_well else self._chance.choice(MOODS)
        if mood == "silent":
            await reader.read()
            return False
        if mood == "drop":
            return False
        if mood == "half":
            writer.write(whole[: self._chance.randrange(len(whole))])
            await writer.drain()
            return False
        if mood == "overloaded":
            writer.write(status(503))
        elif mood == "close":
            writer.write(whole)
            writer.close()
            return False
        elif mood == "twice":
            writer.write(whole + status(200))
        elif mood == "pieces":
            for byte in whole:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
        else:
            writer.write(whole)
        await writer.drain()
        return True


MOODS = [
    "well", "well", "well", "well", "silent", "drop", "half", "overloaded", "close", "twice",
    "pieces",
]  # fmt: skip


def test_under_a_moody_server_and_boards_that_leave_nobody_gets_what_is_not_his(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_connections(monkeypatch, 8)
    monkeypatch.setattr(http_pool, "_MOST_IDLE_S", 0.05)
    monkeypatch.setattr(circuit_breaker, "_THRESHOLD", 10_000)  # it would let hardly anybody ask
    chance = random.Random(SEED)
    moody = Moody(chance)
    counts = {"accepted": 0, "refused": 0, "attestation-unavailable": 0, "left": 0}

    async def board(client: AttestationClient, number: int) -> None:
        asked = Asked(client, b"%d" % number)
        if asked.question is not None and chance.random() < 0.2:
            await turns(chance.randrange(20))
            if not asked.is_answered:
                asked.cancel()
                await turns(5)
                assert not asked.is_answered
                counts["left"] += 1
                return
        answer = await asked.answer()
        counts[answer.outcome] += 1
        if answer.outcome != "attestation-unavailable":
            assert answer.accepted == (number % 2 == 0)

    async def scenario() -> None:
        server = await asyncio.start_server(moody.serve, "127.0.0.1", 0)
        async with server:
            client = AttestationClient(url_of(server.sockets[0]), 0.1)
            for start in range(0, 1000, 50):
                await asyncio.gather(*(board(client, start + each) for each in range(50)))
            assert all(count > 20 for count in counts.values()), (SEED, counts)
            moody.is_well = True
            answers = [Asked(client, b"%d" % number) for number in range(100)]
            for number, each in enumerate(answers):
                assert (await each.answer()).accepted == (number % 2 == 0)
            client.close()
            await until(lambda: client._pool._unused == 8 and not client._pool._connecting)

    run(scenario())
