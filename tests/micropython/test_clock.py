"""The board's clock and its floor, on both runtimes; NTP answers come from a real server here."""

import asyncio
import binascii
import os
import socket

from esp_image import build
from esp_image.header import parse_descriptor
from esp_partition import table
from ota_service import clock, ntp
from ota_service.errors import OtaError
from virtual_esp32 import board as board_module
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.manufacture import flash_content

YEAR_2000 = 946684800
DAY = 86400
BUILT = 1795610096  # 2026-11-25 12:34:56 UTC
LAST = YEAR_2000 + 0x7FFFFFFF

APP = build.build_app("1.0.0", "thermo", chip="esp32c6", size=4096)


def new_board(since=YEAR_2000, nvs="nvs,data,nvs,0x9000,0x4000\n"):
    layout = nvs + "otadata,data,ota,0xd000,0x2000\nota_0,app,ota_0,0x10000,0x10000\n"
    flash = NorFlash(MemoryStorage(flash_content(0x20000, APP, table.parse_csv(layout))))
    board = VirtualBoard(flash, EFuse(b"\x02\x00\x00\x00\x00\x01", chip="esp32c6"), clock=since)
    board.boot()
    return board


def without_nvs():
    return new_board(nvs="")


def with_unreadable_nvs(since=YEAR_2000):
    board = new_board(since)
    page = b"\xfe\xff\xff\xff" + bytes(4) + b"\xfd" + b"\xff" * 19  # of a newer format
    crc = binascii.crc32(page[4:], 0xFFFFFFFF)
    board.flash.write(0x9000, page + crc.to_bytes(4, "little"))
    return board


def image_of(date="Nov 25 2026", time="12:34:56"):
    raw = bytearray(build.build_descriptor("1.0.0", "thermo"))
    raw[80:96] = (time.encode() + bytes(16))[:16]
    raw[96:112] = (date.encode() + bytes(16))[:16]
    descriptor = parse_descriptor(raw)
    assert (descriptor.date, descriptor.time) == (date, time)
    return descriptor


def keep(board, seconds):
    """Put a time into NVS: seconds since 1970."""
    board.nvs("ota").set_i32("time", seconds - YEAR_2000)


def kept(board):
    return board.nvs("ota").get_i32("time") + YEAR_2000


def code_of(operation, *arguments):
    try:
        operation(*arguments)
    except OtaError as error:
        return error.code
    raise AssertionError("not refused")


class Laptop:
    """A stand-in for the time module, moved by hand."""

    def __init__(self, now):
        self.now = now

    def time(self):
        return self.now


class NtpServer:
    """An NTP server on 127.0.0.1 that says `now`, in the same event loop."""

    def __init__(self, now):
        self.now = now
        self.questions = 0
        self._stopped = False

    async def __aenter__(self):
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setblocking(False)
        while True:  # MicroPython cannot say which port it was given
            port = 20000 + int.from_bytes(os.urandom(2), "big") % 40000
            try:
                self._udp.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
                break
            except OSError:
                pass
        self.host = "127.0.0.1:%d" % port
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *error):
        self._stopped = True
        await self._task
        self._udp.close()

    async def _serve(self):
        while not self._stopped:
            try:
                question, peer = self._udp.recvfrom(64)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            self.questions += 1
            seconds = (self.now + 2208988800) & 0xFFFFFFFF
            stamp = seconds.to_bytes(4, "big") + b"\x80\x00\x00\x00"
            self._udp.sendto(b"\x24\x02" + bytes(22) + question[40:48] + bytes(8) + stamp, peer)


def set_clock(board, running=None, host=None):
    return asyncio.run(clock.set_clock(board, running, host, 5))


def set_by_ntp(board, running, *answers, between=None):
    """Set the clock as often as there are answers; what was said and the number of questions."""

    async def run():
        said = []
        async with NtpServer(0) as server:
            for answer in answers:
                server.now = answer
                said.append(await clock.set_clock(board, running, server.host, 5))
                if between is not None:
                    between()
            return said, server.questions

    return asyncio.run(run())


# -- the floor ----------------------------------------------------------------------------------


