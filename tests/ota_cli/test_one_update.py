"""One whole update through the command line in separate processes: the user's story."""

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from esp_image import chips, keys
from tests import world
from tests.esp_image import signing
from tests.micropython_port import SHARED
from tests.ota_cli.processes import COMMAND, done, refused, run, server
from tests.peers import needs_openssl

BLINK = SHARED / "images" / "esp_idf_blink_esp32s2.bin"
MAC = "7c:df:a1:00:00:01"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signing key, the agent's certificate and its CA."""
    folder = tmp_path_factory.mktemp("desk")
    key = signing.make_key("rsa")
    (folder / "sign.pem").write_bytes(signing.private_pem(key))
    (folder / "sign.pub").write_bytes(signing.public_pem(key))
    certificate, private = world.authority("test CA").issue()
    (folder / "agent.pem").write_bytes(certificate)
    (folder / "agent.key").write_bytes(private)
    (folder / "ca.pem").write_bytes(world.authority("test CA").ca_pem)
    return folder


def agent(desk: Path, firmware: Path, attestation: str):  # type: ignore[no-untyped-def]
    return server(
        "agent", "--firmware", firmware, "--cert", desk / "agent.pem", "--key", desk / "agent.key",
        "--dice-auth-url", attestation, "--listen", "127.0.0.1:0",
    )  # fmt: skip


@pytest.mark.skipif(not BLINK.exists(), reason=f"{BLINK} is not there")
def test_a_virtual_esp32s2_updates_to_the_real_blink(desk: Path, tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    first, signed, blink = (tmp_path / name for name in ("first.bin", "signed.bin", "blink.bin"))
    flash = tmp_path / "flash.bin"
    done("image", "build", "-o", first, "--version", "0.9.0", "--chip", "esp32s2")
    done("image", "sign", first, "--key", desk / "sign.pem", "-o", signed)
    done("image", "sign", BLINK, "--key", desk / "sign.pem", "-o", blink)
    done("image", "verify", blink, "--key", desk / "sign.pub")
    done("board", "create", flash, "--app", signed, "--chip", "esp32s2", "--mac", MAC)
    done("submit", MAC, "--registry", registry)
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as attestation,
        agent(desk, blink, attestation) as address,
        server(
            "board", "run", flash, "--http", "127.0.0.1:0", "--agent-ca", desk / "ca.pem"
        ) as url,
    ):
        before = httpx.get(f"{url}/info", trust_env=False).json()
        assert (before["version"], before["slot"]) == ("0.9.0", "ota_0")
        done("update", url, "--agent", address)
        info = httpx.get(f"{url}/info", trust_env=False).json()
        status = httpx.get(f"{url}/update", trust_env=False).json()
        again = refused("update", url, "--agent", address)
        onboard = httpx.get(f"{url}/onboard", trust_env=False).content
    assert info["device"] == "esp32s2"
    assert info["application"] == "blink"
    assert info["version"] == "qa-test-v5.0-20220830-4-g4532e6"
    assert info["slot"] == "ota_1"
    assert status["running"] == "ota_1"
    assert status["confirmed"] is True
    assert "same-image" in again
    shown = json.loads(done("board", "show", flash, "--json"))
    assert (shown["project"], shown["version"], shown["boots"]) == (
        "blink", "qa-test-v5.0-20220830-4-g4532e6", "ota_1",
    )  # fmt: skip
    slot = next(s for s in shown["slots"] if s["label"] == "ota_1")
    assert slot["state"] == "VALID"
    content = flash.read_bytes()[slot["offset"] : slot["offset"] + blink.stat().st_size]
    assert content == blink.read_bytes()
    assert onboard.startswith(b"\x30\x82")


