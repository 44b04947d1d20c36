"""The reader of requests is tested whole, byte by byte, in random pieces, and with what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent.http_request import (
    MOST_BODY_BYTES,
    MOST_HEAD_BYTES,
    Request,
    RequestError,
    RequestReader,
)

GET = b"GET /v2/challenge HTTP/1.1\r\nHost: ota-agent\r\n\r\n"
POST = b"POST /v2/attest HTTP/1.1\r\nHost: ota-agent\r\n"
EVIDENCE = b"\xd2\r\n\r\nGET / HTTP/1.1\r\n\r\n"
ATTEST = POST + b"Content-Type: application/eat+cwt\r\nContent-Length: %d\r\n\r\n" % len(EVIDENCE)
ATTEST += EVIDENCE


def read_all(stream: bytes, piece_bytes: int) -> list[Request]:
    reader = RequestReader()
    requests = []
    for at in range(0, len(stream), piece_bytes):
        reader.feed(stream[at : at + piece_bytes])
        while (request := reader.next_request()) is not None:
            requests.append(request)
    assert reader.is_empty
    return requests


@given(st.lists(st.sampled_from([GET, ATTEST]), max_size=6), st.integers(1, 400))
def test_requests_are_read_one_after_another_whatever_the_pieces(
    sent: list[bytes], piece_bytes: int
) -> None:
    found = [(each.method, each.path, each.body) for each in read_all(b"".join(sent), piece_bytes)]
    meant = {GET: ("GET", "/v2/challenge", b""), ATTEST: ("POST", "/v2/attest", EVIDENCE)}
    assert found == [meant[each] for each in sent]


def test_what_follows_a_request_is_left_for_the_next() -> None:
    reader = RequestReader()
    reader.feed(ATTEST + GET[:20])
    assert (found := reader.next_request()) is not None
    assert found.body == EVIDENCE
    assert reader.next_request() is None
    assert not reader.is_empty
    reader.feed(GET[20:])
    assert (found := reader.next_request()) is not None
    assert found.path == "/v2/challenge"


SHAPES = {
    "two equal lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "lengths in a list": (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    "length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "negative length": (POST + b"Content-Length: -2\r\n\r\n{}", 400),
    "length in hex": (POST + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "length in two": (POST + b"Content-Length: 2 2\r\n\r\n{}", 400),
    "empty length": (POST + b"Content-Length:\r\n\r\n{}", 400),
    "length and chunks": (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
    ),
    "chunks and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 400,
    ),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411),
    "chunks by another name": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "folded line": (POST + b"Content-Length: 2\r\nX: a\r\n b\r\n\r\n{}", 400),
    "folded first line": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "bare LF": (GET.replace(b"\r\n", b"\n"), 400),
    "one bare LF": (GET.replace(b"agent\r\n", b"agent\nX: y\r\n"), 400),
    "LF at the end": (GET[:-2] + b"\n", 400),
    "bare CR": (GET.replace(b"agent\r\n", b"agent\rX: y\r\n"), 400),
    "space before colon": (POST + b"Content-Length : 2\r\n\r\n{}", 400),
    "tab before colon": (POST + b"Content-Length\t: 2\r\n\r\n{}", 400),
    "no colon": (GET[:-2] + b"Range\r\n\r\n", 400),
    "no name": (GET[:-2] + b": y\r\n\r\n", 400),
    "NUL in a value": (GET.replace(b"ota", b"o\0a"), 400),
    "control in a value": (GET.replace(b"ota", b"o\x0ba"), 400),
    "absolute form": (GET.replace(b"/v2", b"https://ota-agent/v2"), 400),
    "authority form": (b"CONNECT ota-agent:443 HTTP/1.1\r\nHost: ota-agent\r\n\r\n", 400),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\nHost: ota-agent\r\n\r\n", 400),
    "no host": (b"GET /v2/challenge HTTP/1.1\r\n\r\n", 400),
    "two hosts": (GET[:-2] + b"Host: ota-agent\r\n\r\n", 400),
    "two tokens": (GET[:-2] + b"Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n", 400),
    "two ranges": (GET[:-2] + b"Range: bytes=0-\r\nRange: bytes=1-\r\n\r\n", 400),
    "a body with GET": (GET[:-2] + b"Content-Length: 2\r\n\r\n{}", 400),
    "a large body": (POST + b"Content-Length: %d\r\n\r\n" % (MOST_BODY_BYTES + 1), 413),
    "an enormous body": (POST + b"Content-Length: 18446744073709551615\r\n\r\n", 413),
    "a body beyond all": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "two spaces": (GET.replace(b"GET ", b"GET  "), 400),
    "tab": (GET.replace(b"GET ", b"GET\t"), 400),
    "space at the end": (GET.replace(b"1.1", b"1.1 "), 400),
    "lower case": (GET.replace(b"GET", b"get"), 400),
    "unknown method": (GET.replace(b"GET", b"TAKE"), 400),
    "no version": (b"GET /v2/challenge\r\n\r\n", 400),
    "HTTP/1.0": (GET.replace(b"1.1", b"1.0"), 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "RTSP": (b"DESCRIBE /x RTSP/1.0\r\nHost: a\r\n\r\n", 400),
    "ICE": (b"SOURCE /x ICE/1.0\r\nHost: a\r\n\r\n", 400),
    "empty line first": (b"\r\n" + GET, 400),
    "other expectation": (POST + b"Expect: wonders\r\nContent-Length: 2\r\n\r\n{}", 417),
    "huge header": (GET[:-2] + b"X: " + b"a" * MOST_HEAD_BYTES + b"\r\n\r\n", 431),
    "endless header": (GET[:-2] + b"X: " + b"a" * 2 * MOST_HEAD_BYTES, 431),
    "endless headers": (GET[:-2] + b"X: y\r\n" * MOST_HEAD_BYTES, 431),
    "endless first line": (b"G" * 2 * MOST_HEAD_BYTES, 431),
    "garbage": (b"\x16\x03\x01" + bytes(range(256)), 400),
}  # fmt: skip


@pytest.mark.parametrize("piece_bytes", [1, 3, 1000, 100_000])
@pytest.mark.parametrize("name", SHAPES)
def test_what_two_readers_could_read_differently_is_refused_whatever_the_pieces(
    name: str, piece_bytes: int
) -> None:
    stream, status = SHAPES[name]
    with pytest.raises(RequestError) as raised:
        read_all(stream, piece_bytes)
    assert raised.value.status == status
    assert raised.value.outcome == "bad-request"
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_end_in_requests_or_a_refusal(stream: bytes, piece_bytes: int) -> None:
    reader = RequestReader()
    try:
        for at in range(0, len(stream), piece_bytes):
            reader.feed(b"G" + stream[at : at + piece_bytes])
            reader.next_request()
    except RequestError:
        return


def test_a_head_of_4096_bytes_is_taken_and_one_of_4097_is_not() -> None:
    def of(size: int) -> bytes:
        return GET[:-2] + b"X: " + b"a" * (size - len(GET) - 5) + b"\r\n\r\n"

    assert len(of(MOST_HEAD_BYTES)) == MOST_HEAD_BYTES
    assert len(read_all(of(MOST_HEAD_BYTES), 1)) == 1
    for piece_bytes in (1, 5000):
        with pytest.raises(RequestError):
            read_all(of(MOST_HEAD_BYTES + 1), piece_bytes)


def test_an_offer_of_another_protocol_is_passed_over() -> None:
    offer = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    (found,) = read_all(offer, len(offer))
    assert found.path == "/v2/challenge"


@pytest.mark.parametrize(("options", "is_last"), [
    (b"close", True), (b"Close", True), (b"x , CLOSE", True), (b"keep-alive", False),
    (b"closed", False),
])  # fmt: skip
def test_a_board_may_ask_for_the_connection_to_be_closed(options: bytes, is_last: bool) -> None:
    (found,) = read_all(GET[:-2] + b"Connection: " + options + b"\r\n\r\n", 100)
    assert found.is_last is is_last


def test_a_board_that_waits_for_100_is_told_once_and_only_if_its_body_is_not_there() -> None:
    head = POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    reader = RequestReader()
    reader.feed(head)
    assert reader.next_request() is None
    assert reader.take_continue()
    assert not reader.take_continue()
    reader.feed(b"{}" + head + b"{}")
    assert reader.next_request() is not None
    assert reader.next_request() is not None
    assert not reader.take_continue()
