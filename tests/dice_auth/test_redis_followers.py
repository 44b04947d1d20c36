"""What the C tools write is found while servers come and go, and soon with keyspace events."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from dice import certificate
from tests.dice_auth.boards import board
from tests.dice_auth.faulty_redis import FaultyRedis, faulty_redis
from tests.dice_auth.server_process import ServerProcess, server_process, wait_until

TAKEOVER_S = 2.5
MANY = 10_000


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[FaultyRedis]:
    with faulty_redis(tmp_path) as peer:
        yield peer


def is_accepted(server: ServerProcess, number: int) -> bool:
    status = server.ask(board(number).pem)
    assert status in (200, 401), status
    return status == 200


def follower_pid(peer: FaultyRedis, servers: list[ServerProcess]) -> int:
    """Which of them has said last that it follows."""
    with redis.Redis(host="127.0.0.1", port=peer.port, db=1) as client:
        wait_until(lambda: bool(client.exists("dice-auth:follower")), 2)
        subscribed = [each for each in client.client_list() if each["psub"] == "1"]
    (address,) = {each["addr"] for each in subscribed}
    return next(s.process.pid for s in servers if _has_socket(s.process.pid, address))


def _has_socket(pid: int, address: str) -> bool:
    """Whether the process has the TCP socket with this local address of the loopback."""
    port = int(address.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {
        f"socket:[{fields[9]}]"
        for fields in map(str.split, lines)
        if int(fields[1].rpartition(":")[2], 16) == port
    }
    folder = Path(f"/proc/{pid}/fd")
    return any(os.readlink(each) in inodes for each in folder.iterdir())


@contextmanager
def two_servers(peer: FaultyRedis, folder: Path) -> Iterator[list[ServerProcess]]:
    with ExitStack() as stack:
        yield [stack.enter_context(server_process(peer.url, folder)) for _ in range(2)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_another_server_follows_when_the_follower_dies_or_hangs(
    peer: FaultyRedis, tmp_path: Path, number: signal.Signals
) -> None:
    with two_servers(peer, tmp_path) as servers:
        peer.submit_like_c(board(1))
        for server in servers:
            wait_until(lambda server=server: is_accepted(server, 1), TAKEOVER_S)
        pid = follower_pid(peer, servers)
        os.kill(pid, number)
        peer.submit_like_c(board(2))
        (survivor,) = [each for each in servers if each.process.pid != pid]
        wait_until(lambda: is_accepted(survivor, 2), TAKEOVER_S)
        assert is_accepted(survivor, 1)
        peer.run("DEL", board(2).board_id)
        assert not is_accepted(survivor, 2)
        if number == signal.SIGSTOP:
            # The one that hung comes back; two are no worse than one.
            os.kill(pid, signal.SIGCONT)
            peer.submit_like_c(board(3))
            for server in servers:
                wait_until(lambda server=server: is_accepted(server, 3), TAKEOVER_S)


def test_keyspace_events_have_a_board_among_many_found_at_once(
    peer: FaultyRedis, tmp_path: Path
) -> None:
    fill(peer, MANY)
    peer.run("CONFIG", "SET", "notify-keyspace-events", "Kgh")
    with server_process(peer.url, tmp_path) as server:
        wait_until(lambda: bool(peer.run("EXISTS", "dice-auth:complete", database=1)), 15)
        for number in range(1, 6):
            assert not is_accepted(server, number)
            peer.submit_like_c(board(number))
            wait_until(lambda number=number: is_accepted(server, number), 0.5)
            peer.run("DEL", board(number).board_id)
            assert not is_accepted(server, number)
            peer.submit_like_c(board(number))
        # Deleted and written again: the last word counts.
        for number in range(1, 6):
            wait_until(lambda number=number: is_accepted(server, number), 0.5)


def fill(peer: FaultyRedis, count: int) -> None:
    """Boards as the C `submit` writes them, whose roots differ in the key id alone: enough for
    the index, which verifies nothing."""
    root, key_id = board(9).root, board(9).key_id
    with redis.Redis(host="127.0.0.1", port=peer.port) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(count):
            own = hashlib.sha1(b"%d" % number, usedforsecurity=False).digest()
            pem = certificate.to_pem(root.replace(key_id, own))
            pipeline.hset(f"many-{number}", "root_cert", pem)
        pipeline.execute()
