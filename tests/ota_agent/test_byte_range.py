import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent.byte_range import NotSatisfiable, Selection, select_bytes

ETAG = b'"' + b"ab" * 32 + b'"'
SIZE = 1000
WHOLE = Selection(0, SIZE, False)


@pytest.mark.parametrize(
    ("value", "first", "end"),
    [
        (b"bytes=0-", 0, 1000),
        (b"bytes=1-", 1, 1000),
        (b"bytes=999-", 999, 1000),
        (b"bytes=0-0", 0, 1),
        (b"bytes=10-19", 10, 20),
        (b"bytes=990-5000", 990, 1000),
        (b"bytes=990-" + b"9" * 3000, 990, 1000),
        (b"bytes=-1", 999, 1000),
        (b"bytes=-1000", 0, 1000),
        (b"bytes=-99999999999999999999999", 0, 1000),
        (b"BYTES=5-", 5, 1000),
        (b"bytes= 5- ", 5, 1000),
        (b"bytes=" + b"0" * 3000 + b"5-", 5, 1000),
    ],
)
@pytest.mark.parametrize("if_range", [None, ETAG])
def test_one_range_in_any_form_is_served(
    value: bytes, first: int, end: int, if_range: bytes | None
) -> None:
    assert select_bytes(value, if_range, ETAG, SIZE) == Selection(first, end, True)


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"bytes", b"bytes=", b"bytes=-", b"bytes=0-1,5-9", b"bytes=0-,0-", b"bytes=5-4",
        b"bytes=a-", b"bytes=0x5-", b"bytes=+5-", b"bytes=-5-", b"bytes 5-", b"lines=5-", b"5-",
        b"bytes=" + b"0-," * 1000,
    ],
)  # fmt: skip
def test_what_may_be_passed_over_is_answered_with_the_whole(value: bytes | None) -> None:
    assert select_bytes(value, None, ETAG, SIZE) == WHOLE


@pytest.mark.parametrize("value", [b"bytes=1000-", b"bytes=1000-2000", b"bytes=-0",
                                   b"bytes=" + b"9" * 3000 + b"-"])  # fmt: skip
def test_a_range_behind_the_end_cannot_be_satisfied(value: bytes) -> None:
    with pytest.raises(NotSatisfiable):
        select_bytes(value, ETAG, ETAG, SIZE)


@pytest.mark.parametrize(
    "if_range",
    [
        b"", b'"' + b"cd" * 32 + b'"', b"W/" + ETAG, ETAG[1:-1], ETAG.upper(), b"*",
        b"Thu, 26 Nov 2026 13:40:22 GMT",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [b"bytes=5-", b"bytes=1000-"])
def test_a_board_that_has_another_image_begun_gets_the_whole(value: bytes, if_range: bytes) -> None:
    assert select_bytes(value, if_range, ETAG, SIZE) == WHOLE


@given(st.binary(max_size=40), st.integers(1, 2000))
def test_whatever_is_asked_for_lies_within(value: bytes, size: int) -> None:
    try:
        found = select_bytes(b"bytes=" + value, None, ETAG, size)
    except NotSatisfiable:
        return
    assert 0 <= found.first < found.end <= size
