"""`ota-service attest serve` as processes of their own, and a client that does not share their
event loop."""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sys.executable).parent / "ota-service"


@dataclass
class ServerProcess:
    process: subprocess.Popen[str]
    port: int
    log: Path

    def events(self, name: str) -> list[dict[str, object]]:
        """The log's lines of this event."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line for line in lines if line["event"] == name]

    def ask(self, body: str, *, timeout_s: float = 10) -> int:
        """The status of the answer. Raises OSError or HTTPException without one."""
        return self.exchange("POST", "/", body, timeout_s=timeout_s)[0]

    def counters(self) -> dict[str, float]:
        """/metrics, whichever worker answers: name with labels -> value."""
        status, text = self.exchange("GET", "/metrics")
        assert status == 200
        return {
            name: float(value)
            for name, value in re.findall(r"^(dice_auth\S+) (\S+)$", text, re.MULTILINE)
        }

    def exchange(
        self, method: str, path: str, body: str = "", *, timeout_s: float = 10
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body.encode(), {"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def server_process(
    url: str, folder: Path, *options: str, start: Sequence[str | Path] = (COMMAND,)
) -> Iterator[ServerProcess]:
    """One that listens. It is killed at the end if it has not ended by then.

    start: what runs `ota-service`, if not the command itself.
    """
    log = folder / f"server-{time.monotonic_ns()}.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [*start, "attest", "serve", "--registry", url, "--listen", "127.0.0.1:0", *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # a signal to its process group is not one to pytest
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "listening" in line, log.read_text()
            yield ServerProcess(process, int(line.rsplit(":", 1)[1]), log)
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], within_s: float) -> float:
    """Seconds until the condition held."""
    started = time.monotonic()
    while not condition():
        passed_s = time.monotonic() - started
        assert passed_s < within_s, f"not so within {within_s} s"
        time.sleep(0.005)
    return time.monotonic() - started
