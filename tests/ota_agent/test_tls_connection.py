"""What a connection says when it cannot go on, and when it has failed."""

import os
import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.bindings.openssl.binding import Binding

from ota_agent.tls_connection import FAILED, WantRead, failure_of
from tests.ota_agent.board_peer import reset
from tests.ota_agent.forged_records import DATA, RecordForger
from tests.ota_agent.tls_pair import Pair, Pairs


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    return Pairs(tmp_path)


def test_a_board_that_resets_is_told_from_one_that_closes(pairs: Pairs) -> None:
    """With close_notify or without it, closed is closed."""
    with pairs.pair() as pair:
        reset(pair.board)
        with pytest.raises(FAILED) as raised:
            pair.agent.receive(1)
        assert failure_of(raised.value) == "Connection reset by peer"
    with pairs.pair() as pair:
        pair.board.shutdown(socket.SHUT_WR)
        assert pair.agent.receive(1) == b""
    with pairs.pair() as pair:
        with pytest.raises(ssl.SSLWantReadError):
            pair.board.unwrap()
        assert pair.agent.receive(1) == b""


def test_what_openssl_has_to_say_of_one_connection_is_not_kept_for_the_next() -> None:
    """Its errors are in a queue of the thread, where OpenSSL 3 looks when it is asked what became
    of any connection."""
    lib = Binding.lib
    lib.ERR_put_error(lib.ERR_LIB_EVP, 0, 100, b"here", 1)
    assert lib.ERR_peek_error()
    failure_of(ConnectionResetError())
    assert not lib.ERR_peek_error()


def test_how_much_was_given_and_how_much_of_it_has_arrived(pairs: Pairs) -> None:
    with pairs.pair() as pair:
        before = pair.agent.given_bytes()
        assert pair.agent.acknowledged_bytes() <= before
        assert pair.send(2_000) == 2_000
        pair.agent.end_transfer()
        assert 2_000 < pair.agent.given_bytes() - before < 2_000 + 40
        received = 0
        while received < 2_000:
            received += pair.read()[0]
        while pair.agent.unacknowledged_bytes():
            continue
        assert pair.agent.acknowledged_bytes() == pair.agent.given_bytes()


def _send_below(pair: Pair, content: bytes) -> None:
    """As it is, not through the board's TLS."""
    with closing(socket.socket(fileno=os.dup(pair.board.fileno()))) as raw:
        raw.setblocking(True)
        raw.sendall(content)


def test_a_board_that_takes_new_keys_again_and_again_lets_others_have_their_turn(
    pairs: Pairs, tmp_path: Path
) -> None:
    """In one call OpenSSL would go on for as long as such records come, and nobody else would."""
    with pairs.key_log(tmp_path / "keys") as log, pairs.pair() as pair:
        forger = RecordForger(log)
        updates = b"".join(forger.key_update() for _ in range(100))
        _send_below(pair, updates + forger.record(DATA, b"hello"))
        with pytest.raises(WantRead):
            pair.agent.receive(100)
        assert pair.agent.has_input()
        for _ in range(2):
            with pytest.raises(WantRead):
                pair.agent.receive(100)
        assert pair.agent.receive(100) == b"hello"


def test_what_comes_with_new_keys_is_there_at_once(pairs: Pairs, tmp_path: Path) -> None:
    """Nobody is told a second time that there is something to be read."""
    with pairs.key_log(tmp_path / "keys") as log, pairs.pair() as pair:
        forger = RecordForger(log)
        _send_below(pair, forger.key_update() + forger.record(DATA, b"hello"))
        assert pair.agent.receive(100) == b"hello"
        _send_below(pair, forger.key_update())
        pair.board.shutdown(socket.SHUT_WR)
        assert pair.agent.receive(100) == b""
