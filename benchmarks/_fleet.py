"""The clients of the agent's benchmark: many TLS connections in one program, the same for every
server. Each says one thing and reads what comes, as fast as it can or at a rate, or misbehaves;
or speaks protocol 2 (`updates2`), and says its evidence in the second of three requests.

A process of its own (`python -m benchmarks._fleet`), so that what it costs is not the server's;
prints one JSON object.
"""

import argparse
import json
import random
import selectors
import socket
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path

_READ_BYTES = 256 * 1024
# A board's TCP window: small, so that a slow board's bytes wait in the server, not here.
_SLOW_RECEIVE_BUFFER = 16 * 1024
_TICK_S = 0.2
_HANDSHAKES_AT_ONCE = 200
# How long each garbage sender waits before it comes again.
_NOISE_S = 1.0
_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"


class Board:
    """One connection and how far it is. say: what to send once the handshake is done."""

    def __init__(self, options: argparse.Namespace, say: bytes, *, slow: bool = False) -> None:
        self.started = time.perf_counter()
        self.first_byte_s: float | None = None
        self.received = 0
        self.budget = 0.0
        self.awaited = selectors.EVENT_WRITE
        self._say = say
        self._is_shaken = False
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if slow:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_RECEIVE_BUFFER)
        raw.connect_ex((options.host, options.port))
        self.socket = options.context.wrap_socket(
            raw, server_hostname="ota-agent", do_handshake_on_connect=False
        )

    def read(self, buffer: memoryview) -> bool:
        """Go on, and read into the buffer; False when the server has ended. Raises
        ssl.SSLWantReadError and SSLWantWriteError."""
        if not self._is_shaken:
            self.socket.do_handshake()
            self.socket.send(self._say)
            self._is_shaken = True
        count = self.socket.recv_into(buffer)
        if count and self.first_byte_s is None:
            self.first_byte_s = time.perf_counter() - self.started
        self.received += count
        return count > 0

    def read_all(self, buffer: memoryview) -> bool:
        """As read, until it would wait."""
        while self.read(buffer):
            pass
        return False

    def read_budget(self, buffer: memoryview) -> bool:
        """Read what the budget allows; False when the server has ended."""
        try:
            while self.budget >= 1:
                before = self.received
                if not self.read(buffer[: int(self.budget)]):
                    return False
                self.budget -= self.received - before
        except ssl.SSLWantReadError:
            pass
        return True


class Board2(Board):
    """One update by protocol 2. say: the evidence."""

    def __init__(self, options: argparse.Namespace, say: bytes) -> None:
        super().__init__(options, b"GET /v2/challenge HTTP/1.1\r\nHost: ota-agent\r\n\r\n")
        self._evidence = say
        self._small = bytearray()
        self._answers = 0
        self._total: int | None = None

    def read(self, buffer: memoryview) -> bool:
        more = super().read(buffer)
        if self._total is None and more:
            self._small += buffer[: self.received]
            self.received, self.first_byte_s = 0, None
            self._look()
        return more and self.received != self._total

    def _look(self) -> None:
        """At what is there of an answer: a small one, or the head of the firmware's."""
        head, end, body = bytes(self._small).partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            raise OSError(f"expected status 200, found {head[:40]!r}")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if self._answers == 2:
            self._total, self.received = length, len(body)
        elif len(body) == length:
            self._answered(body)

    def _answered(self, body: bytes) -> None:
        self._answers += 1
        self._small = bytearray()
        if self._answers == 1:
            head = (
                "POST /v2/attest HTTP/1.1\r\nHost: ota-agent\r\n"
                "Content-Type: application/eat+cwt\r\n"
                f"Content-Length: {len(self._evidence)}\r\n\r\n"
            )
            self.socket.send(head.encode() + self._evidence)
        else:
            token = json.loads(body)["token"]
            head = (
                "GET /v2/firmware HTTP/1.1\r\nHost: ota-agent\r\n"
                f"Authorization: Bearer {token}\r\n\r\n"
            )
            self.socket.send(head.encode())


