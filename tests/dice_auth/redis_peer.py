"""A real redis-server on a free port of the loopback interface."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ports import free_port


class RedisPeer:
    """options: for redis-server, beside those every one here has."""

    def __init__(self, directory: Path, *options: str | Path) -> None:
        self._directory = directory
        self._options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no", "--dir", str(self._directory), *self._options],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "Ready to accept connections" in line:
                return
        raise RuntimeError(f"redis-server ended with {self._process.wait()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def run(self, *words: str | bytes, database: int = 0) -> object:
        """One command, as the C tools send theirs: over a connection that knows nothing of ours."""
        import redis

        with redis.Redis(host="127.0.0.1", port=self.port, db=database) as client:
            return client.execute_command(*words)
