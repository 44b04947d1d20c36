"""Numbers as texts that are short and stay so: three digits and a unit."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def size_text(size: float) -> str:
    """Bytes, at most 7 characters: `512 B`, `51.2 kB`, `1.05 MB`."""
    return _three_digits(size, ("B", "kB", "MB", "GB", "TB", "PB", "EB"), " ")


def count_text(count: int) -> str:
    """At most 5 characters: `999`, `12.3k`, `1.05M`."""
    return _three_digits(count, ("", "k", "M", "G", "T", "P", "E"), "")


def duration_text(seconds: float) -> str:
    """At most 5 characters: `0:42`, `59:59`, `9h59m`, `12h`, `3d`, `>999d`."""
    whole = int(min(seconds, 1e12))
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}:{whole % _MINUTE_S:02}"
    if whole < 10 * _HOUR_S:
        return f"{whole // _HOUR_S}h{whole % _HOUR_S // _MINUTE_S:02}m"
    if whole < 2 * _DAY_S:
        return f"{whole // _HOUR_S}h"
    return f"{whole // _DAY_S}d" if whole < 1000 * _DAY_S else ">999d"


def _three_digits(number: float, units: tuple[str, ...], gap: str) -> str:
    if number < 999.5:
        return f"{number:.0f}{gap}{units[0]}"
    for unit in units[1:]:
        number /= 1000
        if number < 999.5 or unit == units[-1]:
            break
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f}{gap}{unit}"
