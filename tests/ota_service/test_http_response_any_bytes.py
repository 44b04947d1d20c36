"""Whatever bytes come for a response: taken or refused the same way, however they are cut, in
bounded memory."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ota_service.errors import OtaError
from ota_service.http_response import MAX_HEAD_BYTES, Response

PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 \r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n",
        b"Content-Length: ", b"5", b"ETag: ", b"Transfer-Encoding: chunked\r\n", b": ", b"\n",
        b"\r",        b" ", b"\t", b"\0", b"X", b"x" * 200, b"HTTP/1.1 ",
    ]
)  # fmt: skip
STREAMS = st.one_of(
    st.binary(max_size=300),
    st.lists(PIECES, max_size=40).map(b"".join),
    st.lists(PIECES, max_size=8).map(lambda more: b"HTTP/1.1 200 OK\r\n" + b"".join(more)),
)


def outcome(data: bytes, sizes: list[int]) -> tuple[Any, ...]:
    """What a reader makes of these bytes in pieces of these sizes, over and over."""
    response = Response("GET /")
    at = turn = 0
    try:
        while at < len(data) and response.body_left is None:
            size = sizes[turn % len(sizes)]
            turn += 1
            at += response.feed(memoryview(data)[at : at + size])
    except OtaError as error:
        return error.code, error.message
    assert at <= MAX_HEAD_BYTES
    assert len(response._line) <= 512  # type: ignore[attr-defined]
    return response.status, response.headers, response.body_left, at


@settings(max_examples=400, deadline=None)
@given(STREAMS, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_the_way_it_is_cut_makes_no_difference(data: bytes, sizes: list[int]) -> None:
    whole = outcome(data, [max(1, len(data))])
    assert outcome(data, sizes) == whole
    assert outcome(data, [1]) == whole
    if whole[0] == "bad-answer":
        assert whole[1].isprintable()
