"""Which bytes of a representation a request asks for: RFC 9110, section 14.

One range is served in any of its forms. What may be passed over is (several ranges, other units,
what is no range): the whole is the answer then, which is never wrong.
"""

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(rb"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
# More digits than any size here has.
_MOST_DIGITS = 18


class NotSatisfiable(ValueError):
    """416: the range begins behind the end."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Bytes first to end - 1; is_part: the answer is 206, not 200."""

    first: int
    end: int
    is_part: bool


def select_bytes(
    range_value: bytes | None, if_range: bytes | None, etag: bytes, size: int
) -> Selection:
    """range_value, if_range: the headers, None where there is none. etag: with its quotes, strong.
    Raises NotSatisfiable."""
    whole = Selection(0, size, False)
    # A date is never ours, and a weak tag never equal (section 13.1.5).
    if range_value is None or (if_range is not None and if_range != etag):
        return whole
    match = _ONE_RANGE.fullmatch(range_value)
    if match is None:
        return whole
    first, last = (_number(digits) for digits in match.groups())
    if first is None:
        if last is None:
            return whole
        if last == 0:
            raise NotSatisfiable
        return Selection(max(0, size - last), size, True)
    if last is not None and last < first:
        return whole
    if first >= size:
        raise NotSatisfiable
    return Selection(first, size if last is None else min(size, last + 1), True)


def _number(digits: bytes) -> int | None:
    """None for none; what is too long for any size is as good as the largest."""
    if not digits:
        return None
    digits = digits.lstrip(b"0") or b"0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
