"""Which connections the agent lets in."""

import asyncio
import os
import signal
import socket
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent import server
from ota_agent.admission import TOO_FAST, TOO_MANY, TOO_MANY_OF_ADDRESS, Admission
from ota_agent.errors import SettingsError
from ota_agent.settings import from_environment
from tests.ota_agent.scene import Scene, scene
from tests.ota_agent.test_settings import ENVIRONMENT

A, B = "127.0.0.1", "127.0.0.2"


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


ONE_NETWORK = ["2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:DB8::1:0:0:0:2"]
OTHERS = [
    "2001:db8:0:2::1", "2001:db8::1", "2001:db8:1:1::1", "::1", "192.0.2.1", "::2:0:0:0:1",
    "fe80::1%eth0", "fe80::1%eth1",
]  # fmt: skip


def test_the_addresses_of_an_ipv6_network_are_one_and_others_still_come_in() -> None:
    """An attacker has all of a /64."""
    admission = Admission(99, 2, 100)
    assert [admission.enter(address, 0) for address in ONE_NETWORK] == [True, True, False]
    assert admission.take_count() == {TOO_MANY_OF_ADDRESS: 1}
    assert [admission.enter(address, 0) for address in OTHERS * 2] == [True] * len(OTHERS * 2)
    admission.leave(ONE_NETWORK[1])
    assert admission.enter(ONE_NETWORK[2], 0)


def test_an_ipv6_network_comes_no_faster_than_an_ipv4_address() -> None:
    admission = Admission(10_000, 10_000, 10)
    flood = [admission.enter(f"2001:db8::{number:x}", 0) for number in range(60)]
    assert flood == [True] * 50 + [False] * 10
    assert admission.take_count() == {TOO_FAST: 10}
    assert admission.enter("2001:db8:0:1::1", 0)
    assert [admission.enter("2001:db8::abcd", 0.2) for _ in range(3)] == [True, True, False]


def test_an_ipv4_address_is_the_same_one_over_a_socket_for_both() -> None:
    """These are all in one /64, ::ffff:0:0/96, and are not one address."""
    admission = Admission(9, 1, 100)
    assert admission.enter("::ffff:192.0.2.1", 0)
    assert admission.enter("::ffff:192.0.2.2", 0)
    assert not admission.enter("192.0.2.1", 0)
    admission.leave("::ffff:c000:201")
    assert admission.enter("192.0.2.1", 0)


def test_ipv6_networks_that_have_left_are_forgotten() -> None:
    admission = Admission(10, 9, 10)
    for number in range(1000):
        address = f"2001:db8:0:{number:x}::1%eth0"
        assert admission.enter(address, 0)
        admission.leave(address)
    assert admission._inside == {}


def test_an_address_that_comes_too_fast_shuts_out_nobody_but_itself() -> None:
    admission = Admission(10_000, 10_000, 10)
    flood = [admission.enter("a", 0) for _ in range(60)]
    assert flood == [True] * 50 + [False] * 10
    assert admission.take_count() == {TOO_FAST: 10}
    assert admission.enter("b", 0)
    assert [admission.enter("a", 0.2) for _ in range(3)] == [True, True, False]


def test_an_address_that_goes_on_knocking_is_let_in_at_its_rate() -> None:
    """Being turned away costs nothing."""
    admission = Admission(10_000, 10_000, 10)
    let_in = sum(admission.enter("a", tick / 1000) for tick in range(10_000))
    assert 50 + 98 <= let_in <= 50 + 100


def test_who_is_turned_away_for_want_of_room_pays_nothing_of_its_rate() -> None:
    admission = Admission(1, 9, 1)
    assert admission.enter("a", 0)
    assert not any(admission.enter("b", 0) for _ in range(20))
    admission.leave("a")
    for _ in range(5):
        assert admission.enter("b", 0)
        admission.leave("b")
    assert not admission.enter("b", 0)


def test_addresses_without_number_are_not_remembered_without_end() -> None:
    admission = Admission(10**9, 9, 10)
    for number in range(50_000):
        assert admission.enter(str(number), number / 1000)
        admission.leave(str(number))
    assert len(admission._rate._buckets) <= 20_000


