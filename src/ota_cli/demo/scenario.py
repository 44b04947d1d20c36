"""What the demonstration does, step by step, and whether each step ended as expected."""

import hashlib
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from esp_image import ImageParser
from ota_cli import output
from ota_cli.board_client import Board
from ota_cli.demo import keys, signature
from ota_cli.demo.interrupts import held_back
from ota_cli.demo.processes import Server, ota_service, run, run_visibly
from ota_cli.demo.thief import Thief

_ENROLLED, _STRANGER = "board-1", "board-2"
# What the board sent to the rogue agent
_EVIDENCE = "evidence"
_PROJECT = "thermo"
_IMAGE_BYTES = 1024 * 1024


@dataclass
class Outcome:
    """One line of the closing table."""

    what: str
    expected: str
    seen: str

    @property
    def held(self) -> bool:
        return self.seen == self.expected


class Scenario:
    """The demonstration in a folder of its own; leaving it ends every process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._outcomes: list[Outcome] = []
        self._step = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def play(self) -> bool:
        """Play it; True if all ended as expected."""
        self._make_keys_and_images()
        attestation = self._start_attestation()
        self._provision(_ENROLLED, "--registry", self._registry())
        board = self._start_board(_ENROLLED)
        agent = self._start_agent(attestation, "new.bin")
        self._update(board, agent)
        self._refuse(
            board, self._start_rogue("tampered.bin"), "a tampered image", "digest-mismatch"
        )
        self._refuse(
            board,
            self._start_rogue("strange.bin"),
            "an image signed by a stranger",
            "key-untrusted",
        )
        self._provision(_STRANGER, "--no-enrol")
        stranger = self._start_board(_STRANGER)
        self._refuse(stranger, agent, "a board that is not enrolled", "attestation-refused")
        self._steal(board, agent)
        return self._conclude()

    def _provision(self, name: str, *more: str) -> None:
        run("provision", name, "-o", self._folder / "secrets", *more)
        enrolled = "its root certificate enrolled there" if "--registry" in more else "not enrolled"
        self._say(f"board {name} provisioned: a secret for its NVS; {enrolled}")

    def _make_keys_and_images(self) -> None:
        self._say("keys, certificates and signed firmware: thermo 1.0.0, 2.0.0, 3.0.0")
        owner, stranger = keys.make_signing_key(), keys.make_signing_key()
        keys.make_agent_certificate(self._folder)
        self._build("old.bin", "1.0.0", owner)
        self._build("new.bin", "2.0.0", owner)
        self._build("strange.bin", "3.0.0", stranger)
        self._build("genuine.bin", "3.0.0", owner)
        self._path("tampered.bin").write_bytes(_tampered(self._path("genuine.bin").read_bytes()))

    def _build(self, name: str, version: str, key: rsa.RSAPrivateKey) -> None:
        plain = self._path("plain.bin")
        run(
            "image",
            "build",
            "-o",
            plain,
            "--version",
            version,
            "--project",
            _PROJECT,
            "--size",
            str(_IMAGE_BYTES),
        )
        self._path(name).write_bytes(signature.sign(plain.read_bytes(), key))

    def _registry(self) -> str:
        return f"sqlite:///{self._path('registry.sqlite')}"

    def _start_attestation(self) -> str:
        address = self._start(
            "attestation server",
            ota_service(
                "attest", "serve", "--registry", self._registry(), "--listen", "127.0.0.1:0"
            ),
        )
        self._say(f"attestation server at {address}")
        return address

    def _start_board(self, name: str) -> Board:
        flash = self._path(f"{name}.bin")
        nvs = self._path("secrets") / f"{name}-nvs.bin"
        run("board", "create", flash, "--app", self._path("old.bin"), "--nvs", nvs)
        address = self._start(
            f"board {name}",
            ota_service(
                "board",
                "run",
                flash,
                "--http",
                "127.0.0.1:0",
                "--identity",
                "provisioned",
                "--agent-ca",
                self._path("ca.pem"),
            ),
        )
        board = Board(address)
        self._say(f"board {name}, a virtual ESP32 with 4 MB, at {board.url}")
        self._indented(f"runs {_running(board)}", "green")
        return board

    def _start_agent(self, attestation: str, firmware: str) -> str:
        address = self._start(
            "OTA agent",
            ota_service(
                "agent",
                "--firmware",
                self._path(firmware),
                "--cert",
                self._path("agent.pem"),
                "--key",
                self._path("agent.key"),
                "--dice-auth-url",
                attestation,
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "off",
            ),
        )
        self._say(f"OTA agent at {address}, serves thermo 2.0.0")
        return address

    def _start_rogue(self, image: str) -> str:
        arguments = ["-m", "ota_cli.demo.rogue_agent"]
        files = ("agent.pem", "agent.key", image, _EVIDENCE)
        arguments += [str(self._path(name)) for name in files]
        return self._start("rogue agent", arguments)

    def _start(self, name: str, arguments: list[str]) -> str:
        """Start a server that ends with the scenario; where it listens."""
        log = self._path(name.replace(" ", "-") + ".log")
        with held_back():
            server = self._stack.enter_context(Server(name, arguments, log))
        return server.wait_until_ready()

    def _update(self, board: Board, agent: str) -> None:
        self._say(f"update of {board.url} from {agent}")
        code, error = run_visibly("update", board.url, "--agent", agent)
        if code:
            self._indented(error, "red")
        expected = f"{_PROJECT} 2.0.0 in ota_1, confirmed"
        self._outcomes.append(Outcome("a genuine update", expected, _running(board)))

    def _refuse(self, board: Board, agent: str, what: str, code: str) -> None:
        before = _running(board)
        self._say(f"refusal: {what}")
        exit_code, error = run_visibly("update", board.url, "--agent", agent)
        reason = error.removeprefix(f"ota-service: {board.url}: ").rsplit("; still runs")[0]
        self._indented(f"refused: {reason}", "yellow")
        status = board.status()
        seen = status.error.code if status.error else "no error"
        now = _running(board)
        self._indented(f"the board still runs {now}", "green")
        refused = "refused" if exit_code == 1 else f"exit code {exit_code}"
        self._outcomes.append(
            Outcome(what, f"refused: {code}; runs {before}", f"{refused}: {seen}; runs {now}")
        )

    def _steal(self, board: Board, agent: str) -> None:
        """What somebody can do with what he can have of a board."""
        thief = Thief(agent, self._path("ca.pem"))
        root = self._path("secrets") / f"{_ENROLLED}-root.pem"
        recorded = self._path(_EVIDENCE).read_bytes()
        self._turn_away(
            "a stolen certificate, without its key",
            "401: evidence-signature",
            thief.with_certificate_of(board.url, root),
        )
        self._turn_away(
            "evidence recorded and sent again", "401: nonce", thief.with_evidence(recorded)
        )

    def _turn_away(self, what: str, expected: str, seen: str) -> None:
        self._say(f"refusal: {what}")
        self._indented(f"the agent answers {seen}; no firmware", "yellow")
        self._outcomes.append(Outcome(what, expected, seen))

    def _conclude(self) -> bool:
        table = Table("", "what", "expected", "seen", title="expected and seen", show_lines=True)
        for outcome in self._outcomes:
            mark = Text("ok", "green") if outcome.held else Text("NO", "red")
            table.add_row(mark, outcome.what, outcome.expected, outcome.seen)
        output.console.print()
        output.console.print(table)
        return all(outcome.held for outcome in self._outcomes)

    def _say(self, text: str) -> None:
        self._step += 1
        line = Table.grid(padding=(0, 1))
        seconds = time.monotonic() - self._started
        line.add_row(Text(f"{self._step:2}", "bold"), Text(f"{seconds:4.1f} s", "dim"), text)
        output.console.print(line)

    def _indented(self, text: str, style: str) -> None:
        output.console.print(Padding(Text(text, style), (0, 0, 0, 10)))

    def _path(self, name: str) -> Path:
        return self._folder / name


def _running(board: Board) -> str:
    info, status = board.info(), board.status()
    confirmed = "confirmed" if status.confirmed else "not confirmed"
    return f"{info.application} {info.version} in {status.running}, {confirmed}"


def _tampered(image: bytes) -> bytes:
    """The signed image with one bit of its program changed, and checksum and SHA-256 made to fit
    again, so that only the signature can tell."""
    parser = ImageParser()
    parser.feed(image)
    end = (parser.image_bytes or 0) - 32
    changed = bytearray(image)
    changed[end // 2] ^= 1
    changed[end - 1] ^= 1  # the checksum is the XOR of all segment data
    changed[end : end + 32] = hashlib.sha256(changed[:end]).digest()
    return bytes(changed)
