"""The attestation client against any bytes at all, with h11 as the judge of what is an answer."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import h11
import pytest
from hypothesis import example, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ota_agent.http_pool import HttpPool
from tests.ota_agent.http_answers import (
    CHUNKED,
    CONTINUE,
    CUT_SHORT,
    NO,
    NOT_AN_ANSWER,
    OK,
    WHOLE,
    WHOLE_THEN_CLOSED,
)
from tests.ota_agent.http_peer import Asked, Result, listening, slots, until

SEED = 8


def by_h11(raw: bytes) -> int | None:
    """The status of the one whole answer h11 reads from these bytes and the end of the connection
    after them; None where it reads none. What follows a whole answer does not matter."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    status = None
    try:
        client.receive_data(raw)
        client.receive_data(b"")
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code if event.http_version in (b"1.0", b"1.1") else None
            elif isinstance(event, h11.EndOfMessage):
                return status
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


class Answering:
    """One loop, one server, one pool of one slot for all examples: a slot that were lost, or an
    answer that were left over, would show in the next."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._problems: list[Any] = []
        self._runner.get_loop().set_exception_handler(lambda _, each: self._problems.append(each))
        self._runner.run(self._start())

    async def _start(self) -> None:
        self._context = listening()
        self._peer = await self._context.__aenter__()
        self._pool = HttpPool(self._peer.url, 1)

    def close(self) -> None:
        async def end() -> None:
            self._pool.close()
            await self._context.__aexit__(None, None, None)
            await until(lambda: self._pool._unused == 1)

        self._runner.run(end())
        self._runner.close()

    def ask(self, pieces: list[bytes], *, then_reset: bool = False) -> Result:
        result = self._runner.run(asyncio.wait_for(self._ask(pieces, then_reset), 10))
        assert self._problems == []
        return result

    async def _ask(self, pieces: list[bytes], then_reset: bool) -> Result:
        asked = Asked(self._pool)
        link = await self._peer.asked()
        await link.send_apart(pieces)
        if then_reset:
            link.reset()
        else:
            link.close()
        result = await asked.result()
        assert slots(self._pool) == 1
        await until(lambda: self._pool._unused == 1)
        return result


@pytest.fixture(scope="module")
def answering() -> Iterator[Answering]:
    server = Answering()
    yield server
    server.close()


def pieces_of(raw: bytes, marks: list[int]) -> list[bytes]:
    at = sorted({mark % (len(raw) + 1) for mark in marks})
    bounds = [0, *at, len(raw)]
    return [raw[start:end] for start, end in pairwise(bounds) if end > start]


SEEDS = [*WHOLE.values(), *WHOLE_THEN_CLOSED.values(), *NOT_AN_ANSWER.values(), *CUT_SHORT.values()]
SMALL = [each for each in SEEDS if len(each) < 1000]
FRAGMENTS = [
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"200 OK", b"401 No", b"100 x", b"204 x", b"304 x", b"\r\n", b"\r",
    b"\n", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"Connection: ",
    b"close", b"keep-alive", b"Upgrade: x", b"0", b"2", b"{}", b"5", b";", b": ", b" ", b"a", b"\0",
    b"0\r\n\r\n", b"Content-Length: 2\r\n\r\n{}", OK, NO, CONTINUE, CHUNKED,
]  # fmt: skip
assembled = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A known answer with a stretch of it replaced."""
    raw = draw(st.sampled_from(SMALL))
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(len(raw), start + 6)))
    return raw[:start] + draw(st.one_of(st.binary(max_size=4), assembled)) + raw[end:]


@seed(SEED)
@hypothesis_settings(max_examples=1500, deadline=None, database=None)
@given(
    st.one_of(st.binary(max_size=200), assembled, mutated()), st.lists(st.integers(0), max_size=3)
)
@example(OK + NO, [])
@example(CONTINUE + OK, [3])
def test_any_bytes_are_a_200_only_where_h11_reads_one_too(
    answering: Answering, raw: bytes, marks: list[int]
) -> None:
    """Compared: the bytes, in any pieces, then the end of the connection. Where the pool reports
    a status, h11 reads a whole answer with the same status from the same bytes, version 1.0 or
    1.1. Not the other way: what h11 takes and we do not is a refusal. (No fragment names a
    transfer coding beside chunked: h11 knows no other.) The next example has the slot of this."""
    status, failure = answering.ask(pieces_of(raw, marks))
    assert bool(status) != bool(failure)
    if status:
        assert status == by_h11(raw)


@st.composite
def well_formed(draw: st.DrawFn) -> bytes:
    """An answer as RFC 9112 has it, with another after it now and then."""
    interim = draw(st.lists(st.sampled_from([CONTINUE, b"HTTP/1.1 103 x\r\nA: b\r\n\r\n"])))
    version = draw(st.sampled_from([b"1.0", b"1.1"]))
    code = draw(st.sampled_from([200, 200, 201, 204, 302, 304, 401, 403, 404, 500, 503]))
    names = st.from_regex(rb"\A[A-Za-z][A-Za-z-]{0,8}\Z").filter(
        lambda name: name.lower() not in (b"connection", b"upgrade", b"te")
    )
    values = st.from_regex(rb"\A([!-~]([ -~]{0,8}[!-~])?)?\Z")
    headers = draw(st.lists(st.tuples(names, values), max_size=3))
    body = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["length", "chunked", "end"]))
    if framing == "length":
        headers.append((b"Content-Length", b"%d" % len(body)))
    elif framing == "chunked" and version == b"1.1":
        headers.append((b"Transfer-Encoding", b"chunked"))
        chunks = [body[:7], body[7:]]
        body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks if each)
        body += b"0\r\n\r\n"
    head = b"".join(b"%b: %b\r\n" % each for each in headers)
    after = draw(st.sampled_from([b"", b"", OK, b"HTTP", b"junk"])) if framing != "end" else b""
    return b"".join(
        [*interim, b"HTTP/%b %d Reason\r\n" % (version, code), head, b"\r\n", body, after]
    )


@seed(SEED)
@hypothesis_settings(max_examples=500, deadline=None, database=None)
@given(well_formed(), st.lists(st.integers(0), max_size=3))
def test_an_answer_as_the_rfc_has_it_is_read_as_h11_reads_it_however_it_is_cut(
    answering: Answering, raw: bytes, marks: list[int]
) -> None:
    """The same status, whatever pieces it comes in."""
    assert answering.ask([raw]) == answering.ask(pieces_of(raw, marks)) == (by_h11(raw), "")


@seed(SEED)
@hypothesis_settings(max_examples=150, deadline=None, database=None)
@given(st.sampled_from(SMALL), st.integers(0))
def test_a_reset_in_the_middle_is_never_a_200_that_h11_would_not_have_had_before_it(
    answering: Answering, raw: bytes, mark: int
) -> None:
    cut = raw[: mark % (len(raw) + 1)]
    status, _ = answering.ask([cut], then_reset=True)
    if status:
        assert status == by_h11(cut)