def test_the_same_update_leaves_the_same_flash_under_both_runtimes(
    desk: Path, tmp_path: Path
) -> None:
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    done("submit", MAC, "--registry", registry)
    for version in ("1.0.0", "2.0.0"):
        plain = tmp_path / "plain.bin"
        done("image", "build", "-o", plain, "--version", version, "--size", "200000")
        done("image", "sign", plain, "--key", desk / "sign.pem", "-o", tmp_path / f"{version}.bin")
    runtimes = ("cpython", "micropython")
    with (
        server("attest", "serve", "--registry", registry, "--listen", "127.0.0.1:0") as attestation,
        agent(desk, tmp_path / "2.0.0.bin", attestation) as address,
    ):
        for runtime in runtimes:
            flash = tmp_path / runtime
            done("board", "create", flash, "--app", tmp_path / "1.0.0.bin", "--mac", MAC)
            arguments = ("--http", "127.0.0.1:0", "--agent-ca", desk / "ca.pem")
            with server("board", "run", flash, "--runtime", runtime, *arguments) as url:
                done("update", url, "--agent", address)
    one, other = ((tmp_path / runtime).read_bytes() for runtime in runtimes)
    assert one == other
    assert json.loads(done("board", "show", tmp_path / "micropython", "--json"))["boots"] == "ota_1"


def test_show_agrees_with_esptool_on_slots_cut_out_of_the_flash(desk: Path, tmp_path: Path) -> None:
    plain, signed, flash = (tmp_path / n for n in ("plain.bin", "signed.bin", "flash.bin"))
    done("image", "build", "-o", plain, "--version", "1.2.3", "--project", "thermo")
    done("image", "sign", plain, "--key", desk / "sign.pem", "-o", signed)
    done("board", "create", flash, "--app", signed)
    shown = json.loads(done("board", "show", flash, "--json"))
    slot = shown["slots"][0]
    cut = tmp_path / "cut.bin"
    cut.write_bytes(flash.read_bytes()[slot["offset"] : slot["offset"] + slot["size"]])
    code, said = signing.run("esptool", "image-info", cut)
    assert code == 0, said
    assert "(valid)" in said
    assert slot["sha256"] in said.lower()
    assert "Project name: thermo" in said
    assert "App version: 1.2.3" in said
    assert (slot["project"], slot["version"], slot["valid"]) == ("thermo", "1.2.3", True)
    code, said = signing.run(
        "espsecure", "verify-signature", "--version", "2", "--keyfile", desk / "sign.pub", signed
    )
    assert code == 0, said
    empty = shown["slots"][1]
    assert (empty["image"], empty["valid"], empty["project"]) == ("empty", False, None)


def test_a_built_image_is_valid_to_esptool_for_every_chip(tmp_path: Path) -> None:
    for chip in sorted(chips.CHIPS):
        file = tmp_path / f"{chip}.bin"
        done("image", "build", "-o", file, "--version", "1.0", "--chip", chip)
        code, said = signing.run("esptool", "image-info", file)
        assert code == 0, said
        assert said.count("(valid)") == 2, said


