"""The servers of the agent's benchmark, each a process pinned to one core, and what they cost.

The yardstick is nginx: one worker, the same bytes over TLS 1.2 with the same certificate and
suite, no log, no session cache and no tickets, as the agent has none.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, CLIENT_CORE = "0", "1"
CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
_TICKS = os.sysconf("SC_CLK_TCK")
_COMMAND = Path(sys.executable).parent / "ota-service"

_NGINX = """
daemon off; worker_processes 1; {user} pid {folder}/nginx.pid; error_log {folder}/nginx.log;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
  access_log off; sendfile on; keepalive_timeout 0; default_type application/octet-stream;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
  uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096{listen};
    ssl_certificate {certificate}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2; ssl_ciphers {ciphers};
    ssl_session_cache off; ssl_session_tickets off;
    location / {{ root {folder}; }}
  }}
}}
"""


@dataclass(frozen=True, eq=False)
class Running:
    """A server: where it listens, its process and what a board has to say to get the firmware."""

    process: subprocess.Popen[bytes]
    port: int
    say: bytes

    def pids(self) -> list[int]:
        """Its process and that one's children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def cpu_s(self) -> float:
        """User and system time so far."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def pss_bytes(self) -> int:
        """Proportional share of user-space memory."""
        return sum(_pss(pid) for pid in self.pids())


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def kernel_tcp_bytes() -> int:
    """Memory of all TCP sockets of this machine (proc(5), sockstat), both ends."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.split()[-1]) * os.sysconf("SC_PAGESIZE")
    return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(
    folder: Path, certificate: Path, key: Path, image: Path, send_buffer: int | None = None
) -> Iterator[Running]:
    """It serves the files of the folder, image among them."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise SystemExit("benchmark agent: nginx is not there (Debian: apt-get install nginx)")
    port = free_port()
    listen = f" sndbuf={send_buffer}" if send_buffer else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            folder=folder,
            port=port,
            listen=listen,
            certificate=certificate,
            key=key,
            ciphers=CIPHERS,
            files=12_000,
            user="user root;" if os.getuid() == 0 else "",
        )
    )
    say = f"GET /{image.name} HTTP/1.0\r\n\r\n".encode()
    with _started([program, "-c", str(configuration), "-e", str(folder / "nginx.log")]) as process:
        yield _listening(process, port, say)


@contextmanager
def agent(
    folder: Path, certificate: Path, key: Path, image: Path, attestation: str, say: bytes,
    *more: str,
) -> Iterator[Running]:  # fmt: skip
    port = free_port()
    arguments = [
        str(_COMMAND), "agent", "--firmware", str(image), "--cert", str(certificate),
        "--key", str(key), "--dice-auth-url", attestation, "--listen", f"127.0.0.1:{port}", *more,
    ]  # fmt: skip
    with (folder / "agent.log").open("ab") as log, _started(arguments, log) as process:
        yield _listening(process, port, say)


@contextmanager
def attestation_stub() -> Iterator[str]:
    """An attestation server that says yes at once; its URL."""
    port = free_port()
    arguments = [sys.executable, "-m", "benchmarks._attestation_stub", str(port)]
    with _started(arguments, core=CLIENT_CORE) as process:
        _listening(process, port, b"")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def attestation_server(folder: Path, mac: str) -> Iterator[str]:
    """The real one, with one board enrolled; its URL."""
    registry = f"sqlite:///{folder}/boards.sqlite"
    subprocess.run([_COMMAND, "submit", mac, "--registry", registry], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    port = free_port()
    arguments = [str(_COMMAND), "attest", "serve", "--registry", registry,
                 "--listen", f"127.0.0.1:{port}"]  # fmt: skip
    with _started(arguments, core=CLIENT_CORE) as process:
        _listening(process, port, b"")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _started(
    arguments: list[str], log: object = None, core: str = SERVER_CORE
) -> Iterator[subprocess.Popen[bytes]]:
    errors = log if log is not None else subprocess.DEVNULL
    command = ["taskset", "-c", core, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _listening(process: "subprocess.Popen[bytes]", port: int, say: bytes) -> Running:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.005)
        else:
            return Running(process, port, say)
    raise SystemExit(f"benchmark agent: {process.args!r} does not listen")
