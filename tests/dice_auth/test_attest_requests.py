"""Requests to /challenge and /attest that cannot be answered as such: each a problem document."""

import asyncio

import pytest

from dice_auth import http_protocol
from tests.dice_auth.attesting import BOARD, CHANNEL, Agent, with_agents
from tests.dice_auth.test_metrics import GET, samples
from tests.dice_auth.test_server import exchange, read_answer, request

KIND = "application/eat+cwt"
HEADERS = {"Content-Type": KIND, "OTA-Channel": CHANNEL.hex()}


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [("/challenge", method, "GET") for method in ("POST", "PUT", "DELETE")]
    + [("/attest", method, "POST") for method in ("GET", "PUT", "PATCH")],
)
def test_another_method_is_405(sqlite_url: str, path: str, method: str, allowed: str) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.ask(method, path, HEADERS)
        assert (reply.status, reply.headers["allow"]) == (405, allowed)
        assert allowed in reply.problem["detail"]

    with_agents(sqlite_url, work)


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/cbor", "application/eat+cwtx", "application/octet-stream"],
)
def test_another_content_type_is_415_and_leaves_the_nonce(sqlite_url: str, kind: str) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        headers = {"OTA-Channel": CHANNEL.hex()} | ({"Content-Type": kind} if kind else {})
        reply = await agent.ask("POST", "/attest", headers, data)
        assert (reply.status, reply.problem["title"]) == (415, "Unsupported Media Type")
        assert (await agent.attest(data)).status == 200

    with_agents(sqlite_url, work)


def test_a_compressed_body_is_415(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.ask("POST", "/attest", HEADERS | {"Content-Encoding": "gzip"}, b"x")
        assert reply.problem["status"] == 415

    with_agents(sqlite_url, work)


def test_the_content_type_may_have_parameters_and_capitals(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        headers = HEADERS | {"Content-Type": "Application/EAT+CWT; v=1"}
        assert (await agent.ask("POST", "/attest", headers, data)).status == 200

    with_agents(sqlite_url, work)


CHANNELS = {
    "none": (),
    "twice": (CHANNEL.hex(), CHANNEL.hex()),
    "two": (CHANNEL.hex(), bytes(32).hex()),
    "capitals": (CHANNEL.hex().upper(),),
    "short": (CHANNEL.hex()[:-1],),
    "long": (CHANNEL.hex() + "0",),
    "no hex": ("g" * 64,),
    "empty": ("",),
    "a list": (f"{CHANNEL.hex()}, {CHANNEL.hex()}",),
    "other digits": ("\u0661" * 64,),
}


@pytest.mark.parametrize("case", CHANNELS)
def test_a_missing_or_odd_channel_is_400_and_leaves_the_nonce(sqlite_url: str, case: str) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        lines = "".join(f"OTA-Channel: {value}\r\n" for value in CHANNELS[case])
        reply = await agent.send(
            f"POST /attest HTTP/1.1\r\nHost: a\r\nContent-Type: {KIND}\r\n{lines}"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        assert reply.status == 400
        assert "OTA-Channel" in reply.problem["detail"]
        assert (await agent.attest(data)).status == 200

    with_agents(sqlite_url, work)


@pytest.mark.parametrize("size", [4097, 16 * 1024, 100_000])
def test_evidence_over_4096_bytes_is_413(sqlite_url: str, size: int) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.attest(BOARD.evidence(bytes(32)).ljust(size, b"\0"))
        assert (reply.status, reply.problem["status"]) == (413, 413)
        assert (await agent.judge()).status == 200

    with_agents(sqlite_url, work)


def test_no_evidence_is_400(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.ask("POST", "/attest", HEADERS)).problem["status"] == 400
        no_length = f"POST /attest HTTP/1.1\r\nHost: a\r\nContent-Type: {KIND}\r\n"
        reply = await agent.send(f"{no_length}OTA-Channel: {CHANNEL.hex()}\r\n\r\n".encode())
        assert reply.problem["status"] == 400

    with_agents(sqlite_url, work)


def test_chunked_evidence_is_taken(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        head = (
            f"POST /attest HTTP/1.1\r\nHost: a\r\nContent-Type: {KIND}\r\n"
            f"OTA-Channel: {CHANNEL.hex()}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunks = (b"%x\r\n%s\r\n" % (len(each), each) for each in (data[:7], data[7:]))
        assert (await agent.send(head.encode() + b"".join(chunks) + b"0\r\n\r\n")).status == 200

    with_agents(sqlite_url, work)


def test_evidence_that_does_not_come_is_408(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(http_protocol, "SWEEP_EVERY_S", 0.01)

    async def work(agent: Agent) -> None:
        reply = await agent.send(b"POST /attest HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12")
        assert (reply.status, reply.problem["title"]) == (408, "Request Timeout")

    with_agents(sqlite_url, work)


def test_nothing_of_these_paths_is_kept_by_a_cache(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.ask("GET", "/challenge")
        assert reply.headers["cache-control"] == "no-store"
        reply = await agent.attest(BOARD.evidence(reply.body))
        assert reply.headers["cache-control"] == "no-store"

    with_agents(sqlite_url, work)


def test_one_connection_carries_challenge_and_evidence(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        reader, writer = await asyncio.open_connection(*agent.address)
        writer.write(b"GET /challenge HTTP/1.1\r\nHost: a\r\n\r\n")
        data = BOARD.evidence((await read_answer(reader))[3])
        lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        writer.write(request(data, line="POST /attest HTTP/1.1", headers=lines))
        assert (await read_answer(reader))[0] == 200
        writer.close()
        await writer.wait_closed()

    with_agents(sqlite_url, work)


def test_challenges_and_verdicts_are_counted(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        await agent.judge()
        await agent.judge(channel=bytes(32))
        await agent.attest(b"nonsense")
        found = samples((await exchange(agent.address, GET))[3])
        assert found["dice_auth_challenges_total{}"] == 2
        assert found["dice_auth_attestations_total{verdict=affirming}"] == 1
        assert found["dice_auth_attestations_total{verdict=refused}"] == 2
        failed = "dice_auth_attestation_failed_checks_total"
        assert found[f"{failed}{{check=channel}}"] == 1
        assert found[f"{failed}{{check=evidence}}"] == 1
        assert found[f"{failed}{{check=revoked}}"] == 0
        assert found["dice_auth_verdict_seconds_count{}"] == 0

    with_agents(sqlite_url, work)
