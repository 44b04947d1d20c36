"""If-Match, as RFC 9110, section 13.1.1, has it."""

import re
from dataclasses import dataclass

from starlette.requests import Request

# RFC 9110, section 8.8.3
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_TAGS = re.compile(rf"{_TAG.pattern}(?:[ \t]*,[ \t]*{_TAG.pattern})*")


@dataclass(frozen=True, slots=True)
class IfMatch:
    """strong: the tags that may match, None for `*`. has_weak: others stand there too, which never
    match."""

    strong: frozenset[str] | None
    has_weak: bool


def if_match_of(request: Request) -> IfMatch | None:
    """None without it. Raises ValueError for what is neither `*` nor entity tags."""
    given = request.headers.getlist("if-match")
    if not given:
        return None
    text = ", ".join(given).strip()
    if text == "*":
        return IfMatch(None, False)
    if not _TAGS.fullmatch(text):
        raise ValueError('If-Match: expected * or entity tags, as "0f34..."')
    found = _TAG.findall(text)
    return IfMatch(frozenset(tag for weak, tag in found if not weak), any(w for w, _ in found))
