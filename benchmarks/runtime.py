"""The whole board side as .mpy on the MicroPython unix port, where objects are twice an ESP32's.

`min_heap_kb`: the smallest heap (`-X heapsize`) with which a board serves its endpoints, makes its
DICE certificate, and takes a signed image of 1.5 MB (RSA-3072) from the real agent, which asks
the real attestation server; somebody asks for its status five times a second meanwhile, and the
bootloader must then boot the new firmware. Bar: 192, aim 128. With images of 256 KB and 3 MB it
has to be the same (`min_heap_256kb_kb`, `min_heap_3mb_kb`).

`min_heap2_kb`: the same over protocol 2, with a provisioned board that proves itself to both.
`min_heap2_resumed_kb`: the same where the connection breaks once in the middle of the image: the
board proves itself again, reads what has come from flash, and has to go on from there. Bar: 108 on
a port built for 32 bits, which leaves 40 of a chip's 148 KB.
`heap2_more_kb`: how much `min_heap2_kb` is more than `min_heap_kb`. Bar: 8. The port doubles its
table of names at the 1261st, which costs 14 KB: `names` and `names2` are how many there are when
the update is over. With a port built for 32 bits (docs/esp32.md, "Memory") these are a chip's.

`pipeline_ratio`: from the TLS handshake to set_boot, beside the loop of public MicroPython
updaters (pipeline_board.Peer) with the same stream into the same virtual partition; median of
pairs. Bar: 1.25. `pipeline_heap_bytes`, with the code loaded: no more than the peer's.

`gap_units`: the longest that the application waited for its turn during such an update, in units
of 1000 products of 256 bits (131 ms on an ESP32, chip.md), without what is exempt (docs/updates.md,
"Politeness"): the least of some updates, since the machine takes its own turns. Over protocol 2:
`gap2_units`. Bar: 150 ms are 1.15 units.

`mpy_kb`: floors 1 to 4 as .mpy for the ESP32 (xtensawin), without what only a workstation loads;
`mpy_all_kb`: with it. Bar: 56.
"""

import http.client
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median

import dice
from benchmarks._relay import broken_once
from esp_image.build import build_app
from tests import micropython_port, world
from tests.esp_image import signing
from tests.ota_cli.processes import done, server
from virtual_esp32.board import VirtualBoard
from virtual_esp32.efuse import EFuse
from virtual_esp32.flash import NorFlash

NAME = "runtime"
MAC = "24:0a:c4:00:00:01"
UDS = bytes(range(32))  # as in nvs_board
IMAGE_BYTES = 1_500_000
_FOLDER = Path(__file__).parent
_ROUNDS = 9
_HEAP_STEP_BYTES = 128
_GIVE_UP_S = 60
_ASK_S = 0.2


def run() -> dict[str, object]:
    """Measure once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = signing.make_key("rsa")
        write_desk(folder)
        pipeline, peer = _pipeline(folder, key)
        heaps = _heaps(folder)
    figures = {**heaps, **pipeline, **_mpy_sizes()}
    return {"name": NAME, "figures": figures, "peers": {"block_loop": peer}}


def write_desk(folder: Path) -> None:
    """The agent's certificate and key, and its CA."""
    certificate, private = world.authority("test CA").issue()
    (folder / "agent.pem").write_bytes(certificate)
    (folder / "agent.key").write_bytes(private)
    (folder / "ca.der").write_bytes(world.authority("test CA").ca)


def write_signed(path: Path, version: str, size: int, key: object) -> None:
    path.write_bytes(signing.sign(build_app(version, "thermo", "esp32", size=size), key))


def _smallest(low: int, high: int, step: int, passes: Callable[[int], bool]) -> int:
    """By halving: the least number that passes; RuntimeError if even `high` does not."""
    if not passes(high):
        raise RuntimeError(f"{high} is not enough")
    while high - low > step:
        middle = (low + high) // 2
        if passes(middle):
            high = middle
        else:
            low = middle
    return high


# -- the whole board side ------------------------------------------------------------------------


