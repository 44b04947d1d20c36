"""The units' servers, run as the units say, from a folder that the page of docs has filled."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.command_lines import SYSTEMD, of_units
from tests.deploy.documented import BIN, DEPLOY, ROOT, blocks, run
from tests.deploy.unit_filter import values
from tests.ports import free_port


def install(clone: Path, root: Path) -> None:
    """What the page on systemd says, below `root`: no users, no package, no systemd."""
    lines = blocks("systemd")[0].splitlines()
    begins_at = lines.index("cd secrets")
    commands = "\n".join(line for line in lines[begins_at:] if not line.startswith("systemctl"))
    # Everything is this user's own: nobody else's group.
    commands = re.sub(r"install -g \S+ -m 640", "install -m 600", commands)
    commands = re.sub(r" (/etc|/srv)/", rf" {root}\1/", commands)
    for folder in ("etc/ota-agent", "etc/dice-auth", "srv/ota-firmware", "var/cache"):
        (root / folder).mkdir(parents=True)
    run(commands, clone)


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int
    log: Path


@contextmanager
def unit(name: str, root: Path, **environment: str) -> Iterator[Server]:
    """A server that listens, under its unit's filter."""
    text = (SYSTEMD / f"{name}.service").read_text()
    folder = root / f"run-{name}-{time.monotonic_ns()}"
    folder.mkdir()
    for line in values(text, "LoadCredential"):
        credential, _, source = line.partition(":")
        (folder / credential).write_bytes(Path(f"{root}{source}").read_bytes())
        (folder / credential).chmod(0o400)
    variables = dict(line.split("=", 1) for line in values(text, "Environment"))
    environment = {**variables, **environment, "PATH": os.environ["PATH"]}

    def place(word: str) -> str:
        word = word.replace("%d", str(folder)).replace("%C", f"{root}/var/cache")
        word = re.sub(r"^(/etc|/srv)/", rf"{root}\1/", word)
        if word in ("0.0.0.0:4433", "0.0.0.0:8000"):
            return "127.0.0.1:0"
        return f"127.0.0.1:{free_port()}" if word == "127.0.0.1:4434" else word

    environment = {key: place(value) for key, value in environment.items()}
    arguments = [
        place(environment[found[1]] if (found := re.fullmatch(r"\$\{(\w+)\}", word)) else word)
        for word in of_units()[f"{name}.service"]
    ]
    arguments = [  # a variable of its own is split, and may be nothing
        each
        for word in arguments
        for each in (shlex.split(environment.get(word[1:], "")) if word[0] == "$" else [word])
    ]
    log = folder / "log"
    launcher = [sys.executable, "-m", "tests.deploy.unit_filter", SYSTEMD / f"{name}.service"]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [*launcher, BIN / "ota-service", *arguments], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "listening" in line, log.read_text()
            yield Server(process, int(line.rsplit(":", 1)[1]), log)
            process.terminate()
            assert process.wait(30) == 0, log.read_text()
        finally:
            process.kill()


class Redis:
    """Redis with the configuration in `deploy`, on a port of the loopback interface; its data go to
    the folder."""

    def __init__(self, folder: Path, users: Path) -> None:
        self.port = free_port()
        self._command = [
            "redis-server", DEPLOY / "redis" / "redis.conf", "--bind", "127.0.0.1",
            "--port", str(self.port), "--dir", folder, "--aclfile", users,
        ]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Redis":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        seen = ""
        for line in self._process.stdout:
            seen += line
            if "Ready to accept connections" in line:
                return self
        raise AssertionError(seen)

    def __exit__(self, *error: object) -> None:
        self.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
