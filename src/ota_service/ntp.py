"""An SNTP client: one question over UDP, one answer.

Not checked here: who answers. NTP is not authenticated; what an answer may do is clock.py's
matter. Source: RFC 4330 section 5, RFC 5905 sections 7.3 (packet) and 7.4 (kiss-o'-death).
"""

import asyncio
import errno
import os
import socket

from .compat import const

PORT = 123
_PACKET_BYTES = const(48)
_CLIENT = const(b"\x23")  # leap indicator 0, version 4, mode 3
_SERVER_MODE = const(4)
_UNSYNCHRONISED = const(3)
_MAX_STRATUM = const(15)
_YEAR_2000 = const(946684800)
_POLL_S = const(0.03)


class NtpError(Exception):
    """No time from the server; its text is one line."""


async def query(host, port=PORT, timeout_s=5, now_floor=0):
    """Ask `host`, an IPv4 address or a name, for the time: seconds since 1970, UTC.

    now_floor: seconds since 1970, decides the era: see `unix_seconds`. Raises NtpError. On
    MicroPython the name is looked up in a call that blocks; nothing else does.
    """
    try:
        seconds = await asyncio.wait_for(_ask(host, port), timeout_s)
    except asyncio.TimeoutError:
        raise NtpError("%s:%d: no answer within %s s" % (host, port, timeout_s))
    except (OSError, ValueError, NtpError) as error:
        raise NtpError("%s:%d: %s" % (host, port, error))
    return unix_seconds(seconds, now_floor)


def unix_seconds(ntp_seconds, now_floor=0):
    """Seconds since 1970 of NTP's 32-bit seconds since 1900, which wrap in 2036 and each 136
    years: the first time that fits and is not below `now_floor`, nor below 2000-01-01."""
    earliest = max(now_floor, _YEAR_2000)
    return earliest + (ntp_seconds - 2208988800 - earliest) % (1 << 32)


async def _ask(host, port):
    """The seconds of the first answer that counts; others are passed over, however many."""
    address = await _look_up(host, port)
    nonce = os.urandom(8)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setblocking(False)
        # Connected, the socket takes datagrams from this address and port alone.
        udp.connect(address)
        udp.send(_CLIENT + bytes(39) + nonce)
        while True:
            packet = _receive(udp)
            seconds = read_answer(packet, nonce)
            if seconds is not None:
                return seconds
            # After an empty datagram an ESP32 reads nothing but empty ones: that must not spin.
            await asyncio.sleep(0 if packet else _POLL_S)
    finally:
        udp.close()


async def _look_up(host, port):
    loop = asyncio.get_event_loop()
    if hasattr(loop, "getaddrinfo"):
        found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    else:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
    return found[0][-1]


def _receive(udp):
    """A datagram, or empty bytes when there is none."""
    try:
        return udp.recv(_PACKET_BYTES)
    except OSError as error:
        if error.args[0] != errno.EAGAIN:
            raise
        return b""


def read_answer(packet, nonce):
    """The transmit timestamp's seconds since 1900; None if this is no answer to `nonce` or the
    server's own clock is not set. Raises NtpError for a kiss-o'-death."""
    if len(packet) < _PACKET_BYTES or packet[0] & 7 != _SERVER_MODE or packet[24:32] != nonce:
        return None
    stratum = packet[1]
    if stratum == 0:
        code = "".join([chr(c) if 0x20 < c < 0x7F else "?" for c in packet[12:16]])
        raise NtpError("the server wants no questions: %s" % code)
    if stratum > _MAX_STRATUM or packet[0] >> 6 == _UNSYNCHRONISED or not any(packet[40:48]):
        return None
    return int.from_bytes(packet[40:44], "big")
