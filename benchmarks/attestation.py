"""The attestation server, one worker on one core, the clients (and Redis) on the other, beside
`openssl speed ecdsap256` on the worker's core. 10,000 different boards, 32 keep-alive connections.

`limit_share_...`: verdicts a second over openssl's verifications a second, medians of runs in turn;
there is no cache of verdicts. Bar: 0.25, aim 0.33. `verdicts_per_s_...` is beside it, `p99_ms_...`
at half that load. Bar: 20.

`scale_ratio_...`: median latency of one request at a time with 1,000,000 boards enrolled over that
with one. Bar: 1.2. `bytes_per_board_...`: of the SQLite file and of Redis's memory, for those.

`enrol_roots_per_s_...`, `enrol_macs_per_s_...`: `ota-service submit --csv`, start to end, one core.
Bars: 5,000 and 500.
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pool
from pathlib import Path
from statistics import median

import dice
from benchmarks._agent_servers import CLIENT_CORE, SERVER_CORE, free_port
from benchmarks._attestation_clients import write_requests
from dice import certificate
from dice_auth.enrolment import Enrolment
from dice_auth.registry_url import open_registry

NAME = "attestation"
_COMMAND = Path(sys.executable).parent / "ota-service"
_BOARDS = 10_000
_MACS = 3_000
_MANY = 1_000_000
_RUNS = 3
_REQUESTS = 30_000
_CONNECTIONS = 32

Figures = dict[str, float]


def run() -> dict[str, object]:
    """Measure once."""
    figures: Figures = {}
    openssl: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        bench = _Bench(Path(name))
        for backend in ("sqlite", "redis"):
            with bench.registry(backend) as url:
                _enrol(bench, backend, url, figures)
                openssl.append(_speed(bench, backend, url, figures))
            _scale(bench, backend, figures)
    return {
        "name": NAME,
        "figures": figures,
        "peers": {"openssl_verifications_per_s": median(openssl)},
    }


class _Bench:
    """The files of one run: certificates, batches, registries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with Pool(2) as pool:
            self.boards = pool.map(_make_board, range(_BOARDS), chunksize=500)
        self.requests = folder / "requests"
        write_requests(self.requests, [certificate.to_pem(own) for _, own in self.boards])
        self.first_request = folder / "first-request"
        write_requests(self.first_request, [certificate.to_pem(self.boards[0][1])])

    @contextmanager
    def registry(self, backend: str) -> Iterator[str]:
        """The URL of an empty one."""
        if backend == "redis":
            with _redis(self.folder) as url:
                yield url
        else:
            for path in self.folder.glob("registry.db*"):
                path.unlink()
            yield f"sqlite:///{self.folder}/registry.db"

    @contextmanager
    def server(self, url: str) -> Iterator[int]:
        """The port of one that serves this registry."""
        command = ["taskset", "-c", SERVER_CORE, str(_COMMAND), "attest", "serve",
                   "--registry", url, "--listen", "127.0.0.1:0"]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            yield int(process.stdout.readline().rsplit(":", 1)[1])
            process.terminate()
            if process.wait(30) != 0:
                raise RuntimeError("the server did not end well")

    def clients(self, port: int, requests: Path, total: int, connections: int, rate: float = 0):  # type: ignore[no-untyped-def]
        """What the client program measured; every answer has to be 200."""
        command = ["taskset", "-c", CLIENT_CORE, sys.executable, "-m",
                   "benchmarks._attestation_clients", "--port", port, "--requests", requests,
                   "--total", total, "--connections", connections]  # fmt: skip
        if rate:
            command += ["--rate", rate]
        out = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True).stdout
        result = json.loads(out)
        if result["statuses"] != {"200": total}:
            raise RuntimeError(f"answers: {result['statuses']}")
        return result


def _make_board(number: int) -> tuple[bytes, bytes]:
    """Root and certificate of a provisioned board."""
    uds = random.Random(number).randbytes(32)
    return dice.root_certificate(uds), dice.device_certificate(uds, uds * 2, bytes(64))