def test_without_anything_known_the_floor_is_the_year_2000():
    assert clock.floor(new_board(), None) == YEAR_2000
    assert clock.floor(new_board(), image_of("", "")) == YEAR_2000


def test_a_build_date_counts_less_a_day_as_its_time_zone_is_unknown():
    board = new_board()
    for date, time, expected in (
        ("Nov 25 2026", "12:34:56", BUILT),
        ("Nov  5 2026", "12:34:56", BUILT - 20 * DAY),
        ("Jan  2 2000", "00:00:00", YEAR_2000 + DAY),
        ("Feb 29 2000", "00:00:00", 951782400),
        ("Dec 31 2027", "23:59:59", 1830297599),
        ("Jan  1 2028", "00:00:00", 1830297600),
        ("Feb 29 2028", "00:00:00", 1835395200),
        ("Mar  1 2028", "00:00:00", 1835481600),
        ("Dec 31 2067", "23:59:59", 3092601599),
    ):
        assert clock.floor(board, image_of(date, time)) == expected - DAY, date


def test_a_build_date_written_otherwise_is_none():
    board = new_board()
    for date in (
        "", "Nov 25 202", "Nov 25 20266", "Nov 25 2026 ", "2026-11-25", "nov 25 2026",
        "ovD 25 2026", "Nov 05 2026", "Nov 31 2026", "Feb 29 2027", "Feb 30 2028", "Nov  0 2026",
        "Nov -1 2026", "Nov 99 2026", "Nov 2_5 2026", "Nov +5 2026", "Nov 25 1999", "Jan  1 2068",
        "Nov 25 9999", "Nov 25 +202", "Nov 25 -001", "Nov \u0662\u0665 2026",
    ):  # fmt: skip
        assert clock.floor(board, image_of(date)) == YEAR_2000, date
    for time in (
        "", "24:00:00", "12:60:00", "12:00:60", "12:34:5", "12:34:560", "12-34-56", "-1:00:00",
        "+1:00:00", "1 :00:00", "noon",
    ):  # fmt: skip
        assert clock.floor(board, image_of(time=time)) == YEAR_2000, time


def test_the_newer_of_nvs_and_build_date_is_the_floor():
    board = new_board()
    keep(board, BUILT - 2 * DAY)
    assert clock.floor(board, image_of()) == BUILT - DAY
    assert clock.floor(board, None) == BUILT - 2 * DAY
    keep(board, BUILT)
    assert clock.floor(board, image_of()) == BUILT


def test_a_time_before_2000_in_nvs_is_no_floor():
    board = new_board()
    keep(board, YEAR_2000 - 1000 * DAY)
    assert clock.floor(board, None) == YEAR_2000
    board.set_time(YEAR_2000 + 3600)
    clock.raise_floor(board)
    assert kept(board) < YEAR_2000


def test_a_board_without_nvs_has_the_build_date_alone():
    board = without_nvs()
    assert clock.floor(board, image_of()) == BUILT - DAY
    board.set_time(BUILT)
    clock.raise_floor(board)


def test_unreadable_nvs_is_an_error_and_not_no_floor():
    board = with_unreadable_nvs()
    assert code_of(clock.floor, board, image_of()) == "nvs-unreadable"
    assert code_of(clock.raise_floor, board) == "nvs-unreadable"
    assert code_of(set_clock, board, image_of()) == "nvs-unreadable"
    assert board.time() < YEAR_2000 + DAY


def test_confirmation_keeps_the_time_as_the_floor():
    board = new_board()
    board.set_time(BUILT)
    clock.raise_floor(board)
    assert BUILT <= kept(board) <= BUILT + 10
    again = VirtualBoard(board.flash, board.efuse, clock=YEAR_2000)
    again.boot()
    assert clock.floor(again, None) == kept(board)


def test_hardware_that_keeps_time_gets_no_floor():
    board = new_board(since=None)
    operations = board.flash.operations
    clock.raise_floor(board)
    assert board.flash.operations == operations


