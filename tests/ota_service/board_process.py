"""fault_board.py in a process of either interpreter, and what has to hold after a refusal."""

import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import micropython_port
from tests.ota_service import faulty_agents

SCRIPT = str(Path(__file__).parent / "fault_board.py")
RUNTIMES = ("cpython", "micropython")
ANSWER_S = 60

# Codes of what another attempt may not meet again
RETRIED = (
    "agent-busy",
    "agent-error",
    "agent-unreachable",
    "connection-lost",
    "network-down",
    "no-tls",
    "timeout",
    "tls-failed",
    "token-refused",
    "truncated",
)
_OF_THE_COMMAND = ("keep", "efuse", "network", "fault", "seed", "trace", "uds", "cut")

Answer = dict[str, Any]


class BoardProcess:
    """Boards under one runtime; the process starts with the first command."""

    def __init__(self, runtime: str, folder: Path) -> None:
        self.runtime = runtime
        self.folder = folder
        self._printed = folder / "stderr"
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def ask(self, **command: Any) -> Answer:
        """One command, one answer. What the process wrote to stderr is a failure."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> Answer:
        """The next answer."""
        try:
            line = self._line()
            # MicroPython prints to stdout why it ends.
            assert line.startswith(b"{"), (line + b"\n" + self._rest()).decode()
        except BaseException:
            self.close()
            raise
        answer: Answer = json.loads(line)
        complaints = self._complaints()
        assert complaints == "", complaints
        return answer

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def file(self, name: str, content: bytes) -> str:
        """The path of a file with this content, for commands that want one."""
        path = self.folder / name
        if not path.exists():
            path.write_bytes(content)
        return str(path)

    def _start(self) -> None:
        if self.runtime == "micropython":
            arguments = [str(micropython_port.INTERPRETER), "-X", "heapsize=16M", SCRIPT]
        else:
            arguments = [sys.executable, "-u", "-W", "error", SCRIPT]
        self._unread, self._heard = b"", 0
        with self._printed.open("wb") as stderr:
            self._process = subprocess.Popen(
                arguments,
                env=micropython_port.environment(self.folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )

    def _line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        end = time.monotonic() + ANSWER_S
        while b"\n" not in self._unread:
            left = end - time.monotonic()
            assert left > 0, f"no answer within {ANSWER_S} s; stderr: {self._complaints()}"
            if select.select([self._process.stdout], [], [], left)[0]:
                piece = os.read(self._process.stdout.fileno(), 65536)
                assert piece, f"the process ended; stderr: {self._complaints()}"
                self._unread += piece
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _rest(self) -> bytes:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        return self._unread + self._process.stdout.read()

    def _complaints(self) -> str:
        text = self._printed.read_bytes()[self._heard :]
        self._heard += len(text)
        return text.decode(errors="replace")


def processes(runtime: str, folder: Path) -> Iterator[BoardProcess]:
    """For a fixture: the process of this runtime, ended afterwards."""
    process = BoardProcess(runtime, folder)
    try:
        yield process
    finally:
        process.close()


def settings(board: BoardProcess, **changes: Any) -> dict[str, Any]:
    """Settings that trust the test CA, try once and are slow to give up."""
    return {
        "agent_ca": board.file("ca.der", faulty_agents.authority().der),
        "attempts": 1,
        "retry_delay_s": 0,
        "connect_s": 20,
        "first_byte_s": 20,
        "read_s": 20,
        **changes,
    }


def update(board: BoardProcess, old: bytes, agent: str, **options: Any) -> Answer:
    """One update of a board with the firmware `old`; options: settings, and those of the command
    (fault_board.update). good: `(address, image)` of an update that follows, with the same identity
    and protocol."""
    command = {name: options.pop(name) for name in list(options) if name in _OF_THE_COMMAND}
    if "good" in options:
        address, image = options.pop("good")
        same = {name: options[name] for name in ("identity", "protocol") if name in options}
        command["then"] = {
            "agent": address, "settings": settings(board, **same), "bytes": len(image)
        }  # fmt: skip
    return board.ask(
        do="update",
        image=image_file(board, old),
        agent=agent,
        settings=settings(board, **options),
        **command,
    )


class Served:
    """A board that serves its endpoints. answer: what it said at the end."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.answer: Answer = {}


@contextmanager
def serving(board: BoardProcess, old: bytes, **options: Any) -> Iterator[Served]:
    """A board with the firmware `old` whose endpoints answer over HTTP. options: settings."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    image = image_file(board, old)
    ready = board.ask(do="serve", image=image, settings=settings(board, **options), port=port)
    assert ready == {"ready": True}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            served = Served(http)
            yield served
            http.post("/stop")
            served.answer = board.answer()
    except BaseException:
        board.close()
        raise


def image_file(board: BoardProcess, image: bytes) -> str:
    """The file of a firmware, for commands."""
    return board.file(hashlib.sha256(image).hexdigest(), image)


def require_refused(answer: Answer, *codes: str) -> None:
    """The update failed with one of these codes, the board is as it was, and goes on."""
    status = answer["status"]
    assert answer["is_ota_error"], answer["raised"]
    assert status["state"] == "failed"
    error = status["error"]
    assert error["code"] in codes, error
    assert answer["raised"] == error["code"]
    assert answer["may_retry"] == (error["code"] in RETRIED)
    require_one_line(error["message"])
    assert answer["events"][-1][0] == "failed" or "then" in answer
    require_as_it_was(answer)
    assert answer["ticks"] > 0
    assert answer["alive"]
    assert answer["left_open"] == 0


def require_as_it_was(answer: Answer) -> None:
    """Nothing changed outside the spare slot, which no path of the bootloader boots."""
    before, after = answer["before"], answer["after"]
    assert after["outside"] == before["outside"]
    if answer["status"]["protocol"] == 1:  # the other one keeps its progress there
        assert after["nvs"] == before["nvs"]
    assert after["otadata"] == before["otadata"]
    assert after["first"] == "ff" * 16
    assert not answer["spare_boots"]
    assert answer["boots"] == answer["status"]["running"]
    assert not answer["reset"]


def require_updated(answer: Answer, image: bytes) -> None:
    """The update that followed (`good`) succeeded: this image boots, is confirmed and stays."""
    then = answer["then"]
    assert then["raised"] is None, then["status"]["error"]
    assert then["status"]["state"] == "rebooting"
    assert then["status"]["error"] is None
    assert then["reset"]
    assert then["spare"] == hashlib.sha256(image).hexdigest()
    assert (then["boots"], then["confirmed"], then["boots_again"]) == (
        "ota_1",
        "confirmed",
        "ota_1",
    )


def require_one_line(message: str) -> None:
    """Something to read, on one line."""
    assert len(message) > 10
    assert message.isprintable(), message
