"""The OTA agent beside nginx, which serves the same bytes over TLS with the same certificate and
suite (TLS 1.2, AES128-GCM) to the same client program. Server and client have a core each.

`cpu_ratio_ecdsa`, `cpu_ratio_rsa`: server CPU per update of 1 MiB, 200 boards at a time,
attestation answered at once by a local stub, over nginx's per download; medians of pairs run in
turn, each first as often as second. Bar: 1.1, aim 1.0. `cpu_ms_...` and `updates_per_s_...` are
beside it, `updates_per_s_attested` with the real attestation server, which shares the client's
core.

`overhead_ms`: one board at a time, from connect to the first firmware byte, median; the
originals' agent needs 3,000. Bar: 10. `startup_s`: from the command to the first connection.
Bar: 1.

`slow_...`: 5,000 boards at once, each reading 20 KB/s of a 16 MiB image for 20 s, SO_SNDBUF set
alike. `slow_share`: what the slowest got over the mean; bar: 0.8. `slow_pss_kb`: user-space memory
per connection; bar: nginx's. `slow_cpu_percent` of a core, and `slow_kernel_kb` per connection, of
all TCP on this machine, both ends.

`crowd_ratio`: how much longer one good board's update takes while 1,000 clients misbehave (silent,
garbage, half a handshake, half a certificate, never reading), median over median; bar: 2.

`memory_growth`: 20,000 updates of 64 KB; the most memory (PSS) in their last quarter over that in
the second; bar: 1.05.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import dice
from benchmarks import _agent_servers as servers
from benchmarks._agent_servers import Running
from esp_image.build import build_app
from tests.esp_image import signing
from tests.ota_agent.conftest import Identity, make_identity

NAME = "agent"
MAC = "02:00:00:00:00:01"
_PAIRS = 10
_UPDATES = 800
_SLOW_BOARDS = 5_000
_SLOW_SECONDS = 20
_SEND_BUFFER = 128 * 1024
_SOAK_UPDATES = 20_000
_CROWD = 1_000

Figures = dict[str, float]


def run() -> dict[str, object]:
    """Measure once."""
    ours: Figures = {}
    nginx: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for kind in ("ecdsa", "rsa"):
            _throughput(bench, kind, ours, nginx)
        _attested(bench, ours)
        _overhead(bench, ours, nginx)
        _slow(bench, ours, nginx)
        _crowd(bench, ours)
        _soak(bench, ours)
    return {"name": NAME, "figures": ours, "peers": {"nginx": nginx}}


class Bench:
    """The files of one run: keys, certificates, images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = signing.make_key("p256")
        self._identities = {kind: make_identity(folder / kind, kind) for kind in ("ecdsa", "rsa")}
        uds = dice.uds_from_mac(bytes.fromhex(MAC.replace(":", "")))
        self.certificate = dice.device_certificate(uds, bytes(64), bytes(64))

    def identity(self, kind: str) -> Identity:
        return self._identities[kind]

    def image(self, size: int) -> Path:
        """A signed image of about so many bytes."""
        path = self.folder / f"{size}.bin"
        if not path.exists():
            plain = build_app("2.0.0", "thermo", size=size - 8192)
            path.write_bytes(signing.sign(plain, self._key))
        return path

    @contextmanager
    def agent(
        self, image: Path, attestation: str, *more: str, kind: str = "ecdsa"
    ) -> Iterator[Running]:
        own = self.identity(kind)
        with servers.agent(
            self.folder, own.certificate, own.key, image, attestation, self.certificate, *more
        ) as running:
            yield running

    @contextmanager
    def nginx(
        self, image: Path, kind: str = "ecdsa", send_buffer: int | None = None
    ) -> Iterator[Running]:
        own = self.identity(kind)
        with servers.nginx(
            self.folder, own.certificate, own.key, image, send_buffer=send_buffer
        ) as running:
            yield running

    def fleet(self, server: Running, work: str, *arguments: object, kind: str = "ecdsa"):  # type: ignore[no-untyped-def]
        """The client program, started."""
        say = self.folder / f"say-{server.port}"
        say.write_bytes(server.say)
        command = [
            "taskset", "-c", servers.CLIENT_CORE, sys.executable, "-m", "benchmarks._fleet", work,
            "--port", server.port, "--ca", self.identity(kind).certificate, "--say", say,
            *arguments,
        ]  # fmt: skip
        return subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def updates(
        self, server: Running, total: int, at_once: int, image: Path, kind: str = "ecdsa",
        work: str = "updates",
    ) -> dict[str, float]:  # fmt: skip
        """Whole updates; what the client program measured, and the server's CPU."""
        before = server.cpu_s()
        client = self.fleet(
            server, work, "--total", total, "--at-once", at_once,
            "--expect", image.stat().st_size, kind=kind,
        )  # fmt: skip
        out, _ = client.communicate(timeout=600)
        result: dict[str, float] = json.loads(out)
        if result["failed"]:
            raise RuntimeError(f"{result['failed']} of {total} updates failed")
        result["cpu_ms"] = (server.cpu_s() - before) / total * 1000
        result["per_s"] = total / result["seconds"]
        return result