class Waiting:
    """Boards that wait for their sockets."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._boards: set[Board] = set()

    def __len__(self) -> int:
        return len(self._boards)

    def add(self, board: Board) -> None:
        self._selector.register(board.socket, board.awaited, board)
        self._boards.add(board)

    def remove(self, board: Board) -> None:
        self._selector.unregister(board.socket)
        self._boards.remove(board)

    def ready(self) -> list[Board]:
        return [key.data for key, _ in self._selector.select()]

    def wait(self, board: Board, awaited: int) -> None:
        if awaited != board.awaited:
            self._selector.modify(board.socket, awaited, board)
            board.awaited = awaited


def updates(options: argparse.Namespace, say: bytes) -> dict[str, object]:
    """options.total downloads, options.at_once of them at a time."""
    waiting = Waiting()
    buffer = memoryview(bytearray(_READ_BYTES))
    first_bytes: list[float] = []
    started = failed = 0
    begun = time.perf_counter()
    while len(first_bytes) < options.total:
        while started < options.total and len(waiting) < options.at_once:
            waiting.add(options.board(options, say))
            started += 1
        for board in waiting.ready():
            try:
                board.read_all(buffer)
            except ssl.SSLWantReadError:
                waiting.wait(board, selectors.EVENT_READ)
                continue
            except ssl.SSLWantWriteError:
                waiting.wait(board, selectors.EVENT_WRITE)
                continue
            except OSError as error:
                print(f"board: {error}", file=sys.stderr)
            waiting.remove(board)
            board.socket.close()
            failed += board.received < options.expect
            first_bytes.append(board.first_byte_s or 0.0)
    seconds = time.perf_counter() - begun
    median_s = sorted(first_bytes)[len(first_bytes) // 2]
    return {"seconds": seconds, "failed": failed, "first_byte_median_s": median_s}


def slow(options: argparse.Namespace, say: bytes) -> dict[str, object]:
    """options.at_once boards that read options.rate bytes a second each, for options.seconds.

    Prints "reading" when all are being served, "measured" at the end, and waits for a line on
    stdin before it lets go, so that the one who measures can look at the server meanwhile.
    """
    boards = _connect(options, say)
    buffer = memoryview(bytearray(64 * 1024))
    for board in boards:
        board.received = 0
    print("reading", flush=True)
    begun = last = time.perf_counter()
    lost = 0
    while last - begun < options.seconds:
        time.sleep(max(0.0, last + _TICK_S - time.perf_counter()))
        now = time.perf_counter()
        for board in boards:
            # A board that was kept waiting does not catch up later.
            board.budget = min(board.budget + options.rate * (now - last), options.rate)
            lost += not board.read_budget(buffer)
        last = now
    rates = sorted(board.received / (last - begun) for board in boards)
    print("measured", flush=True)
    sys.stdin.readline()
    return {"lost": lost, "slowest": rates[0], "mean": sum(rates) / len(rates)}


def _connect(options: argparse.Namespace, say: bytes) -> list[Board]:
    """All boards past their first byte."""
    waiting = Waiting()
    one = memoryview(bytearray(1))
    served: list[Board] = []
    started = 0
    while len(served) < options.at_once:
        while started < options.at_once and len(waiting) < _HANDSHAKES_AT_ONCE:
            waiting.add(Board(options, say, slow=True))
            started += 1
        for board in waiting.ready():
            try:
                if not board.read(one):
                    raise SystemExit("a board was let go before its first byte")
            except ssl.SSLWantReadError:
                waiting.wait(board, selectors.EVENT_READ)
            except ssl.SSLWantWriteError:
                waiting.wait(board, selectors.EVENT_WRITE)
            else:
                waiting.remove(board)
                served.append(board)
    return served


def crowd(options: argparse.Namespace, say: bytes) -> dict[str, object]:
    """options.at_once clients that misbehave, each in one of five ways, until a line comes on
    stdin: silent, garbage (once a second), half a handshake, half a certificate,
    and a whole one without ever reading. Prints "misbehaving" when all are there."""
    chance = random.Random(options.seed)
    print(f"seed {options.seed}", file=sys.stderr)
    hello = _client_hello(options.context)
    quiet: list[socket.socket] = []
    fifth = options.at_once // 5
    for kind in range(2):
        for _ in range(fifth):
            client = socket.create_connection((options.host, options.port))
            if kind:
                client.sendall(hello[: len(hello) // 2])
            quiet.append(client)
    for half in (say[: len(say) // 2], say):
        quiet += [_greeted(options, half) for _ in range(fifth)]
    noisy = selectors.DefaultSelector()
    for _ in range(fifth):
        _make_noise(options, chance, noisy)
    noisy.register(sys.stdin, selectors.EVENT_READ)
    print("misbehaving", flush=True)
    while True:
        for key, _ in noisy.select():
            if key.fileobj is sys.stdin:
                return {"clients": len(quiet) + fifth}
            noisy.unregister(key.fileobj)
            key.data.close()
            _make_noise(options, chance, noisy)
            time.sleep(_NOISE_S / fifth)


def _client_hello(context: ssl.SSLContext) -> bytes:
    out = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="ota-agent").do_handshake()
    return out.read()


def _greeted(options: argparse.Namespace, say: bytes) -> socket.socket:
    client: ssl.SSLSocket = options.context.wrap_socket(
        socket.create_connection((options.host, options.port)), server_hostname="ota-agent"
    )
    client.sendall(say)
    return client


def _make_noise(
    options: argparse.Namespace, chance: random.Random, noisy: selectors.BaseSelector
) -> None:
    client = socket.create_connection((options.host, options.port))
    client.sendall(chance.randbytes(500))
    noisy.register(client, selectors.EVENT_READ, client)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=("updates", "updates2", "slow", "crowd"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--say", type=Path, required=True, help="file with the bytes to send")
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--total", type=int, default=1000)
    parser.add_argument("--expect", type=int, default=1, help="bytes a whole download has")
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options.context.load_verify_locations(options.ca)
    options.context.maximum_version = ssl.TLSVersion.TLSv1_2
    options.context.set_ciphers(_CIPHERS)
    options.board = Board2 if options.work == "updates2" else Board
    work = {"updates": updates, "updates2": updates, "slow": slow, "crowd": crowd}[options.work]
    print(json.dumps(work(options, options.say.read_bytes())), flush=True)


if __name__ == "__main__":
    main()
