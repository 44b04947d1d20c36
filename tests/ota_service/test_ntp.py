"""The SNTP client on both runtimes against a real server, honest or not, on 127.0.0.1.

Where an answer must not count, the right one follows it: it is what the client has to return.
"""

import asyncio
import contextlib
import itertools
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ota_service import ntp
from tests import micropython_port

SCRIPT = str(Path(__file__).parent / "ntp_client.py")
SINCE_1900 = 2208988800
RIGHT = 1795610096  # 2026-11-25 12:34:56 UTC
WRONG = RIGHT + 1000
LATE_S = 5  # seconds after which a client that should be gone is answered

Datagrams = Iterable[bytes | tuple[socket.socket, bytes]]


def answer(question: bytes, now: int = RIGHT, **fields: Any) -> bytes:
    """An answer as RFC 5905 has it, unless told otherwise."""
    field = {"leap": 0, "version": 4, "mode": 4, "stratum": 2, "reference": b"\x7f\0\0\1",
             "originate": question[40:48], "fraction": 1 << 31, **fields}  # fmt: skip
    seconds = (now + SINCE_1900) % (1 << 32)
    return b"".join(
        [
            bytes([field["leap"] << 6 | field["version"] << 3 | field["mode"], field["stratum"]]),
            bytes(10),
            field["reference"],
            bytes(8),
            field["originate"],
            bytes(8),
            field.get(
                "transmit", seconds.to_bytes(4, "big") + field["fraction"].to_bytes(4, "big")
            ),
        ]
    )


class NtpServer:
    """A thread that sends, for each question, what `answers(question)` gives: datagrams from its
    own port, or with the socket to send them from. The TCP port of the same number accepts
    connections and closes them when a question is there. `gone` is set when the client has left."""

    def __init__(self, answers: Callable[[bytes], Datagrams]) -> None:
        self._answers = answers
        self.questions: list[bytes] = []
        self.gone = threading.Event()

    def __enter__(self) -> "NtpServer":
        self._udp, self._tcp = bound_pair()
        self.port = self._udp.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.gone.set()
        self._wake.send(b"x")
        self._thread.join()
        for each in (self._udp, self._tcp, self._wake, self._woken):
            each.close()

    def _serve(self) -> None:
        waiting = []
        with selectors.DefaultSelector() as selector:
            for each in (self._udp, self._tcp, self._woken):
                selector.register(each, selectors.EVENT_READ)
            while not self.gone.is_set():
                ready = [key.fileobj for key, _ in selector.select()]
                if self._udp in ready:
                    question, peer = self._udp.recvfrom(2048)
                    self.questions.append(question)
                    self._answer(question, peer)
                if self._tcp in ready:
                    waiting.append(self._tcp.accept()[0])
                if self.questions:
                    while waiting:
                        waiting.pop().close()
        for connection in waiting:
            connection.close()

    def _answer(self, question: bytes, peer: Any) -> None:
        for datagram in self._answers(question):
            if self.gone.is_set():
                return
            sender, content = datagram if isinstance(datagram, tuple) else (self._udp, datagram)
            # A client that is gone is heard of as a refusal.
            with contextlib.suppress(ConnectionRefusedError):
                sender.sendto(content, peer)


def bound_pair() -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket with the same number."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()


