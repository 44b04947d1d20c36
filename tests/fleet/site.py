"""A site with replicas, in processes as an operator runs them: attestation servers on one Redis
behind nginx, and an agent with workers. Any of them may be killed.
"""

import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests import world
from tests.dice_auth.redis_peer import RedisPeer
from tests.ota_agent.attested_scene import HttpBoard
from tests.ota_agent.board_peer import BoardPeer
from tests.ports import free_port

_COMMAND = str(Path(sys.executable).parent / "ota-service")
_NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
daemon off;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream dice_auth {{ {servers} keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 100000;
    location / {{
      proxy_pass http://dice_auth;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_connect_timeout 2s;
    }}
  }}
}}
"""


class Service:
    """One `ota-service` command that serves, and is started again when it was killed."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self._log = log
        self._arguments = [_COMMAND, *map(str, arguments)]
        self.start()

    def start(self) -> None:
        """Returns when it listens."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        guard = threading.Timer(30, self.process.kill)
        guard.start()
        line = self.process.stdout.readline()
        guard.cancel()
        if " listening on " not in line:
            raise RuntimeError(f"{self._arguments[1]}: {self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self._reap()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class Site:
    """folder: for all files. url: of the attestation servers together. registry: Redis."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder = folder
        self.registry = registry
        self.attestation: list[Service] = []
        self.url = ""
        self.agent: Service | None = None
        self.agent_port = free_port()
        self.admin_port = free_port()

    def start_attestation(self, count: int) -> list[int]:
        """So many attestation servers; their ports."""
        ports = [free_port() for _ in range(count)]
        for number, port in enumerate(ports):
            log = self.folder / f"attestation-{number}.log"
            where = ("--registry", self.registry, "--listen", f"127.0.0.1:{port}")
            self.attestation.append(Service(log, "attest", "serve", *where))
        return ports

    def start_agent(self, firmware: bytes, workers: int) -> None:
        certificate, key = world.authority("test CA").issue()
        for name, content in (("a.pem", certificate), ("a.key", key), ("new.bin", firmware)):
            (self.folder / name).write_bytes(content)
        self.agent = Service(
            self.folder / "agent.log", "agent", "--firmware", self.folder / "new.bin",
            "--cert", self.folder / "a.pem", "--key", self.folder / "a.key",
            "--dice-auth-url", self.url, "--listen", f"127.0.0.1:{self.agent_port}",
            "--workers", workers, "--admin", f"127.0.0.1:{self.admin_port}",
        )  # fmt: skip

    def recover(self) -> None:
        """Returns when every worker asks the attestation servers again: after failures one asks
        only now and then, so that challenges are asked for until all have seen it work."""
        context = ssl.create_default_context(cadata=world.authority("test CA").ca_pem.decode())
        while self.metric("ota_agent_circuit_breaker_open"):
            with BoardPeer(("127.0.0.1", self.agent_port), context) as peer:
                HttpBoard(peer).ask("GET", "/v2/challenge")

    def workers(self) -> list[int]:
        """Process ids of the agent's workers; there is another one, with the admin port."""
        assert self.agent is not None
        process = self.agent.process.pid
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
        return [int(word) for word in children.split() if not self._has_admin_port(word)]

    def _has_admin_port(self, process: str) -> bool:
        listening = f"0100007F:{self.admin_port:04X} 00000000:0000 0A"
        lines = [
            line for line in Path("/proc/net/tcp").read_text().splitlines() if listening in line
        ]
        inodes = {f"socket:[{line.split()[9]}]" for line in lines}
        with suppress(OSError):
            return any(
                os.readlink(each) in inodes for each in Path(f"/proc/{process}/fd").iterdir()
            )
        return False

    def metric(self, name: str) -> float:
        """One of the agent's that has no labels."""
        url = f"http://127.0.0.1:{self.admin_port}/metrics"
        for line in httpx.get(url, timeout=20).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no {name}")


@contextmanager
def site(
    folder: Path, firmware: bytes, *, attestation: int = 2, workers: int = 3
) -> Iterator[Site]:
    """Everything running. Skips where Redis or nginx are not installed."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    with ExitStack() as stack:
        redis = RedisPeer(folder)
        stack.callback(redis.stop)
        redis.start()
        here = Site(folder, f"{redis.url}/0")
        ports = here.start_attestation(attestation)
        for each in here.attestation:
            stack.callback(each.end)
        stack.enter_context(_balancer(nginx, folder, here, ports))
        here.start_agent(firmware, workers)
        assert here.agent is not None
        stack.callback(here.agent.end)
        yield here


@contextmanager
def _balancer(nginx: str, folder: Path, here: Site, ports: list[int]) -> Iterator[None]:
    port = free_port()
    servers = " ".join(f"server 127.0.0.1:{each} fail_timeout=1s;" for each in ports)
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, port=port, servers=servers))
    process = subprocess.Popen([nginx, "-c", str(configuration), "-e", str(folder / "nginx.log")])
    try:
        here.url = f"http://127.0.0.1:{port}"
        yield
    finally:
        process.terminate()
        process.wait(20)
