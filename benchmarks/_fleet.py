"""The boards of the agent's benchmark: one program that opens many TLS connections, says one
thing on each, and reads what comes, as fast as it can or at a rate. The same for every server.

Run as a process of its own (`python -m benchmarks._fleet`), so that what it costs is not the
server's; prints one JSON object.
"""

import argparse
import json
import selectors
import socket
import ssl
import sys
import time
from pathlib import Path

_PIECE_BYTES = 256 * 1024
# A board's TCP window: small, so that a slow board's bytes wait in the server, not here.
_SLOW_RECEIVE_BUFFER = 16 * 1024
_TICK_S = 0.05


class Board:
    """One connection and how far it is. say: what to send once the handshake is done."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, say: bytes, *,
                 slow: bool = False) -> None:  # fmt: skip
        self.started = time.perf_counter()
        self.first_byte_s: float | None = None
        self.received = 0
        self.budget = 0.0
        self._say = say
        self._step = self._connect
        raw = socket.socket()
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if slow:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_RECEIVE_BUFFER)
        raw.connect_ex(address)
        self.socket = context.wrap_socket(
            raw, server_hostname="ota-agent", do_handshake_on_connect=False
        )

    def go_on(self, buffer: memoryview) -> int:
        """What to wait for (a selectors event), or 0 when the server has ended."""
        try:
            return self._step(buffer)
        except ssl.SSLWantReadError:
            return selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE

    def _connect(self, buffer: memoryview) -> int:
        self.socket.do_handshake()
        self.socket.send(self._say)
        self._step = self._read
        return self._read(buffer)

    def _read(self, buffer: memoryview) -> int:
        while True:
            count = self.socket.recv_into(buffer)
            if not count:
                return 0
            if self.first_byte_s is None:
                self.first_byte_s = time.perf_counter() - self.started
            self.received += count

    def read_budget(self, buffer: memoryview) -> bool:
        """Read what the budget allows; False when the server has ended."""
        try:
            while self.budget >= 1:
                count = self.socket.recv_into(buffer[: min(len(buffer), int(self.budget))])
                if not count:
                    return False
                self.received += count
                self.budget -= count
        except ssl.SSLWantReadError:
            pass
        return True


def updates(options: argparse.Namespace, context: ssl.SSLContext, say: bytes) -> dict[str, object]:
    """total downloads, at_once of them at a time."""
    address = (options.host, options.port)
    selector = selectors.DefaultSelector()
    buffer = memoryview(bytearray(_PIECE_BYTES))
    started, ended, failed = 0, 0, 0
    first_bytes: list[float] = []
    waiting: dict[Board, int] = {}
    begun = time.perf_counter()
    while ended < options.total:
        while started < options.total and len(waiting) < options.at_once:
            board = Board(address, context, say)
            selector.register(board.socket, selectors.EVENT_WRITE, board)
            waiting[board] = selectors.EVENT_WRITE
            started += 1
        for key, _ in selector.select():
            board = key.data
            try:
                wanted = board.go_on(buffer)
            except OSError as error:
                wanted, board.received = 0, -1
                print(f"board: {error}", file=sys.stderr)
            if wanted == 0:
                selector.unregister(board.socket)
                board.socket.close()
                del waiting[board]
                ended += 1
                failed += board.received < options.expect
                first_bytes.append(board.first_byte_s or 0.0)
            elif wanted != waiting[board]:
                selector.modify(board.socket, wanted, board)
                waiting[board] = wanted
    seconds = time.perf_counter() - begun
    first_bytes.sort()
    return {
        "seconds": seconds,
        "failed": failed,
        "first_byte_median_s": first_bytes[len(first_bytes) // 2],
        "first_byte_max_s": first_bytes[-1],
    }


def slow(options: argparse.Namespace, context: ssl.SSLContext, say: bytes) -> dict[str, object]:
    """at_once boards that read options.rate bytes a second each, for options.seconds.

    Prints "reading" when all are being served, and waits for a line on stdin before it ends, so
    that the one who measures can look at the server meanwhile.
    """
    boards = _connect_all(options, context, say)
    buffer = memoryview(bytearray(64 * 1024))
    for board in boards:
        board.received = 0
    print("reading", flush=True)
    begun = last = time.perf_counter()
    lost = 0
    while last - begun < options.seconds:
        now = time.perf_counter()
        if now - last < _TICK_S:
            time.sleep(_TICK_S - (now - last))
            now = time.perf_counter()
        for board in boards:
            # A board that was kept waiting does not catch up later.
            board.budget = min(board.budget + options.rate * (now - last), options.rate)
            lost += not board.read_budget(buffer)
        last = now
    seconds = last - begun
    rates = sorted(board.received / seconds for board in boards)
    print(json.dumps({"measured": True}), flush=True)
    sys.stdin.readline()
    return {
        "lost": lost,
        "slowest": rates[0],
        "mean": sum(rates) / len(rates),
        "fastest": rates[-1],
    }


def _connect_all(
    options: argparse.Namespace, context: ssl.SSLContext, say: bytes
) -> list[Board]:
    """All boards past their first byte; at most 200 handshakes at a time."""
    address = (options.host, options.port)
    selector = selectors.DefaultSelector()
    one = memoryview(bytearray(1))
    ready: list[Board] = []
    waiting: dict[Board, int] = {}
    started = 0
    while len(ready) < options.at_once:
        while started < options.at_once and len(waiting) < 200:
            board = Board(address, context, say, slow=True)
            selector.register(board.socket, selectors.EVENT_WRITE, board)
            waiting[board] = selectors.EVENT_WRITE
            started += 1
        for key, _ in selector.select():
            board = key.data
            wanted = _until_first_byte(board, one)
            if wanted == 0:
                selector.unregister(board.socket)
                del waiting[board]
                ready.append(board)
            elif wanted != waiting[board]:
                selector.modify(board.socket, wanted, board)
                waiting[board] = wanted
    return ready


def _until_first_byte(board: Board, one: memoryview) -> int:
    try:
        if board._step == board._connect:
            board.socket.do_handshake()
            board.socket.send(board._say)
            board._step = board._read
        if not board.socket.recv_into(one):
            raise SystemExit("a board was let go before its first byte")
        return 0
    except ssl.SSLWantReadError:
        return selectors.EVENT_READ
    except ssl.SSLWantWriteError:
        return selectors.EVENT_WRITE


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=("updates", "slow"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--say", type=Path, required=True, help="file with the bytes to send")
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--total", type=int, default=1000)
    parser.add_argument("--expect", type=int, default=1, help="bytes a whole download has")
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--cipher", default="ECDHE+AES128:!SHA256:!SHA1")
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(options.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    context.options |= ssl.OP_NO_TICKET
    work = updates if options.work == "updates" else slow
    print(json.dumps(work(options, context, options.say.read_bytes())), flush=True)


if __name__ == "__main__":
    main()