@pytest.fixture(params=["cpython", "micropython"])
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Runs ntp_client.py against a port; what it printed."""

    def run(port: int, timeout_s: float = 20, *more: str, host: str = "127.0.0.1") -> str:
        arguments = [SCRIPT, host, str(port), str(timeout_s), *more]
        if request.param == "micropython":
            done = micropython_port.run(*arguments, library=tmp_path)
        else:
            done = subprocess.run(
                [sys.executable, "-W", "error", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def refused(answers: Callable[[bytes], Datagrams], ask: Callable[..., str]) -> None:
    """These answers do not count: the client waits for the right one after them."""

    def then_right(question: bytes) -> Iterator[Any]:
        yield from answers(question)
        yield answer(question)

    with NtpServer(then_right) as server:
        assert ask(server.port) == f"{RIGHT}\n"


def test_an_honest_server_is_believed(ask: Callable[..., str]) -> None:
    with NtpServer(lambda question: [answer(question)]) as server:
        assert ask(server.port) == f"{RIGHT}\n"
        assert ask(server.port, host="localhost") == f"{RIGHT}\n"
    assert len(server.questions) == 2


def test_a_question_is_a_client_packet_of_version_4_with_a_random_transmit_timestamp(
    ask: Callable[..., str],
) -> None:
    with NtpServer(lambda question: [answer(question)]) as server:
        ask(server.port)
        ask(server.port)
    first, second = server.questions
    assert len(first) == len(second) == 48
    assert first[:40] == second[:40] == b"\x23" + bytes(39)
    assert first[40:] != second[40:]


@pytest.mark.parametrize("fields", [
    {"stratum": 1}, {"stratum": 15}, {"leap": 1}, {"leap": 2}, {"version": 3},
    {"transmit": (RIGHT + SINCE_1900).to_bytes(4, "big") + bytes(4)},
], ids=str)  # fmt: skip
def test_what_else_an_honest_server_may_say(
    fields: dict[str, Any], ask: Callable[..., str]
) -> None:
    with NtpServer(lambda question: [answer(question, **fields)]) as server:
        assert ask(server.port) == f"{RIGHT}\n"


def test_a_longer_answer_is_read_to_its_48th_byte(ask: Callable[..., str]) -> None:
    with NtpServer(lambda question: [answer(question) + bytes(20)]) as server:
        assert ask(server.port) == f"{RIGHT}\n"


def test_the_seconds_wrap_in_2036(ask: Callable[..., str]) -> None:
    wrapped = (1 << 32) - SINCE_1900
    with NtpServer(lambda question: [answer(question, wrapped)]) as server:
        assert ask(server.port) == f"{wrapped}\n"


@pytest.mark.parametrize("fields", [
    {"mode": 3}, {"mode": 5}, {"mode": 0}, {"stratum": 16}, {"stratum": 255}, {"leap": 3},
    {"originate": bytes(8)}, {"originate": b"\xa5" * 8}, {"transmit": bytes(8)},
    {"mode": 3, "stratum": 0}, {"originate": bytes(8), "stratum": 0},
], ids=str)  # fmt: skip
def test_an_answer_of_another_kind_is_passed_over(
    fields: dict[str, Any], ask: Callable[..., str]
) -> None:
    refused(lambda question: [answer(question, WRONG, **fields)], ask)


def test_a_short_answer_is_passed_over(ask: Callable[..., str]) -> None:
    # An empty datagram last: it must not be taken for an end.
    refused(lambda question: [answer(question, WRONG)[:size] for size in (47, 44, 1, 0)], ask)


def test_an_answer_to_an_earlier_question_is_passed_over(ask: Callable[..., str]) -> None:
    earlier: list[bytes] = []

    def late(question: bytes) -> Datagrams:
        earlier.append(question)
        return [answer(earlier[0], WRONG), answer(question)] if len(earlier) > 1 else []

    with NtpServer(late) as server:
        assert "no answer" in ask(server.port, 0.1)
        assert ask(server.port) == f"{RIGHT}\n"


def test_an_answer_from_another_port_or_address_is_passed_over(ask: Callable[..., str]) -> None:
    with contextlib.ExitStack() as stack:
        others = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        ]

        def from_elsewhere(question: bytes) -> Iterator[Any]:
            yield others[0], answer(question, WRONG)
            yield others[1], answer(question, WRONG)
            yield answer(question)

        with NtpServer(from_elsewhere) as server:
            others[0].bind(("127.0.0.1", 0))
            others[1].bind(("127.0.0.2", server.port))
            assert ask(server.port) == f"{RIGHT}\n"


def test_a_kiss_of_death_is_an_error_at_once(ask: Callable[..., str]) -> None:
    for reference, shown in ((b"RATE", "RATE"), (b"\n\x1b\xff ", "????")):
        with NtpServer(
            lambda question, code=reference: [answer(question, stratum=0, leap=3, reference=code)]
        ) as server:
            assert ask(server.port) == (
                f"NtpError: 127.0.0.1:{server.port}: the server wants no questions: {shown}\n"
            )


def test_a_server_that_never_answers_is_an_error_after_the_timeout(
    ask: Callable[..., str],
) -> None:
    with NtpServer(lambda question: []) as server:
        said = ask(server.port, 0.1)
    assert said == f"NtpError: 127.0.0.1:{server.port}: no answer within 0.1 s\n"


def test_an_answer_after_the_timeout_is_too_late(ask: Callable[..., str]) -> None:
    def late(question: bytes) -> Iterator[bytes]:
        server.gone.wait(LATE_S)
        yield answer(question)

    with NtpServer(late) as server:
        assert "no answer within 0.1 s" in ask(server.port, 0.1)


def test_a_flood_of_junk_does_not_keep_the_client_from_its_timeout(
    ask: Callable[..., str],
) -> None:
    def flood(question: bytes) -> Iterator[bytes]:
        junk = [answer(question, WRONG, originate=b"\xa5" * 8), bytes(48), b"x" * 900]
        end = time.monotonic() + LATE_S
        for datagram in itertools.cycle(junk):
            if time.monotonic() > end:
                break
            yield datagram
        yield answer(question)

    with NtpServer(flood) as server:
        assert "no answer within 0.1 s" in ask(server.port, 0.1)


def test_other_tasks_run_between_two_datagrams_of_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    seen = []
    read_answer = ntp.read_answer

    def spied(packet: bytes, nonce: bytes) -> int | None:
        if packet:
            seen.append(turns)
        return read_answer(packet, nonce)

    async def other_task() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> int:
        other = asyncio.create_task(other_task())
        try:
            return await ntp.query("127.0.0.1", server.port, 20)
        finally:
            other.cancel()

    monkeypatch.setattr(ntp, "read_answer", spied)
    with NtpServer(lambda question: [bytes(48)] * 50 + [answer(question)]) as server:
        assert asyncio.run(run()) == RIGHT
    assert len(set(seen)) == 51


def test_a_client_that_waits_looks_some_30_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(ntp, "read_answer", lambda packet, nonce: looks.append(packet))
    with NtpServer(lambda question: []) as server, pytest.raises(ntp.NtpError):
        asyncio.run(ntp.query("127.0.0.1", server.port, 0.2))
    assert 1 < len(looks) < 12


def test_a_port_where_nobody_listens_is_an_error_at_once(ask: Callable[..., str]) -> None:
    with NtpServer(lambda question: []) as server:
        port = server.port
    said = ask(port)
    assert said.startswith(f"NtpError: 127.0.0.1:{port}: ")
    assert "no answer" not in said
    assert said.count("\n") == 1


def test_a_name_that_cannot_be_is_an_error(ask: Callable[..., str]) -> None:
    said = ask(123, host="a" * 64 + ".invalid")
    assert said.startswith("NtpError: aaaa")
    assert said.count("\n") == 1


def test_a_cancelled_question_leaves_no_socket_open(ask: Callable[..., str]) -> None:
    with NtpServer(lambda question: []) as server:
        assert ask(server.port, 20, "cancel") == "cancelled\n"