def _enrol(bench: _Bench, backend: str, url: str, figures: Figures) -> None:
    macs = bench.folder / "macs.csv"
    lines = (f"0a:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(_MACS))
    macs.write_text("\n".join(["mac", *lines, ""]))
    figures[f"enrol_macs_per_s_{backend}"] = _MACS / _submit(url, macs)
    roots = bench.folder / "roots.csv"
    rows = (f"board-{at},{b64encode(root).decode()}" for at, (root, _) in enumerate(bench.boards))
    roots.write_text("\n".join(["id,root", *rows, ""]))
    figures[f"enrol_roots_per_s_{backend}"] = _BOARDS / _submit(url, roots)


def _submit(url: str, batch: Path) -> float:
    """Seconds from start to end."""
    command = ["taskset", "-c", SERVER_CORE, _COMMAND, "submit", "--registry", url, "--csv", batch]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _speed(bench: _Bench, backend: str, url: str, figures: Figures) -> float:
    shares, speeds, limits, late = [], [], [], []
    with bench.server(url) as port:
        bench.clients(port, bench.requests, _BOARDS, _CONNECTIONS)
        for _ in range(_RUNS):
            limit = _openssl_verifications_per_s()
            speed = bench.clients(port, bench.requests, _REQUESTS, _CONNECTIONS)["per_s"]
            half = bench.clients(port, bench.requests, _REQUESTS // 2, _CONNECTIONS, speed / 2)
            shares.append(speed / limit)
            speeds.append(speed)
            limits.append(limit)
            late.append(half["p99_ms"])
    figures[f"limit_share_{backend}"] = median(shares)
    figures[f"verdicts_per_s_{backend}"] = median(speeds)
    figures[f"p99_ms_{backend}"] = median(late)
    return median(limits)


def _openssl_verifications_per_s() -> float:
    command = [
        "taskset",
        "-c",
        SERVER_CORE,
        "openssl",
        "speed",
        "-seconds",
        "2",
        "-mr",
        "ecdsap256",
    ]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    # +F4:<which>:<bits>:<signatures a second>:<verifications a second>
    (line,) = (line for line in text.splitlines() if line.startswith("+F4:"))
    return float(line.split(":")[4])


def _scale(bench: _Bench, backend: str, figures: Figures) -> None:
    """Latency with one board, then with a million, each in a registry of its own."""
    with bench.registry(backend) as url:
        enrol(url, bench.boards[:1], 0)
        with bench.server(url) as port:
            one = bench.clients(port, bench.first_request, 5_000, 1)["median_ms"]
    with bench.registry(backend) as url:
        before = _size(bench, backend, url)
        enrol(url, bench.boards, _MANY - _BOARDS)
        figures[f"bytes_per_board_{backend}"] = (_size(bench, backend, url) - before) / _MANY
        with bench.server(url) as port:
            many = bench.clients(port, bench.requests, _BOARDS, 1)["median_ms"]
    figures[f"latency_ms_{backend}"] = one
    figures[f"scale_ratio_{backend}"] = many / one


def enrol(url: str, boards: list[tuple[bytes, bytes]], more: int) -> None:
    """These boards and so many more, whose roots nobody has the key of."""
    template = boards[0][0]
    key_id = certificate.parse(template).subject_key_id
    assert key_id is not None
    chance = random.Random(1)

    def every() -> Iterator[Enrolment]:
        for at, (root, _) in enumerate(boards):
            yield Enrolment.of(f"board-{at}", root)
        for at in range(more):
            other = chance.randbytes(20)
            yield Enrolment(f"{at:012x}", template.replace(key_id, other), other)

    async def work() -> None:
        async with open_registry(url) as registry:
            await registry.enrol_all(every())

    asyncio.run(work())


def _size(bench: _Bench, backend: str, url: str) -> int:
    if backend == "sqlite":
        return sum(path.stat().st_size for path in bench.folder.glob("registry.db*"))
    import redis

    with redis.Redis.from_url(url) as client:
        return int(client.info("memory")["used_memory"])


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("benchmark attestation: redis-server is not there (Debian: redis-server)")
    port = free_port()
    command = ["taskset", "-c", CLIENT_CORE, program, "--port", str(port), "--bind", "127.0.0.1",
               "--save", "", "--appendonly", "no", "--dir", str(folder)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{port}"
        process.kill()
        process.wait()