def _heaps(folder: Path) -> dict[str, float]:
    sizes = {"": IMAGE_BYTES, "2": IMAGE_BYTES, "_256kb": 250_000, "_3mb": 3_000_000}
    found: dict[str, float] = {}
    for name, size in sizes.items():
        part = folder / f"heap{name}"
        part.mkdir()
        with board_side(part, size, identity="provisioned" if name == "2" else "mac") as updates:
            found[f"min_heap{name}_kb"] = _smallest(64, 512, 1, updates)
            if name == "2":
                resumed = partial(updates, cut_at=size // 2)
                found["min_heap2_resumed_kb"] = _smallest(64, 512, 1, resumed)
            if size == IMAGE_BYTES:
                gap = min(_longest_gap(updates) for _ in range(_ROUNDS))
                found[f"gap{name}_units"] = round(gap, 2)
                found[f"names{name}"] = _names(updates)
    found["heap2_more_kb"] = found["min_heap2_kb"] - found["min_heap_kb"]
    return found


def _longest_gap(updates: Callable[..., bool]) -> float:
    said = _said(updates, gaps=True)
    return max(float(line.split()[2]) for line in said if line.startswith("gap "))


def _names(updates: Callable[..., bool]) -> int:
    """How many interned names there are when the update is over."""
    found = re.search(r"n_qstr=(\d+)", "\n".join(_said(updates)))
    assert found is not None
    return int(found[1])


def _said(updates: Callable[..., bool], gaps: bool = False) -> list[str]:
    """What a board says that has heap enough."""
    said: list[str] = []
    if not updates(256, said=said, gaps=gaps):
        raise RuntimeError("\n".join(said))
    return said


@contextmanager
def board_side(
    folder: Path, image_bytes: int, identity: str = "mac"
) -> Iterator[Callable[..., bool]]:
    """The servers, and a board for each call of what it yields: a function that tells whether a
    board with so many KB of heap updates itself to an image of this size. A provisioned board
    does so over protocol 2."""
    library = folder / "library"
    scripts = [_FOLDER / f"{name}_board.py" for name in ("runtime", "nvs", "gaps")]
    micropython_port.compile_library(library, extra=scripts)
    key = signing.make_key("rsa")
    write_desk(folder)
    write_signed(folder / "old.bin", "1.0.0", 64_000, key)
    write_signed(folder / "new.bin", "2.0.0", image_bytes, key)
    registry = f"sqlite:///{folder}/boards.sqlite"
    flash = folder / "flash.bin"
    root = folder / "root.der"
    root.write_bytes(dice.root_certificate(UDS))
    enrolled = ["--root", root] if identity == "provisioned" else []
    done("submit", MAC, *enrolled, "--registry", registry)
    done("board", "create", flash, "--app", folder / "old.bin", "--mac", MAC, "--size", "8MB")
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as url,
        server(
            "agent", "--firmware", folder / "new.bin", "--cert", folder / "agent.pem",
            "--key", folder / "agent.key", "--dice-auth-url", url, "--listen", "127.0.0.1:0",
        ) as agent,
    ):  # fmt: skip
        yield partial(
            _updates, library=library, flash=flash, fresh=flash.read_bytes(),
            agent_ca=folder / "ca.der", identity=identity, agent=agent,
        )  # fmt: skip


