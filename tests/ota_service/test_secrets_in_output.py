"""Nothing that any part prints, logs or answers during a whole update holds a secret."""

import base64
import json
import subprocess
from pathlib import Path

import httpx
import pytest

import dice
from dice import certificate as dice_certificate
from dice import keys
from dice.flow import derive_cdis
from dice.input_values import MODE_NORMAL, InputValues
from ota_crypto import p256
from tests import world
from tests.esp_image import signing
from tests.ota_cli.processes import COMMAND, done

MAC = "24:0a:c4:00:00:01"
TRIGGER_KEY = bytes(range(200, 232))


def secrets(uds: bytes | None = None, inputs: InputValues | None = None) -> dict[str, bytes]:
    """Everything secret about a board and its keys, as raw bytes."""
    uds = uds or dice.uds_from_mac(bytes.fromhex(MAC.replace(":", "")))
    attest, seal = derive_cdis(uds, uds, inputs or InputValues(mode=MODE_NORMAL))
    return {
        "UDS": uds,
        "attestation CDI": attest,
        "sealing CDI": seal,
        "UDS's private key": keys.private_key_from_cdi(uds).to_bytes(32, "big"),
        "CDI's private key": keys.private_key_from_cdi(attest).to_bytes(32, "big"),
        "trigger key": TRIGGER_KEY,
    }


def forms(secret: bytes) -> list[bytes]:
    """As it could be printed: raw, hex, base64 at any alignment, an integer, Python's repr."""
    found = [secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret).encode()]
    found.append(str(int.from_bytes(secret, "big")).encode())
    for skipped in range(3):
        aligned = base64.b64encode(secret[skipped:])
        found.append(aligned[: len(aligned) // 4 * 4 - 4])
    return found


def find(output: bytes, wanted: dict[str, bytes] | None = None) -> list[str]:
    return [
        name
        for name, secret in (wanted or secrets()).items()
        if any(form in output for form in forms(secret))
    ]


@pytest.mark.parametrize("form", range(8))
def test_the_search_finds_what_it_looks_for(form: int) -> None:
    for name, secret in secrets().items():
        assert name in find(b"log: " + forms(secret)[form] + b"\n")


class Parts:
    """Processes whose whole output is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.output = b""

    def start(self, *arguments: object) -> str:
        """Start `ota-service` with these; the address it says it listens at."""
        log = self._folder / f"{len(self._processes)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=file
            )
        self._processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        self.output += line
        return line.decode().split()[-1]

    def end(self) -> None:
        for number, process in reversed(list(enumerate(self._processes))):
            process.terminate()
            rest, _ = process.communicate(timeout=20)
            self.output += rest + (self._folder / f"{number}.log").read_bytes()


def make_files(folder: Path, **settings: str) -> None:
    """Firmware, the agent's certificate, the board's settings."""
    key = signing.make_key("p256")
    for version in ("1.0.0", "2.0.0"):
        plain = world.app(version, None, chip="esp32c6")
        (folder / f"{version}.bin").write_bytes(signing.sign(plain, key))
    certificate, private = world.authority("test CA").issue()
    (folder / "agent.pem").write_bytes(certificate)
    (folder / "agent.key").write_bytes(private)
    (folder / "ca.der").write_bytes(world.authority("test CA").ca)
    (folder / "trigger.key").write_text(TRIGGER_KEY.hex())
    (folder / "board.json").write_text(
        json.dumps({"agent_ca": "ca.der", "trigger_key": TRIGGER_KEY.hex(), **settings})
    )


def update(folder: Path, registry: str, runtime: str) -> tuple[bytes, bytes]:
    """A whole update of flash.bin: all that was printed, logged and answered; the certificate."""
    parts = Parts(folder)
    try:
        attestation = parts.start(
            "attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0"
        )
        agent = parts.start(
            "agent", "--firmware", folder / "2.0.0.bin", "--cert", folder / "agent.pem",
            "--key", folder / "agent.key", "--dice-auth-url", attestation,
            "--listen", "127.0.0.1:0",
        )  # fmt: skip
        board = parts.start(
            "board", "run", folder / "flash.bin", "--http", "127.0.0.1:0",
            "--config", folder / "board.json", "--runtime", runtime,
        )  # fmt: skip
        onboard = httpx.get(f"{board}/onboard", trust_env=False, timeout=30).content
        said = done("update", board, "--agent", agent, "--trigger-key", folder / "trigger.key")
        answers = b"".join(
            httpx.get(f"{board}/{path}", trust_env=False, timeout=30).content
            for path in ("info", "update", "onboard", "onboard?root=1", "temp")
        )
        refused = httpx.post(f"{board}/update", content="ip: 127.0.0.1", trust_env=False)
        assert refused.status_code == 401
        answers += refused.content
    finally:
        parts.end()
    output = parts.output + said.encode() + answers + onboard
    assert b"confirmed" in output
    assert b"attesting" in output
    return output, onboard


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_a_whole_update_prints_no_secret(runtime: str, tmp_path: Path) -> None:
    make_files(tmp_path)
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    said = done("board", "create", tmp_path / "flash.bin", "--app", tmp_path / "1.0.0.bin",
                "--chip", "esp32c6", "--mac", MAC)  # fmt: skip
    said += done("submit", MAC, "--registry", registry)
    said += done("gen-cert", MAC, "--pem")
    output, _ = update(tmp_path, registry, runtime)
    assert find(output + said.encode()) == []


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_a_whole_update_of_a_provisioned_board_prints_no_secret(
    runtime: str, tmp_path: Path
) -> None:
    make_files(tmp_path, identity="provisioned")
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    said = done("provision", "door", "-o", tmp_path / "made", "--registry", registry)
    nvs = tmp_path / "made" / "door-nvs.bin"
    said += done("board", "create", tmp_path / "flash.bin", "--app", tmp_path / "1.0.0.bin",
                 "--chip", "esp32c6", "--nvs", nvs)  # fmt: skip
    output, onboard = update(tmp_path, registry, runtime)
    assert b"evidence of" in output
    from tests.ota_cli.provisioned import uds_of  # which imports `forms` from here

    uds = uds_of(nvs)
    assert find(nvs.read_bytes(), {"UDS": uds}) == ["UDS"]
    measured = dice_certificate.parse(onboard).dice
    assert measured is not None
    wanted = secrets(
        uds,
        InputValues(measured.code_hash, measured.configuration_value, mode=MODE_NORMAL),
    )
    own = keys.private_key_from_cdi(wanted["attestation CDI"])
    assert p256.public_key(own) == dice_certificate.parse(onboard).public_key
    registry_content = (tmp_path / "boards.sqlite").read_bytes()
    assert find(output + said.encode() + registry_content, wanted) == []


@pytest.mark.parametrize("what", ["OtaService", "Config", "Gate"])
def test_no_object_shows_its_key(what: str) -> None:
    from ota_service import OtaService
    from ota_service.config import Config

    settings = {"trigger_key": TRIGGER_KEY}
    service = OtaService(world.board(world.app("1.0.0")), settings)
    shown = {"OtaService": service, "Config": Config(settings), "Gate": service.gate}[what]
    assert find(f"{shown!r} {shown} {service.status()}".encode()) == []