def test_the_floor_is_never_lowered():
    board = new_board()
    keep(board, BUILT)
    for now in (YEAR_2000, BUILT - 2 * DAY, BUILT):
        board.set_time(now)
        clock.raise_floor(board)
        assert kept(board) == BUILT


def test_the_floor_is_written_for_a_whole_day_only():
    board = new_board()
    board.set_time(BUILT)
    clock.raise_floor(board)
    first = kept(board)
    operations = board.flash.operations
    board.set_time(first + DAY - 60)
    clock.raise_floor(board)
    assert (kept(board), board.flash.operations) == (first, operations)
    board.set_time(first + DAY)
    clock.raise_floor(board)
    assert kept(board) >= first + DAY


def test_a_time_that_32_bits_do_not_carry_is_not_kept():
    board = new_board()
    keep(board, BUILT)
    for now in (LAST + 1, LAST + (1 << 32)):
        board.set_time(now)
        clock.raise_floor(board)
        assert kept(board) == BUILT
    board.set_time(LAST - 60)
    clock.raise_floor(board)
    assert kept(board) >= LAST - 60


# -- NTP's numbers ------------------------------------------------------------------------------


def test_ntp_seconds_are_of_the_first_era_not_below_the_floor():
    wrap = 1 << 32
    assert ntp.unix_seconds(2208988800 + BUILT) == BUILT
    assert ntp.unix_seconds(2208988800 + YEAR_2000) == YEAR_2000
    # one second before 2000 can only be one in 2136
    assert ntp.unix_seconds(2208988800 + YEAR_2000 - 1) == YEAR_2000 - 1 + wrap
    # 2036-02-07 06:28:15 and the second after it, where the 32 bits wrap
    assert ntp.unix_seconds(0xFFFFFFFF) == 2085978495
    assert ntp.unix_seconds(0) == 2085978496
    assert ntp.unix_seconds(0, BUILT) == 2085978496
    assert ntp.unix_seconds(0, 2085978496) == 2085978496
    assert ntp.unix_seconds(0, 2085978497) == 2085978496 + wrap
    assert ntp.unix_seconds((2208988800 + BUILT) % wrap, BUILT + 1) == BUILT + wrap
    assert ntp.unix_seconds(0, 3 * wrap) == 2085978496 + 3 * wrap


# -- setting the clock --------------------------------------------------------------------------


def test_a_clock_below_the_floor_is_set_to_it_without_ntp():
    board = new_board()
    keep(board, BUILT)
    assert set_clock(board) == "clock set to its floor, 2026-11-25 12:34:56 UTC"
    assert BUILT <= board.time() <= BUILT + 10
    assert set_clock(board) is None


def test_a_clock_above_the_floor_stays_without_ntp():
    board = new_board(since=BUILT)
    assert set_clock(board, image_of()) is None
    assert BUILT <= board.time() <= BUILT + 10


def test_hardware_that_keeps_time_is_left_alone_and_nobody_is_asked():
    board = new_board(since=None)
    keep(board, LAST)
    assert set_by_ntp(board, image_of(), BUILT) == ([None], 0)
    assert set_clock(with_unreadable_nvs(since=None)) is None


def test_ntp_sets_the_clock_forward_and_back_above_the_floor():
    for since in (YEAR_2000, BUILT + 100 * DAY):
        board = new_board(since=since)
        said, questions = set_by_ntp(board, image_of(), BUILT)
        assert "clock set by NTP server 127.0.0.1:" in said[0], said
        assert said[0].endswith(" to 2026-11-25 12:34:56 UTC"), said
        assert BUILT <= board.time() <= BUILT + 10
        assert questions == 1


def test_ntp_of_the_era_after_2036_sets_the_clock():
    board = new_board()
    said, _ = set_by_ntp(board, image_of(), 2085978500)
    assert said[0].endswith(" to 2036-02-07 06:28:20 UTC"), said
    assert 2085978500 <= board.time() <= 2085978510


