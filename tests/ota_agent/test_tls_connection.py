"""What a connection says when it cannot go on, and when it has failed."""

import socket
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.bindings.openssl.binding import Binding

from ota_agent.tls_connection import FAILED, failure_of
from tests.ota_agent.board_peer import reset
from tests.ota_agent.tls_pair import Pairs


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
