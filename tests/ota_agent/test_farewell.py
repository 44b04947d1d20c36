"""How a connection is closed: with close_notify, with everything that was sent, and not later than
it must be. No agent here: two ends of a TCP connection, and a clock that is told the time."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ota_agent.errors import PeerError
from ota_agent.farewell import Farewell
from ota_agent.tls_connection import WantWrite
from tests.ota_agent.board_peer import reset
from tests.ota_agent.tls_pair import Pair, Pairs

IDLE_S, CLOSING_S = 30.0, 5.0


def goodbye(pair: Pair, now: float = 0.0) -> Farewell:
    return Farewell(pair.agent, now, idle_s=IDLE_S, closing_s=CLOSING_S)


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    return Pairs(tmp_path)


def test_close_notify_follows_even_if_the_kernel_had_no_room_for_it(pairs: Pairs) -> None:
    """The image's last record may fill the buffer to the brim. A board that gets a FIN without
    close_notify must take it for a connection that broke."""
    most = pairs.most_that_fits(16384)
    whole, cut_short = [], []
    for count in range(most - 60, most + 1):
        with pairs.pair(16384) as pair:
            # The limit is not the same to the byte each time.
            if pair.send(count) < count:
                continue
            farewell = None
            received, has_ended = 0, False
            try:
                while not has_ended:
                    if farewell is None:
                        with suppress(WantWrite):
                            farewell = goodbye(pair)
                    else:
                        assert not farewell.is_over(0.0)
                    more, has_ended = pair.read()
                    received += more
            except ssl.SSLEOFError:
                cut_short.append(count)
            else:
                assert received == count
                whole.append(count)
    assert cut_short == []
    assert len(whole) > 30


def test_a_board_that_has_everything_may_take_its_time_to_close_but_not_for_ever(
    pairs: Pairs,
) -> None:
    with pairs.pair() as pair:
        pair.send(1000)
        farewell = goodbye(pair, 100.0)
        assert pair.read() == (1000, True)
        assert not farewell.is_over(101.0)
        assert not farewell.is_over(101.0 + CLOSING_S - 0.01)
        assert farewell.is_over(101.0 + CLOSING_S)


def test_a_board_that_takes_nothing_is_given_up_after_the_idle_time(pairs: Pairs) -> None:
    with pairs.pair() as pair:
        pair.send(20_000)
        farewell = goodbye(pair, 100.0)
        assert not farewell.is_over(101.0)
        assert not farewell.is_over(101.0 + IDLE_S - 0.01)
        with pytest.raises(PeerError) as raised:
            farewell.is_over(101.0 + IDLE_S)
        assert raised.value.outcome == "transfer-timeout"


def test_a_board_that_has_everything_and_closes_is_let_go_at_once(pairs: Pairs) -> None:
    with pairs.pair() as pair:
        pair.send(1000)
        farewell = goodbye(pair)
        assert pair.read() == (1000, True)
        pair.board.close()
        assert farewell.is_over(0.0)


def test_a_board_that_closed_its_side_and_reads_on_is_waited_for(pairs: Pairs) -> None:
    with pairs.pair() as pair:
        assert pair.send(20_000) == 20_000
        with socket.socket(fileno=socket.dup(pair.board.fileno())) as raw:
            raw.shutdown(socket.SHUT_WR)
        farewell = goodbye(pair)
        assert not farewell.is_over(1.0)
        received, has_ended = 0, False
        while not has_ended:
            more, has_ended = pair.read()
            received += more
        assert received == 20_000
        while not farewell.is_over(2.0):
            assert pair.agent.unacknowledged_bytes()


def test_a_board_that_resets_with_a_part_under_way_has_not_got_it(pairs: Pairs) -> None:
    with pairs.pair() as pair:
        pair.send(20_000)
        farewell = goodbye(pair)
        assert not farewell.is_over(0.0)
        reset(pair.board)
        with pytest.raises(ConnectionResetError):
            farewell.is_over(0.0)


class Endless:
    """A socket whose peer sends faster than anybody reads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.reads = 0

    def recv(self, limit: int) -> bytes:
        self.reads += 1
        assert self.reads < 1000, "read for ever"
        return bytes(limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_one_that_never_ends_sending_is_not_read_for_ever(pairs: Pairs) -> None:
    """A part of what it sends each time; and its time to close passes all the same."""
    with pairs.pair() as pair:
        farewell = goodbye(pair)
        assert pair.read() == (0, True)
        while pair.agent.unacknowledged_bytes():
            continue
        pair.agent._sock = Endless(pair.agent._sock)
        over = [farewell.is_over(now) for now in (0.0, 1.0, CLOSING_S - 0.1, CLOSING_S + 0.1)]
        assert over == [False, False, False, True]
