"""Whoever answers a board over protocol 2 sends what is no plain HTTP: to fill its memory, to hold
it for ever, or to have two readers of the same bytes see two things."""

import itertools
from collections.abc import Iterator

import pytest

from tests import world
from tests.ota_service.attested_agents import (
    NONCE,
    Request,
    attest,
    attesting,
    digests,
    ranged,
    response,
)
from tests.ota_service.board_process import BoardProcess, require_refused, require_updated

OLD = world.app("1.0.0")
NEW = world.app("2.0.0")
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 32\r\n"
NAMES = "".join(
    f"{name.replace('_', '-')}: {value}\r\n" for name, value in digests(NEW).items()
).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n"

HEADS = {
    "a header that does not end": OK + b"X: " + b"a" * 4096,
    "a thousand headers": OK + b"".join(b"X-%d: y\r\n" % i for i in range(1000)),
    "a status line that does not end": b"HTTP/1.1 200 " + b"O" * 4096,
    "no status line": b"<html>" + b" " * 4096,
    "a chunked body": OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED % (32, NONCE),
    "a chunked body with a length": (
        OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED % (32, NONCE)
    ),
    "a length and a coding spelt oddly": (
        OK + LENGTH + b"Transfer-Encoding\t: chunked\r\n\r\n" + CHUNKED % (32, NONCE)
    ),
    "two lengths": OK + LENGTH + b"Content-Length: 0\r\n\r\n" + NONCE,
    "the same length twice": OK + LENGTH + LENGTH + b"\r\n" + NONCE,
    "two lengths in one": OK + b"Content-Length: 32, 32\r\n\r\n" + NONCE,
    "a negative length": OK + b"Content-Length: -32\r\n\r\n" + NONCE,
    "no length": OK + b"\r\n" + NONCE,
    "a folded header": OK + b"X: a\r\n " + LENGTH + b"\r\n" + NONCE,
    "bare line feeds": (OK + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + NONCE,
    "a carriage return in a line": OK + b"X: a\r" + LENGTH + b"\r\n" + NONCE,
    "a zero byte": OK + b"X: \0\r\n" + LENGTH + b"\r\n" + NONCE,
    "an answer to no question behind it": response("200 OK", NONCE)[0] * 2,
    "one byte behind it": response("200 OK", NONCE)[0] + b"\0",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + NONCE,
    "another protocol on this connection": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "firmware, as in protocol 1": NEW,
}


@pytest.mark.parametrize("what", HEADS)
def test_instead_of_the_challenge(what: str, board: BoardProcess) -> None:
    """No second try, no evidence for him, no flash touched."""
    with (
        attesting(ranged(NEW), challenge=lambda request: [HEADS[what]]) as (script, evil),
        attesting(ranged(NEW)) as (_, good),
    ):
        answer = attest(board, OLD, evil.address, attempts=20, good=(good.address, NEW))
        assert evil.connections == 1
        assert script.evidence == []
    require_refused(answer, "bad-answer")
    assert answer["after"] == answer["before"]
    assert answer["boots"] == "ota_0"
    require_updated(answer, NEW)


FIRMWARE = {
    "chunked": OK + NAMES + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED % (len(NEW), NEW),
    "without a length": OK + NAMES + b"\r\n" + NEW,
    "compressed": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: %d\r\n" % len(NEW)
        + NAMES + b"\r\n" + NEW
    ),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Length: 10\r\n" % len(NEW)
        + NAMES + b"\r\n" + NEW
    ),
    "two names": (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(NEW) + NAMES + NAMES + b"\r\n" + NEW
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FIRMWARE)
def test_instead_of_the_firmware(what: str, board: BoardProcess) -> None:
    with (
        attesting(lambda request: [FIRMWARE[what]]) as (_, evil),
        attesting(ranged(NEW)) as (_, good),
    ):
        answer = attest(board, OLD, evil.address, attempts=20, good=(good.address, NEW))
        assert evil.connections == 1
    require_refused(answer, "bad-answer")
    assert answer["after"] == answer["before"]
    require_updated(answer, NEW)


def test_headers_that_never_end_are_cut_off_early(board: BoardProcess) -> None:
    """He pours until the board hangs up; it does after 2 KiB."""
    sent = itertools.count()

    def pours() -> Iterator[bytes]:
        yield OK
        for number in sent:
            yield b"X-%d: %s\r\n" % (number, b"a" * 100)

    with attesting(ranged(NEW), challenge=lambda request: pours()) as (_, evil):
        answer = attest(board, OLD, evil.address)
    require_refused(answer, "bad-answer")
    assert "head of more than 2048 bytes" in answer["status"]["error"]["message"]


@pytest.mark.parametrize("request_line", ["GET /v2/challenge", "POST /v2/attest"])
def test_a_head_that_stops_in_the_middle_is_given_up(
    request_line: str, board: BoardProcess
) -> None:
    def stalls(request: Request) -> list[bytes]:
        return [OK + b"X: "]

    name = "challenge" if "challenge" in request_line else "attest"
    with attesting(ranged(NEW), **{name: stalls}) as (_, evil):
        answer = attest(board, OLD, evil.address, first_byte_s=0.3)
    require_refused(answer, "timeout")
    assert answer["after"] == answer["before"]


def test_firmware_that_drips_in_is_given_up_between_two_bytes(board: BoardProcess) -> None:
    head = response("200 OK", b"", len(NEW), **digests(NEW))[0]
    with attesting(lambda request: [head + NEW[:5000]]) as (_, evil):
        answer = attest(board, OLD, evil.address, read_s=0.3)
    require_refused(answer, "timeout")
    assert answer["received"][-1] == 5000
    assert answer["boots"] == "ota_0"
