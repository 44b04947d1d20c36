"""The agent's limits: connections, rates, bandwidth."""

import asyncio
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent.admission import TOO_FAST, TOO_MANY, TOO_MANY_OF_ADDRESS, Admission
from ota_agent.errors import SettingsError
from ota_agent.pacing import Pace, Pacer
from ota_agent.settings import from_environment
from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE
from tests.ota_agent.scene import scene
from tests.ota_agent.test_settings import ENVIRONMENT


def test_so_many_at_once_and_no_more() -> None:
    admission = Admission(2, 9, 100)
    assert admission.enter("a", 0)
    assert admission.enter("b", 0)
    assert not admission.enter("c", 0)
    assert admission.take_count() == {TOO_MANY: 1}
    admission.leave("a")
    assert admission.enter("c", 0)
    assert admission.take_count() == {}


def test_so_many_of_one_address_and_others_still() -> None:
    admission = Admission(9, 1, 100)
    assert admission.enter("a", 0)
    assert not admission.enter("a", 0)
    assert admission.enter("b", 0)
    assert admission.take_count() == {TOO_MANY_OF_ADDRESS: 1}


def test_an_address_that_comes_too_fast_shuts_out_nobody_but_itself() -> None:
    admission = Admission(10_000, 10_000, 10)
    flood = [admission.enter("a", 0) for _ in range(60)]
    assert flood == [True] * 50 + [False] * 10
    assert admission.take_count() == {TOO_FAST: 10}
    assert admission.enter("b", 0)
    assert [admission.enter("a", 0.2) for _ in range(3)] == [True, True, False]


def test_addresses_without_number_are_not_remembered_without_end() -> None:
    admission = Admission(10**9, 9, 10)
    for number in range(50_000):
        assert admission.enter(str(number), number / 1000)
        admission.leave(str(number))
    assert len(admission._buckets) <= 20_000


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_over_the_limit_of_its_address_a_board_is_closed_at_once(
    tmp_path: Path, board_certificate: bytes, host: str
) -> None:
    async def run() -> None:
        async with scene(tmp_path, max_connections_per_address=1) as here:
            with socket.create_connection(here.agent.address, source_address=(host, 0)):
                if host == "127.0.0.1":
                    with pytest.raises(OSError):  # noqa: PT011
                        await here.update(board_certificate)
                else:
                    assert await here.update(board_certificate) == IMAGE

    asyncio.run(run())


@given(
    st.integers(1024, 10**7),
    st.lists(st.tuples(st.integers(0, 4), st.floats(0, 0.5)), min_size=1, max_size=80),
)
def test_never_more_than_the_bandwidth_is_granted(
    rate: int, requests: list[tuple[int, float]]
) -> None:
    """By the time the last bytes may go, no more has been granted than the rate allows until
    then, but for one turn; and each waits for those before it only."""
    shared = Pace(rate)
    boards = [Pacer((shared,)) for _ in range(5)]
    now, granted, last = 0.0, 0, 0.0
    for board, pause in requests:
        now += pause
        count, start = boards[board].reserve(10**6, now)
        assert 0 < count <= 16384
        assert start >= max(now, last)
        assert granted <= rate * start * 1.000001 + 1
        granted, last = granted + count, start


def test_a_slow_agent_serves_small_pieces_so_that_no_board_waits_long() -> None:
    shared = Pace(10_000)
    boards = [Pacer((shared,)) for _ in range(10)]
    starts = [board.reserve(10**6, 0.0) for board in boards]
    assert max(start for _, start in starts) < 1
    for board in boards[1:]:
        board.end()
    assert boards[0].reserve(10**6, 9.0)[0] == 5000


@pytest.mark.parametrize("limit", ["bandwidth", "board_bandwidth"])
def test_with_a_bandwidth_limit_the_image_arrives_whole_and_no_faster(
    tmp_path: Path, board_certificate: bytes, limit: str
) -> None:
    """And a board that waits for us is not called slow."""
    limits = {limit: 100_000, "idle_timeout_s": 0.2, "least_bytes_per_s": 10**9}

    async def run() -> None:
        async with scene(tmp_path, **limits) as here:
            assert await here.update(board_certificate) == IMAGE
            line = await here.agent.next_session()
            assert line["outcome"] == "sent"
            assert line["seconds"] > len(IMAGE) / 100_000 * 0.5

    asyncio.run(run())


def test_two_boards_share_the_bandwidth(tmp_path: Path, board_certificate: bytes) -> None:
    async def run() -> None:
        async with scene(tmp_path, bandwidth=200_000) as here:
            received = await asyncio.gather(*(here.update(board_certificate) for _ in range(2)))
            assert received == [IMAGE, IMAGE]

    asyncio.run(run())


def test_a_board_below_the_minimum_rate_is_cut_off(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        image = signed_image(size=12_000_000)
        limits = {"idle_timeout_s": 0.4, "least_bytes_per_s": 10**9, "send_buffer_bytes": 65536}
        async with scene(tmp_path, image=image, **limits) as here:

            def work(board: BoardPeer) -> int:
                board.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                board.socket.sendall(board_certificate)
                received = 0
                with pytest.raises(OSError):  # noqa: PT011, PT012
                    while True:
                        received += len(board.socket.recv(512))
                return received

            received = await here.board(work)
            line = await here.agent.next_session()
            assert line["outcome"] == "too-slow"
            assert "bytes a second" in line["reason"]
            assert 0 < received < len(image)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("handshake_timeout_s", 0), ("idle_timeout_s", -1), ("idle_timeout_s", float("nan")),
        ("max_connections", 0), ("max_connections_per_address", 0), ("accept_rate", 0),
        ("bandwidth", 1023), ("board_bandwidth", 0), ("send_buffer_bytes", 1),
        ("least_bytes_per_s", -1),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment(environment=ENVIRONMENT, **{name: value})