def _throughput(bench: Bench, kind: str, ours: Figures, theirs: Figures) -> None:
    image = bench.image(1024 * 1024)
    pairs = []
    with (
        servers.attestation_stub() as url,
        bench.agent(image, url, kind=kind) as agent,
        bench.nginx(image, kind) as nginx,
    ):
        for server in (agent, nginx):
            bench.updates(server, 200, 200, image, kind)
        for number in range(_PAIRS):
            # Each goes first as often as second: whoever follows may find warmer caches.
            order = (agent, nginx) if number % 2 else (nginx, agent)
            results = {each: bench.updates(each, _UPDATES, 200, image, kind) for each in order}
            pairs.append([results[agent], results[nginx]])
    ours[f"cpu_ratio_{kind}"] = median(a["cpu_ms"] / n["cpu_ms"] for a, n in pairs)
    for figures, at in ((ours, 0), (theirs, 1)):
        figures[f"cpu_ms_{kind}"] = median(pair[at]["cpu_ms"] for pair in pairs)
        figures[f"updates_per_s_{kind}"] = median(pair[at]["per_s"] for pair in pairs)


def _attested(bench: Bench, ours: Figures) -> None:
    image = bench.image(1024 * 1024)
    with (
        servers.attestation_server(bench.folder, MAC) as url,
        bench.agent(image, url) as agent,
    ):
        runs = [bench.updates(agent, _UPDATES, 200, image)["per_s"] for _ in range(3)]
    ours["updates_per_s_attested"] = median(runs)


def _overhead(bench: Bench, ours: Figures, theirs: Figures) -> None:
    image = bench.image(64 * 1024)
    with servers.attestation_stub() as url:
        started = time.perf_counter()
        with bench.agent(image, url) as agent:
            ours["startup_s"] = time.perf_counter() - started
            with bench.nginx(image) as nginx:
                for figures, server in ((ours, agent), (theirs, nginx)):
                    result = bench.updates(server, 300, 1, image)
                    figures["overhead_ms"] = result["first_byte_median_s"] * 1000


def _slow(bench: Bench, ours: Figures, theirs: Figures) -> None:
    image = bench.image(16 * 1024 * 1024)
    with (
        servers.attestation_stub() as url,
        bench.agent(image, url, "--send-buffer", str(_SEND_BUFFER)) as agent,
    ):
        _read_slowly(bench, agent, ours)
    with bench.nginx(image, send_buffer=_SEND_BUFFER) as nginx:
        _read_slowly(bench, nginx, theirs)


def _read_slowly(bench: Bench, server: Running, figures: Figures) -> None:
    pss, kernel = server.pss_bytes(), servers.kernel_tcp_bytes()
    client = bench.fleet(server, "slow", "--at-once", _SLOW_BOARDS, "--seconds", _SLOW_SECONDS)
    if client.stdout.readline().strip() != "reading":
        raise RuntimeError("the slow boards could not all connect")
    before, began = server.cpu_s(), time.perf_counter()
    client.stdout.readline()
    seconds = time.perf_counter() - began
    figures["slow_cpu_percent"] = (server.cpu_s() - before) / seconds * 100
    figures["slow_pss_kb"] = (server.pss_bytes() - pss) / _SLOW_BOARDS / 1024
    figures["slow_kernel_kb"] = (servers.kernel_tcp_bytes() - kernel) / _SLOW_BOARDS / 1024
    out, _ = client.communicate("\n", timeout=120)
    result = json.loads(out.splitlines()[-1])
    figures["slow_lost"] = result["lost"]
    figures["slow_mean_kb_s"] = result["mean"] / 1000
    figures["slow_share"] = result["slowest"] / result["mean"]


def _crowd(bench: Bench, ours: Figures) -> None:
    image = bench.image(1024 * 1024)
    seed = random.randrange(1 << 30)
    with servers.attestation_stub() as url, bench.agent(image, url) as agent:
        alone = [bench.updates(agent, 40, 1, image)["seconds"] for _ in range(5)]
        crowd = bench.fleet(agent, "crowd", "--at-once", _CROWD, "--seed", seed)
        if crowd.stdout.readline().strip() != "misbehaving":
            raise RuntimeError("the crowd could not connect")
        among = [bench.updates(agent, 40, 1, image)["seconds"] for _ in range(5)]
        crowd.communicate("\n", timeout=120)
    ours["crowd_ratio"] = median(among) / median(alone)


def _soak(bench: Bench, ours: Figures) -> None:
    image = bench.image(64 * 1024)
    with servers.attestation_stub() as url, bench.agent(image, url) as agent:
        most = []
        for _ in range(4):
            peak = 0
            for _ in range(10):
                bench.updates(agent, _SOAK_UPDATES // 40, 200, image)
                peak = max(peak, agent.pss_bytes())
            most.append(peak)
    ours["memory_growth"] = most[3] / most[1]
    ours["memory_mb"] = most[3] / 1024 / 1024