def test_ntp_below_the_floor_is_ignored_and_the_clock_stands_at_the_floor():
    board = new_board()
    keep(board, BUILT)
    said, questions = set_by_ntp(board, None, BUILT - 1, BUILT - 1)
    assert questions == 2  # nothing that was believed: asked again
    assert said[0].endswith(
        " ignored: 2026-11-25 12:34:55 UTC is below the floor; "
        "clock set to its floor, 2026-11-25 12:34:56 UTC"
    ), said
    assert said[1].endswith("below the floor"), said
    assert BUILT <= board.time() <= BUILT + 10


def test_ntp_at_the_floor_is_taken():
    board = new_board()
    keep(board, BUILT)
    said, _ = set_by_ntp(board, None, BUILT)
    assert "clock set by NTP" in said[0], said


def test_ntp_beyond_what_the_board_can_keep_is_ignored():
    board = new_board()
    for answer, taken in ((LAST + 1, False), (LAST + 1000 * DAY, False), (LAST, True)):
        said, _ = set_by_ntp(board, image_of(), answer)
        assert ("ignored: its year is not before 2068" not in said[0]) == taken, said
        assert (board.time() >= LAST) == taken


def test_ntp_is_asked_once_a_boot_and_again_after_a_day():
    board = new_board()
    said, questions = set_by_ntp(board, image_of(), BUILT, BUILT + 5)
    assert questions == 1 and said[1] is None
    board.set_time(BUILT + DAY - 60)
    assert set_by_ntp(board, image_of(), BUILT) == ([None], 0)
    board.set_time(BUILT + DAY)
    assert set_by_ntp(board, image_of(), BUILT + DAY)[1] == 1
    assert set_by_ntp(board, image_of(), BUILT + DAY)[1] == 0
    board.boot()
    assert set_by_ntp(board, image_of(), BUILT + DAY)[1] == 1


def test_ntp_is_asked_again_when_the_clock_was_set_back_since():
    board = new_board()
    _, questions = set_by_ntp(board, None, BUILT, BUILT, between=lambda: board.set_time(YEAR_2000))
    assert questions == 2


def test_two_boards_in_one_process_ask_each_for_itself():
    boards = [new_board(), new_board()]
    assert [set_by_ntp(board, None, BUILT)[1] for board in boards] == [1, 1]


def test_ntp_trouble_is_said_the_clock_is_at_the_floor_and_the_next_time_asks_again():
    board = new_board()

    async def gone():
        async with NtpServer(0) as server:
            return server.host

    host = asyncio.run(gone())
    said = set_clock(board, image_of(), host)
    assert said.startswith("no time from NTP: %s: " % host), said
    assert said.endswith("; clock set to its floor, 2026-11-24 12:34:56 UTC"), said
    assert "\n" not in said
    said = set_clock(board, image_of(), host)
    assert said.startswith("no time from NTP: ") and "floor" not in said, said
    said, questions = set_by_ntp(board, image_of(), BUILT)
    assert questions == 1 and "clock set by NTP" in said[0]


def test_a_server_that_cannot_be_one_is_said_and_not_asked():
    for host in ("", "no such host", "127.0.0.1:0", "a" * 64 + ".example"):
        said = set_clock(new_board(since=BUILT), None, host)
        assert said.startswith("no time from NTP: "), said


# -- the virtual board's clock ------------------------------------------------------------------


def test_a_virtual_board_has_the_laptops_clock_or_its_own():
    laptop = Laptop(BUILT + 0.9)
    module, board_module.time = board_module.time, laptop
    try:
        kept_by_laptop, own = new_board(since=None), new_board()
        assert kept_by_laptop.keeps_time and not own.keeps_time
        assert (kept_by_laptop.time(), own.time()) == (BUILT, YEAR_2000)
        laptop.now += 61
        assert (kept_by_laptop.time(), own.time()) == (BUILT + 61, YEAR_2000 + 61)
        kept_by_laptop.set_time(YEAR_2000)
        own.set_time(BUILT)
        assert (kept_by_laptop.time(), own.time()) == (BUILT + 61, BUILT)
        laptop.now += 10
        own.boot()  # a reset
        assert own.time() == BUILT + 10
        again = VirtualBoard(own.flash, own.efuse, clock=YEAR_2000)  # power was cut
        assert again.time() == YEAR_2000
    finally:
        board_module.time = module
