"""Order of version texts, for the policy `newer`.

A version is numbers with dots (`1.4`, `v2.0.1`), of any count, missing ones 0. What follows:

- `-N-gHASH`, as `git describe` writes it: N commits after that version, so newer than it;
- another `-TEXT`: a pre-release, older than the version itself, its dotted parts compared as
  Semantic Versioning 2.0.0, section 11, does;
- `+TEXT` and a closing `-dirty` count for nothing.
"""


def compare(a, b):
    """-1, 0 or 1: version a is older than, as new as, or newer than b.

    Raises ValueError for a text that is no version, the empty one included.
    """
    key_a, key_b = _parse(a), _parse(b)
    return (key_a > key_b) - (key_a < key_b)


def _parse(text):
    """(numbers, rank, commits or pre-release parts), comparable."""
    rest = text[1:] if text[:1] in ("v", "V") else text
    rest = rest.split("+")[0]
    if rest.endswith("-dirty"):
        rest = rest[: -len("-dirty")]
    parts = rest.split("-")
    numbers = [_number(part, text) for part in parts[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    suffix = parts[1:]
    commits = _commits(suffix)
    if commits is not None:
        suffix = suffix[:-2]
    if not suffix:
        return numbers, 1, [], commits or 0
    return numbers, 0, _pre_release("-".join(suffix)), commits or 0


def _number(text, version):
    if not text or any(c not in "0123456789" for c in text):
        raise ValueError("%r is no version: expected numbers with dots first" % version)
    return int(text)


def _commits(suffix):
    """N of a closing `N-gHASH`, else None."""
    if len(suffix) < 2 or not _is_digits(suffix[-2]) or suffix[-1][:1] != "g":
        return None
    hash = suffix[-1][1:]
    if not hash or any(c not in "0123456789abcdef" for c in hash):
        return None
    return int(suffix[-2])


def _pre_release(text):
    """Numbers sort below words, numbers by value, words by code point."""
    return [(0, int(p), "") if _is_digits(p) else (1, 0, p) for p in text.split(".")]


def _is_digits(text):
    return bool(text) and all(c in "0123456789" for c in text)
