"""Heads of HTTP responses: whole, byte by byte and with bytes left over, on both runtimes."""

from ota_service.errors import OtaError
from ota_service.http_response import MAX_HEAD_BYTES, Response

GOOD = (
    b"HTTP/1.1 206 Partial Content\r\n"
    b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    b"content-LENGTH: 5\r\n"
    b'ETag:"abc" \t\r\n'
    b"X-Empty:\r\n"
    b"\r\n"
)
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 0\r\n"
LINE_BYTES = 512


def read(data, piece=None):
    """(Response, bytes of the head) after feeding it in pieces."""
    response = Response("GET /")
    at = 0
    while at < len(data) and response.body_left is None:
        end = len(data) if piece is None else at + piece
        used = response.feed(memoryview(data)[at:end])
        assert used or not data[at:end]
        at += used
    return response, at


def refusal(data):
    """Why a head is refused: the same however it is cut, and at the same byte."""
    said = set()
    for piece in (None, 1, 2, 7):
        try:
            response, _ = read(data, piece)
        except OtaError as error:
            assert error.code == "bad-answer"
            assert not error.may_retry
            said.add(error.message)
            continue
        raise AssertionError("taken: %r, %d" % (data[:80], response.status))
    assert len(said) == 1, said
    text = said.pop()
    assert text.startswith("GET /: ")
    return text


def test_a_head_is_the_same_whole_byte_by_byte_and_with_bytes_left_over():
    for piece in (None, 1, 2, 3, 50, len(GOOD)):
        for rest in (b"", b"hello", b"hello, and more"):
            response, used = read(GOOD + rest, piece)
            assert used == len(GOOD)
            assert (response.status, response.body_left) == (206, 5)
            assert response.headers == {"content-length": "5", "etag": '"abc"'}


def test_a_head_that_has_not_ended_has_no_length_yet():
    for end in range(len(GOOD)):
        response, used = read(GOOD[:end])
        assert used == end
        assert response.body_left is None


def test_the_body_is_counted_and_nothing_may_follow_it():
    response, _ = read(GOOD)
    response.take(2)
    response.take(3)
    assert response.body_left == 0
    response.take(0)
    try:
        response.take(1)
        raise AssertionError("a byte behind the body was taken")
    except OtaError as error:
        assert error.code == "bad-answer"
        assert "1 bytes follow" in error.message


def test_a_reason_may_be_missing_and_204_needs_no_length():
    assert read(b"HTTP/1.1 204 \r\n\r\n")[0].body_left == 0
    assert read(b"HTTP/1.1 204\r\n\r\n")[0].body_left == 0
    assert read(b"HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n")[0].body_left == 0
    assert read(b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n")[0].status == 200


def test_a_few_interim_responses_are_passed_over_with_their_headers():
    interim = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\nETag: x\r\n\r\n"
    response, _ = read(b"HTTP/1.1 100 Continue\r\n\r\n" + 2 * interim + GOOD, 1)
    assert (response.status, response.headers["etag"]) == (206, '"abc"')
    assert "101" in refusal(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + LENGTH)
    assert "100" in refusal(4 * b"HTTP/1.1 100 \r\n\r\n" + OK + LENGTH + b"\r\n")
    assert "more than" in refusal(2 * (b"HTTP/1.1 100 \r\n" + 3 * (b"A: " + 500 * b"a" + b"\r\n")
                                       + b"\r\n"))  # fmt: skip


REFUSED = (
    (b"HTTP/1.0 200 OK\r\n", "status line"),
    (b"HTTP/2 200 OK\r\n", "status line"),
    (b"http/1.1 200 OK\r\n", "status line"),
    (b"HTTP/1.1  200 OK\r\n", "status line"),
    (b"HTTP/1.1 20\r\n", "status line"),
    (b"HTTP/1.1 2000 OK\r\n", "status line"),
    (b"HTTP/1.1 099 OK\r\n", "status line"),
    (b"HTTP/1.1 +20 OK\r\n", "status line"),
    (b"HTTP/1.1 2\xd9\xa10 OK\r\n", "byte 0xd9"),
    (b"\r\nHTTP/1.1 200 OK\r\n", "status line"),
    (b"<html>\r\n", "status line"),
    (OK + b"\r\n", "Content-Length"),
    (OK + b"Content-Length: \r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: -1\r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: +1\r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: 0x10\r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: 1 0\r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: 5, 5\r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: 9999999999\r\n\r\n", "Content-Length"),
    (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n", "two headers content-length"),
    (OK + b"Content-Length: 5\r\ncontent-length: 6\r\n", "two headers content-length"),
    (OK + b"ETag: a\r\nETag: b\r\n", "two headers etag"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n", "transfer coding"),
    (OK + LENGTH + b"Transfer-Encoding: identity\r\n\r\n", "transfer coding"),
    (OK + b"Transfer-Encoding : chunked\r\n", "no header"),
    (OK + b"Content-Length : 5\r\n", "no header"),
    (OK + b"A: b\r\n folded\r\n", "no header"),
    (OK + b"A: b\r\n\tfolded\r\n", "no header"),
    (OK + b"no colon\r\n", "no header"),
    (OK + b": nameless\r\n", "no header"),
    (OK + b"A(b): c\r\n", "no header"),
    (OK + b"A: b\n", "CR LF"),
    (OK + b"A: b\rC: d\r\n", "CR LF"),
    (OK + b"A: b\r\r\n", "CR LF"),
    (b"HTTP/1.1 200 OK\n\n", "CR LF"),
    (OK + b"A: b\x00c\r\n", "byte 0x00"),
    (OK + b"A: \xc3\xa4\r\n", "byte 0xc3"),
    (OK + b"A: \x7f\r\n", "byte 0x7f"),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204 with a body"),
    (OK + b"A: " + LINE_BYTES * b"a" + b"\r\n", "a line of more than"),
    (3 * MAX_HEAD_BYTES * b"a", "a line of more than"),
    (OK + MAX_HEAD_BYTES // 4 * b"A: b\r\n", "a head of more than"),
)


def test_what_is_no_plain_response_is_refused_at_the_same_byte_however_it_is_cut():
    for data, why in REFUSED:
        assert why in refusal(data), (data, refusal(data))


def test_a_head_is_refused_while_it_still_comes_and_never_held():
    response = Response("GET /")
    sent = 0
    try:
        while True:
            sent += response.feed(OK if not sent else b"X: y\r\n")
            assert sent <= MAX_HEAD_BYTES
    except OtaError as error:
        assert "head of more than" in error.message
    assert sent > MAX_HEAD_BYTES - 10