def _updates(
    kb: int, *, library: Path, flash: Path, fresh: bytes, agent_ca: Path, identity: str,
    agent: str, said: list[str] | None = None, gaps: bool = False, cut_at: int | None = None,
    lost: int = 0,
) -> bool:  # fmt: skip
    """Whether a board with this heap updates itself. said: gets what it says; gaps: it measures
    them. cut_at: the connection is lost after so many bytes to the board, and the update has to go
    on where it was. lost: how many connections it has to lose."""
    said = [] if said is None else said
    if cut_at is not None:
        with broken_once(agent, cut_at) as relay:
            updated = _updates(
                kb, library=library, flash=flash, fresh=fresh, agent_ca=agent_ca,
                identity=identity, agent=relay, said=said, gaps=gaps, lost=1,
            )  # fmt: skip
        return updated and any(line.startswith("resuming at byte") for line in said)
    flash.write_bytes(fresh)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [micropython_port.INTERPRETER, "-X", f"heapsize={kb}k", "-m", "runtime_board"]
    board = subprocess.Popen(
        [*command, flash, str(port), agent_ca, identity, *(["gaps"] if gaps else [])],
        cwd=library.parent,  # relative: a module's path is in memory, as long as it is
        env={"MICROPYPATH": f"{library.name}:.frozen"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    guard = threading.Timer(_GIVE_UP_S, board.kill)
    guard.start()
    try:
        ended = _play(board, port, agent, said, lost)
    finally:
        guard.cancel()
        board.kill()
        board.wait()
        board.stdout.close()  # type: ignore[union-attr]
    return ended and _boots_new(flash)


def _play(board: subprocess.Popen[str], port: int, agent: str, said: list[str], lost: int) -> bool:
    """Trigger the update once the board is ready; whether it asks for its reset, having lost so
    many connections."""
    over = threading.Event()
    asking = threading.Thread(target=_keep_asking, args=(port, over))
    try:
        for line in board.stdout or ():
            said.append(line.rstrip())
            if line.startswith("ready"):
                if _ask(port, "POST", f"ip: {agent}") != 200:
                    return False
                asking.start()
            if line.startswith("reset"):
                return not lost
            if line.startswith("failed"):
                lost -= 1
                if lost < 0:
                    return False
        return False
    finally:
        over.set()
        if asking.is_alive():
            asking.join()


def _keep_asking(port: int, over: threading.Event) -> None:
    while not over.wait(_ASK_S):
        _ask(port, "GET", None)


def _ask(port: int, method: str, body: str | None) -> int | None:
    """The status of one request to /update, None if there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, "/update", body)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _boots_new(flash: Path) -> bool:
    storage = NorFlash.open(str(flash))
    try:
        board = VirtualBoard(storage, EFuse.load(str(flash)))
        return board.boot().partition.label == "ota_1"
    finally:
        storage.close()


# -- from the network to the slot ----------------------------------------------------------------


def _pipeline(folder: Path, key: object) -> tuple[dict[str, float], dict[str, float]]:
    library = folder / "pipeline"
    library.mkdir()
    flash = folder / "pipeline.bin"
    write_signed(folder / "old.bin", "1.0.0", 64_000, key)
    done("board", "create", flash, "--app", folder / "old.bin", "--mac", MAC)
    write_signed(folder / "big.bin", "2.0.0", IMAGE_BYTES, key)
    write_signed(folder / "small.bin", "2.0.0", 64_000, key)

    def on_board(port: int, mode: str, number: int) -> str:
        done = micropython_port.run(
            str(_FOLDER / "pipeline_board.py"), mode, str(port), str(folder / "ca.der"),
            str(flash), str(number), library=library, heap="1M",
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout)
        return done.stdout

    with _sender(folder, "big.bin") as port:
        lines = on_board(port, "time", _ROUNDS).splitlines()
    pairs = [tuple(map(int, line.split())) for line in lines]
    ratio = median(ours / peer for peer, ours in pairs)
    heap = {}
    with _sender(folder, "small.bin") as port:
        for mode in ("ours", "peer"):
            heap[mode] = _smallest(
                0, 64 * 1024, _HEAP_STEP_BYTES,
                lambda free, mode=mode: on_board(port, mode, free).strip() == "enough",
            )  # fmt: skip
    ours = {"pipeline_ratio": round(ratio, 3),
            "pipeline_ms": round(median(ours for _, ours in pairs) / 1000, 1),
            "pipeline_heap_bytes": heap["ours"]}  # fmt: skip
    peer = {"pipeline_ms": round(median(peer for peer, _ in pairs) / 1000, 1),
            "pipeline_heap_bytes": heap["peer"]}  # fmt: skip
    return ours, peer


@contextmanager
def _sender(folder: Path, image: str) -> Iterator[int]:
    """A TLS server in a process of its own that sends this image to whoever connects."""
    script = "from benchmarks import runtime; import sys; runtime.send(*sys.argv[1:])"
    files = [folder / name for name in ("agent.pem", "agent.key", image)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, files)],
        cwd=_FOLDER.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def send(certificate: str, key: str, image: str) -> None:
    """What `_sender` runs: one connection after the other, until ended."""
    content = Path(image).read_bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Boards that run out of memory hang up in the middle.
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
                stream.recv(1)
                stream.sendall(content)


# -- sizes ---------------------------------------------------------------------------------------


def _mpy_sizes() -> dict[str, float]:
    sizes = {}
    with tempfile.TemporaryDirectory() as name:
        for figure, whole in (("mpy_kb", False), ("mpy_all_kb", True)):
            folder = Path(name, figure)
            micropython_port.compile_library(folder, "xtensawin", whole=whole)
            sizes[figure] = sum(
                path.stat().st_size
                for package in micropython_port.BOARD_PACKAGES
                for path in (folder / package).rglob("*.mpy")
            )
    return {figure: round(size / 1024, 1) for figure, size in sizes.items()}


if __name__ == "__main__":
    from benchmarks.__main__ import main

    sys.exit(main([NAME, *sys.argv[1:]]))