@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 0.7)), max_size=80),
)
def test_whoever_comes_and_goes_no_limit_is_passed(
    most: int, most_per_address: int, rate: int, arrivals: list[tuple[str, bool, float]]
) -> None:
    """Nor is anybody turned away without one."""
    admission = Admission(most, most_per_address, rate)
    inside: Counter[str] = Counter()
    came: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    now = 0.0
    for address, leaves, pause in arrivals:
        now += pause
        if leaves:
            if inside[address]:
                inside[address] -= 1
                admission.leave(address)
            continue
        is_full = inside.total() >= most or inside[address] >= most_per_address
        is_let_in = admission.enter(address, now)
        assert not (is_let_in and is_full)
        if is_let_in:
            inside[address] += 1
            came[address].append(now)
        elif not is_full:
            # The rate, then: of all times since one came there is one that is used up.
            assert any(
                len(came[address][at:]) + 1 > 5 * rate + (now - since) * rate - 1e-6
                for at, since in enumerate(came[address])
            )
        for at, since in enumerate(came[address]):
            assert len(came[address][at:]) <= 5 * rate + (now - since) * rate + 1e-6


async def is_turned_away(here: Scene, source: str) -> bool:
    """Whether a connection from this address is closed at once, without a byte."""

    def work() -> bool:
        with here.connect(source) as client:
            client.settimeout(0.3)
            try:
                return client.recv(1) == b""
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False

    return await asyncio.to_thread(work)


@pytest.mark.parametrize(
    ("limit", "own", "others", "reason"),
    [
        ({"max_connections": 2}, True, True, TOO_MANY),
        ({"max_connections_per_address": 2}, True, False, TOO_MANY_OF_ADDRESS),
    ],
)
def test_over_a_limit_a_connection_is_closed_at_once_and_counted(
    tmp_path: Path,
    board_certificate: bytes,
    limit: dict[str, int],
    own: bool,
    others: bool,
    reason: str,
) -> None:
    """Without a line of its own; and there is room again when somebody leaves."""

    async def run() -> None:
        async with scene(tmp_path, **limit) as here:
            with here.connect(A), here.connect(A):
                for source, expected in ((A, own), (B, others), (A, own)):
                    assert await is_turned_away(here, source) == expected
                turned_away = 2 * own + others
                if not others:
                    assert (await here.agent.next_session())["peer"].startswith(B)
                assert here.agent.sessions.empty()
            for _ in range(2):
                assert (await here.agent.next_session())["peer"].startswith(A)
            await here.serves(board_certificate)
            assert here.agent.events_so_far() == []
            os.kill(os.getpid(), signal.SIGTERM)
            await here.agent.task
            line = await here.agent.next_event()
            assert line.pop("time")
            assert line == {"event": "turned-away", reason: turned_away}

    asyncio.run(run())


def test_an_address_that_connects_too_fast_is_turned_away_and_others_are_served(
    tmp_path: Path, board_certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one line tells how many, now and then."""
    monkeypatch.setattr(server, "_TURNED_AWAY_S", 0.2)

    async def run() -> None:
        async with scene(tmp_path, accept_rate=1) as here:
            for _ in range(5):
                here.connect(B).close()
            assert await is_turned_away(here, B)
            for _ in range(5):
                assert (await here.agent.next_session())["peer"].startswith(B)
            await here.serves(board_certificate)
            line = await here.agent.next_event()
            assert (line["event"], line[TOO_FAST]) == ("turned-away", 1)

    asyncio.run(run())


def test_a_flood_is_told_in_one_line(
    tmp_path: Path, board_certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_TURNED_AWAY_S", 0.5)

    def flood(here: Scene) -> None:
        for _ in range(300):
            here.connect(B).close()

    async def run() -> None:
        async with scene(tmp_path, max_connections_per_address=1) as here:
            with here.connect(B):
                await asyncio.to_thread(flood, here)
                told = 0
                while told < 300:
                    line = await here.agent.next_event()
                    told += line[TOO_MANY_OF_ADDRESS]
                    await here.serves(board_certificate)
                assert told == 300
                assert here.agent.sessions.empty()
                assert here.agent.events_so_far() == []

    asyncio.run(run())


def test_a_board_over_ipv6_is_served_and_named_with_brackets(
    tmp_path: Path, board_certificate: bytes
) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on this machine's loopback")

    async def run() -> None:
        async with scene(tmp_path, host="::1") as here:
            assert await here.update(board_certificate) == here.image
            assert (await here.agent.next_session())["peer"].startswith("[::1]:")

    asyncio.run(run())


def test_over_a_socket_for_both_the_limits_are_those_of_each_ipv4_address(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with scene(tmp_path, host="::", max_connections_per_address=1) as here:
            here.agent.address = (A, here.agent.address[1])
            with here.connect(B):
                assert await is_turned_away(here, B)
                assert not await is_turned_away(here, A)
                assert (await here.agent.next_session())["peer"].startswith("[::ffff:127.0.0.1]:")
                assert await here.update(board_certificate) == here.image

    if socket.has_dualstack_ipv6():
        asyncio.run(run())
    else:
        pytest.skip("no IPv6 on this machine")


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