def test_the_demonstration_holds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    result = run("-v", "demo", env={**os.environ, "TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stdout + result.stderr
    for told in (r"OTA agent: python .*ota_cli agent ", r"ota-service board create "):
        assert re.search(rf"^[-\d]+ [:.\d]+ {told}", result.stderr, re.M), result.stderr
    for line in ("thermo 2.0.0 in ota_1, confirmed", "digest-mismatch", "key-untrusted",
                 "attestation-refused"):  # fmt: skip
        assert line in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_stamped_before_it_is_signed_and_never_after(
    desk: Path, tmp_path: Path
) -> None:
    plain, stamped, signed = (tmp_path / n for n in ("plain.bin", "stamped.bin", "signed.bin"))
    done("image", "build", "-o", plain, "--version", "0", "--chip", "esp32c3")
    done("image", "stamp", plain, "--version", "7.1", "--project", "pump", "--secure-version", "4",
         "-o", stamped)  # fmt: skip
    fields = json.loads(done("image", "info", stamped, "--json"))
    assert (fields["version"], fields["project"], fields["secure_version"]) == ("7.1", "pump", 4)
    code, said = signing.run("esptool", "image-info", stamped)
    assert code == 0
    assert said.count("(valid)") == 2
    done("image", "sign", stamped, "--key", desk / "sign.pem", "-o", signed)
    line = refused("image", "stamp", signed, "--version", "8", "--project", "pump", "-o", plain)
    assert "signed-image" in line


def test_a_full_disk_is_one_line_and_a_device_is_written_not_replaced() -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("no /dev/full here")
    assert "no space left" in refused("image", "build", "-o", full, "--version", "1")
    assert full.is_char_device()


def test_registry_commands_tell_what_they_did(tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path}/boards.sqlite"
    assert "enrolled" in done("submit", MAC, "--registry", registry)
    assert "already" in done("submit", MAC, "--registry", registry)
    listed = json.loads(done("list", "--registry", registry, "--json"))
    assert [board["id"] for board in listed] == [MAC]
    assert MAC in done("list", "--registry", registry)
    done("del", MAC, "--registry", registry)
    assert "not enrolled" in refused("del", MAC, "--registry", registry)
    assert json.loads(done("list", "--registry", registry, "--json")) == []


@needs_openssl
def test_gen_cert_writes_the_root_certificate_that_openssl_reads(tmp_path: Path) -> None:
    pem = done("gen-cert", MAC, "--pem")
    der = subprocess.run(
        ["openssl", "x509", "-outform", "DER"], input=pem.encode(), capture_output=True, check=True
    ).stdout
    assert run("gen-cert", MAC, text=False).stdout == der


BAD = {
    "a missing image": (("image", "info", "nowhere.bin"), 1, "nowhere.bin"),
    "a folder as image": (("image", "info", "."), 1, "is a directory"),
    "not an image": (("image", "info", "text"), 1, "magic"),
    "a wrong MAC": (("submit", "zz:zz", "--registry", "sqlite:///r.db"), 2, "zz:zz"),
    "a MAC too long": (("gen-cert", "24:0a:c4:00:00:00:01"), 2, "24:0a:c4"),
    "a registry of no kind": (("list", "--registry", "mysql://x"), 1, "mysql"),
    "a registry that is not there": (("list", "--registry", "sqlite:///none.db"), 1, "none.db"),
    "a board without app": (("board", "create", "f.bin", "--app", "none.bin"), 1, "none.bin"),
    "a flash file that is not there": (("board", "run", "none.bin"), 1, "none.bin"),
    "a flash file without fuses": (("board", "show", "text"), 1, "text.efuse.json"),
    "no size": (("board", "create", "f", "--app", "text", "--size", "huge"), 2, "huge"),
    "no address": (("attest", "serve", "--listen", "8000"), 2, "8000"),
    "an option that does not exist": (("image", "build", "--colour"), 2, "--colour"),
    "a command that does not exist": (("flash",), 2, "flash"),
    "a missing option": (("image", "build", "-o", "x.bin"), 2, "--version"),
    "a version too long": (("image", "build", "-o", "x.bin", "--version", "1" * 40), 2, "version"),
    "no agent settings": (("agent",), 2, "NEW_FIRMWARE_PATH"),
    "a URL that is none": (("update", "ftp://board", "--agent", "1.2.3.4"), 2, "ftp://board"),
    "no board there": (("update", "http://127.0.0.1:1", "--agent", "1.2.3.4"), 1, "127.0.0.1:1"),
    "an output folder that is not there": (
        ("image", "build", "-o", "none/x.bin", "--version", "1"), 1, "none/x.bin",
    ),
    "a key that is none": (("image", "verify", "text", "--key", "text"), 1, "text"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_mistakes_get_one_clear_line(what: str, tmp_path: Path) -> None:
    arguments, code, named = BAD[what]
    (tmp_path / "text").write_text("hello\n" * 1000)
    line = refused(*arguments, code=code, cwd=tmp_path, env=clean_environment())
    assert named in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text"]


def test_a_flash_file_is_never_overwritten(tmp_path: Path) -> None:
    app, flash = tmp_path / "app.bin", tmp_path / "flash.bin"
    done("image", "build", "-o", app, "--version", "1")
    done("board", "create", flash, "--app", app)
    before = flash.read_bytes()
    assert "exists" in refused("board", "create", flash, "--app", app)
    assert flash.read_bytes() == before


def test_two_boards_cannot_run_on_one_flash(tmp_path: Path) -> None:
    app, flash = tmp_path / "app.bin", tmp_path / "flash.bin"
    done("image", "build", "-o", app, "--version", "1")
    done("board", "create", flash, "--app", app)
    with server("board", "run", flash, "--http", "127.0.0.1:0"):
        assert "runs on it already" in refused("board", "run", flash, "--http", "127.0.0.1:0")
        shown = json.loads(done("board", "show", flash, "--json"))
    assert shown["boots"] == "ota_0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demonstration_that_is_ended_early_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [COMMAND, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    for line in process.stdout:
        if "OTA agent" in line:
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_servers_name_the_port_that_is_in_use(desk: Path, tmp_path: Path) -> None:
    app, flash = signed_app(tmp_path), tmp_path / "flash.bin"
    done("board", "create", flash, "--app", app)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for arguments in (
            ("attest", "serve", "--registry", f"sqlite:///{tmp_path}/r.db", "--listen", address),
            ("agent", "--firmware", app, "--cert", desk / "agent.pem", "--key", desk / "agent.key",
             "--dice-auth-url", "http://127.0.0.1:1", "--listen", address),
            ("board", "run", flash, "--http", address),
        ):  # fmt: skip
            result = run(*arguments)
            assert result.returncode == 1
            assert "Traceback" not in result.stderr
            assert address in result.stderr.splitlines()[-1]


def test_an_agent_with_an_unreadable_certificate_says_so(desk: Path, tmp_path: Path) -> None:
    app = signed_app(tmp_path)
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
    line = refused(
        "agent", "--firmware", app, "--cert", rubbish, "--key", desk / "agent.key",
        "--dice-auth-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0",
    )  # fmt: skip
    assert "rubbish.pem" in line
    line = refused("board", "run", rubbish, "--agent-ca", rubbish)
    assert "rubbish.pem" in line


def test_the_agent_reads_the_originals_environment(desk: Path, tmp_path: Path) -> None:
    app = signed_app(tmp_path)
    env = {
        **os.environ,
        "NEW_FIRMWARE_PATH": str(app),
        "SERVER_CRT_PATH": str(desk / "agent.pem"),
        "SERVER_KEY_PATH": str(desk / "agent.key"),
        "DICE_AUTH_URL": "http://127.0.0.1:1",
    }
    with server("agent", "--listen", "127.0.0.1:0", env=env) as address:
        assert address.startswith("127.0.0.1:")


def test_unsigned_firmware_is_served_only_where_that_is_allowed(desk: Path, tmp_path: Path) -> None:
    app = tmp_path / "app.bin"
    done("image", "build", "-o", app, "--version", "1")
    arguments = (
        "agent", "--firmware", app, "--cert", desk / "agent.pem", "--key", desk / "agent.key",
        "--dice-auth-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0",
    )  # fmt: skip
    line = refused(*arguments)
    assert "unsigned" in line
    assert "--allow-unsigned" in line
    with server(*arguments, "--allow-unsigned") as address:
        assert address.startswith("127.0.0.1:")


def test_the_agent_serves_only_firmware_by_a_key_it_was_told(desk: Path, tmp_path: Path) -> None:
    app, signed = tmp_path / "app.bin", tmp_path / "signed.bin"
    done("image", "build", "-o", app, "--version", "1")
    done("image", "sign", app, "--key", desk / "sign.pem", "-o", signed)
    arguments = (
        "agent", "--firmware", signed, "--cert", desk / "agent.pem", "--key", desk / "agent.key",
        "--dice-auth-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0",
    )  # fmt: skip
    for trusted in (desk / "sign.pub", keys.key_digest_of_public_key(
        (desk / "sign.pub").read_bytes()).hex()):  # fmt: skip
        with server(*arguments, "--trust", "ab" * 32, "--trust", trusted) as address:
            assert address.startswith("127.0.0.1:")
    assert "key-untrusted" in refused(*arguments, "--trust", "ab" * 32)
    assert "no such file" in refused(*arguments, "--trust", tmp_path / "none.pub")


def signed_app(folder: Path) -> Path:
    path = folder / "app.bin"
    path.write_bytes(world.app("1.0.0", chip="esp32"))
    return path


def clean_environment() -> dict[str, str]:
    """The environment without the originals' variables."""
    variables = ("NEW_FIRMWARE_PATH", "SERVER_CRT_PATH", "SERVER_KEY_PATH", "DICE_AUTH_URL")
    return {name: value for name, value in os.environ.items() if name not in variables}
