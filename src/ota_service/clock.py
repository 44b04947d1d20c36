"""The board's clock: set before an update, never below its floor.

A chip counts from 2000-01-01 when power comes, and the agent's certificate is checked against
that clock. It is set by NTP, which nobody signs: whoever is in the same network can answer. Such
an answer can put the clock forward, so that the agent's certificate looks expired and no update
happens, and back as far as the floor, so that one which expired since then is taken again; never
below the floor. No time is taken from HTTP.

The floor is the newest of what NVS holds and the running image's build date. NVS is raised only
at confirmation: the update that brought this firmware passed the agent's certificate with this
clock, so a wrong time moves the floor no further than that certificate lasts.
"""

from time import gmtime

from .compat import const
from .errors import BadRequest, OtaError

_NAMESPACE = const("ota")
_KEY = const("time")  # i32, seconds since 2000-01-01
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND, nvs.h
_YEAR_2000 = const(946684800)
_I32_MAX = const(0x7FFFFFFF)  # in January 2068
_DAY_S = const(86400)
_MONTHS = const("JanFebMarAprMayJunJulAugSepOctNovDec")
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def floor(board, running):
    """The time that the clock is not below, seconds since 1970.

    running: the running image's app descriptor, or None. Raises OtaError("nvs-unreadable").
    """
    # C's __DATE__ and __TIME__ are of some time zone, at most 14 hours ahead of UTC: a day off
    # them is in the past wherever the image was built.
    built = _build_time(running) - _DAY_S if running is not None else 0
    return _YEAR_2000 + max(_stored(board), built)


def raise_floor(board):
    """At confirmation: keep the time as the floor, where it is a day or more above what NVS holds
    (which wears) and fits. Hardware that keeps time needs no floor. Raises OSError, OtaError."""
    if board.keeps_time:
        return
    now = board.time() - _YEAR_2000
    if _stored(board) + _DAY_S <= now <= _I32_MAX:
        nvs = board.nvs(_NAMESPACE)
        if nvs is not None:
            nvs.set_i32(_KEY, now)


async def set_clock(board, running, host, timeout_s):
    """Before an update: set a clock that power cuts stop, by NTP, and at least to the floor.

    running: as for `floor`. host: the NTP server, `HOST` or `HOST:PORT`; None: no NTP. It is asked
    until it has answered, and again after a day. timeout_s: seconds for its answer.
    Returns one line for the log, None if there was nothing to do. Raises OtaError as `floor` does,
    nothing when the network fails.
    """
    if board.keeps_time:
        return None
    lowest = floor(board, running)
    said = None
    if host is not None and _is_due(board):
        said = await _set_by_ntp(board, lowest, host, timeout_s)
    # An expired certificate must not become valid because power was cut.
    if board.time() < lowest:
        board.set_time(lowest)
        said = (said + "; " if said else "") + "clock set to its floor, " + _text(lowest)
    return said


def _is_due(board):
    last = board.ntp_answered_at
    return last is None or not 0 <= board.time() - last < _DAY_S


async def _set_by_ntp(board, lowest, host, timeout_s):
    from . import ntp
    from .request import parse_address

    try:
        name, port = parse_address(host, ntp.PORT)
        now = await ntp.query(name, port, timeout_s)
    except (BadRequest, ntp.NtpError) as error:
        return "no time from NTP: %s" % error
    if now < lowest:
        return "NTP server %s ignored: %s is below the floor" % (host, _text(now))
    if now > _YEAR_2000 + _I32_MAX:
        return "NTP server %s ignored: its year is not before 2068" % host
    board.set_time(now)
    board.ntp_answered_at = now
    return "clock set by NTP server %s to %s" % (host, _text(now))


def _stored(board):
    """What NVS holds: 0 when it holds nothing, or when the board has no NVS."""
    try:
        nvs = board.nvs(_NAMESPACE)
        return max(0, nvs.get_i32(_KEY)) if nvs is not None else 0
    except OSError as error:
        if error.args and error.args[0] == _NOT_FOUND:
            return 0
        raise OtaError("nvs-unreadable", "the clock's floor in NVS: %s" % error)


def _build_time(running):
    """Seconds from 2000-01-01 to the build, as its clock on the wall showed it; 0 if the image
    does not say or says it otherwise than C's __DATE__ and __TIME__."""
    date, time = running.date, running.time
    try:
        year, month, day = int(date[7:]), _MONTHS.index(date[:3]) // 3, int(date[4:6])
        hour, minute, second = int(time[:2]), int(time[3:5]), int(time[6:])
    except ValueError:
        return 0
    # Bounds that keep what follows in 32 bits; the rest is checked at the end.
    if not 2000 <= year < 2068 or day > 31 or len(time) != 8:
        return 0
    days = (year - 2000) * 365 + (year - 1997) // 4 + _DAYS_BEFORE[month] + day - 1
    if month > 1 and year % 4 == 0:
        days += 1
    seconds = days * _DAY_S + hour * 3600 + minute * 60 + second
    # A day or an hour that there is not comes out as another one.
    found = civil(_YEAR_2000 + seconds)
    name = _MONTHS[found[1] * 3 - 3 : found[1] * 3]
    if "%s %2d %d %02d:%02d:%02d" % ((name, found[2], found[0]) + found[3:]) != date + " " + time:
        return 0
    return seconds


def civil(seconds):
    """(year, month, day, hour, minute, second); MicroPython on the ESP32 counts from 2000."""
    return tuple(gmtime(seconds if gmtime(0)[0] == 1970 else seconds - _YEAR_2000)[:6])


def _text(seconds):
    return "%d-%02d-%02d %02d:%02d:%02d UTC" % civil(seconds)
