"""`ota-service provision ID`: a secret in one file and nowhere else, its root enrolled."""

import asyncio
import hashlib
import os
import resource
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

import dice
from dice import certificate
from dice_auth.registry_url import open_registry
from dice_auth.verdict_queue import VerdictQueue
from ota_cli import board_secret, command_line
from ota_cli.new_folder import NewFolder
from tests import world
from tests.dice_auth.boards import board
from tests.dice_auth.conftest import redis_peer, redis_process, registry_url, sqlite_url
from tests.dice_auth.redis_peer import RedisPeer
from tests.micropython.test_virtual_nvs import NorPartition
from tests.ota_cli.processes import done, refused, run, server
from tests.ota_cli.provisioned import enrolled, holders, images, redis_content, shows, uds_of
from tests.virtual_esp32.test_nvs_images import generate
from virtual_esp32.flash import MemoryStorage, NorFlash
from virtual_esp32.nvs import NVS
from virtual_esp32.nvs_storage import NvsStorage

__all__ = ["redis_peer", "redis_process", "registry_url", "sqlite_url"]

MAC = "24:0a:c4:00:00:01"
STEM = "24-0a-c4-00-00-01"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOWHERE = "redis://127.0.0.1:1"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_board_gets_an_image_a_root_and_an_entry(registry_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    more = ("--application", "thermo", "--label", "site=lab")
    output = done("provision", MAC, "-o", folder, "--registry", registry_url, *more)
    assert names(folder) == [f"{STEM}-nvs.bin", f"{STEM}-root.pem"]
    root = certificate.from_pem((folder / f"{STEM}-root.pem").read_bytes())
    assert root == dice.root_certificate(uds_of(folder / f"{STEM}-nvs.bin"))
    record = enrolled(registry_url)[MAC]
    assert (record.root, record.state) == (root, "active")
    assert (record.application, record.labels) == ("thermo", {"site": "lab"})
    assert hashlib.sha256(root).hexdigest() in output
    assert record.key_id.hex() in output
    assert f"esptool write-flash 0x9000 {folder}/{STEM}-nvs.bin" in output


def test_the_registry_accepts_what_the_board_will_show(registry_url: str, tmp_path: Path) -> None:
    done("provision", "door", "-o", tmp_path, "--registry", registry_url)
    uds = uds_of(tmp_path / "door-nvs.bin")

    async def ask(der: bytes) -> tuple[str | None, tuple[str, ...]]:
        async with open_registry(registry_url) as registry:
            verdict = await VerdictQueue(registry).verify(certificate.to_pem(der).encode(), NOW)
            return verdict.board_id, verdict.failed

    genuine = dice.device_certificate(uds, b"\1" * 64, bytes(64))
    assert asyncio.run(ask(genuine)) == ("door", ())
    assert asyncio.run(ask(board(1).certificate)) == (None, ("not-enrolled",))


def test_the_image_is_that_of_espressifs_generator(tmp_path: Path) -> None:
    for number, size in enumerate((0x3000, 0x4000, 0x6000)):
        folder = tmp_path / str(number)
        done("provision", "x", "-o", folder, "--no-enrol", "--size", hex(size))
        uds = uds_of(folder / "x-nvs.bin").hex()
        csv = f"dice,namespace,,\nuds,data,hex2bin,{uds}\n"
        csv += "ota,namespace,,\nprovisioned,data,i32,1\n"
        assert (folder / "x-nvs.bin").read_bytes() == generate(tmp_path, csv, size=size)


def test_the_boards_nvs_reads_the_image_and_writes_on_in_it(tmp_path: Path) -> None:
    done("provision", "x", "-o", tmp_path, "--no-enrol")
    image = (tmp_path / "x-nvs.bin").read_bytes()
    storage = NvsStorage(NorPartition(NorFlash(MemoryStorage(image))))
    buffer = bytearray(32)
    assert NVS(storage, "dice").get_blob("uds", buffer) == 32
    assert buffer == uds_of(tmp_path / "x-nvs.bin")
    assert NVS(storage, "ota").get_i32("provisioned") == 1
    NVS(storage, "ota").set_i32("floor", 3)
    assert NVS(storage, "ota").get_i32("floor") == 3


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_others_can_read_the_root_and_never_the_image(umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    done("provision", "x", "-o", folder, "--no-enrol", preexec_fn=lambda: os.umask(umask))
    assert mode(folder / "x-nvs.bin") == 0o600
    assert mode(folder) == mode(tmp_path / "new") == 0o700
    assert mode(folder / "x-root.pem") == 0o644 & ~umask


def test_two_boards_never_share_a_secret(tmp_path: Path) -> None:
    for number in range(4):
        done("provision", f"x{number}", "-o", tmp_path, "--no-enrol")
    assert len({uds_of(image) for image in images(tmp_path)}) == 4


# -- the secret is nowhere else -------------------------------------------------------------------


def test_the_secret_is_in_the_image_and_nowhere_else(
    registry_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    result = run(
        "provision", MAC, "-o", tmp_path / "out", "--registry", registry_url,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONDEVMODE": "1"}, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    image = tmp_path / "out" / f"{STEM}-nvs.bin"
    uds = uds_of(image)
    assert not shows(uds, result.stdout + result.stderr)
    assert holders(uds, tmp_path) == [image]
    assert names(temporary) == []
    if registry_url.startswith("redis"):
        peer: RedisPeer = request.getfixturevalue("redis_peer")
        content = redis_content(peer)
        assert certificate.to_pem(enrolled(registry_url)[MAC].root).encode() in content
        assert not shows(uds, content)


@pytest.fixture
def known_uds(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What the next board's secret will be."""
    uds = hashlib.sha256(b"known").digest()
    monkeypatch.setattr(board_secret.secrets, "token_bytes", lambda size: uds)
    return uds


def broken(*arguments: object, **options: object) -> None:
    raise OSError(5, "Input/output error")


def interrupted(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def bug(*arguments: object, **options: object) -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("fault", [broken, interrupted, bug])
@pytest.mark.parametrize("where", ["os.link", "os.fsync", "os.fdopen", "os.fchmod"])
def test_what_fails_leaves_no_secret_and_shows_none(
    where: str,
    fault: Callable[..., None],
    known_uds: bytes,
    sqlite_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "new" / "out"
    with monkeypatch.context() as patched:
        patched.setattr(f"ota_cli.new_folder.{where}", fault)
        code = command_line.run(["provision", MAC, "-o", str(folder), "--registry", sqlite_url])
    output = "".join(capfd.readouterr())
    if fault is broken:
        assert "input/output error" in output
    assert code in (1, 130)
    assert not shows(known_uds, output)
    assert holders(known_uds, tmp_path) == []
    assert not folder.parent.exists()
    assert enrolled(sqlite_url) == {}


def test_buffers_that_held_the_secret_are_overwritten(
    known_uds: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bytearray] = []
    nvs_image, write = board_secret.nvs_image, NewFolder.write

    def keep_uds(size: int, uds: bytearray) -> bytearray:
        held.append(uds)
        return nvs_image(size, uds)

    def keep_image(self: NewFolder, name: str, content: Any, **options: Any) -> None:
        if options.get("secret"):
            held.append(content)
        write(self, name, content, **options)

    monkeypatch.setattr(board_secret, "nvs_image", keep_uds)
    monkeypatch.setattr(NewFolder, "write", keep_image)
    assert command_line.run(["provision", "x", "-o", str(tmp_path), "--no-enrol"]) == 0
    assert uds_of(tmp_path / "x-nvs.bin") == known_uds
    assert [len(buffer) for buffer in held] == [32, 0x4000]
    assert not any(any(buffer) for buffer in held)


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f"{STEM}-nvs.bin", f"{STEM}-root.pem"])
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_nothing_is_overwritten(name: str, kind: str, sqlite_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    if kind == "file":
        (folder / name).write_text("precious")
    else:
        (folder / name).symlink_to("elsewhere")
    line = refused("provision", MAC, "-o", folder, "--registry", sqlite_url)
    assert f"{folder / name} is there already" in line
    assert names(folder) == [name]
    assert kind != "file" or (folder / name).read_text() == "precious"
    assert enrolled(sqlite_url) == {}


def test_what_the_registry_refuses_leaves_no_files(registry_url: str, tmp_path: Path) -> None:
    done("provision", "door", "-o", tmp_path / "a", "--registry", registry_url)
    before = enrolled(registry_url)
    line = refused("provision", "door", "-o", tmp_path / "b", "--registry", registry_url)
    assert "door is already enrolled" in line and "no file kept" in line
    assert names(tmp_path / "b") == []
    assert enrolled(registry_url) == before


def test_the_replacement_of_a_stolen_board_has_its_id_and_a_secret_of_its_own(
    registry_url: str, tmp_path: Path
) -> None:
    where = ("--registry", registry_url)
    done("provision", "door", "-o", tmp_path / "a", *where)
    done("revoke", "door", "--reason", "stolen", *where)
    done("provision", "door", "-o", tmp_path / "b", "--no-enrol")
    done("submit", "door", "--root", tmp_path / "b" / "door-root.pem", "--replace", *where)
    record = enrolled(registry_url)["door"]
    assert record.state == "active"
    assert record.root == dice.root_certificate(uds_of(tmp_path / "b" / "door-nvs.bin"))
    done("del", "door", *where)
    line = refused("submit", "door", "--root", tmp_path / "a" / "door-root.pem", *where)
    assert "revoked" in line


def test_without_a_registry_nothing_is_made(tmp_path: Path) -> None:
    line = refused("provision", MAC, "-o", tmp_path / "out", "--registry", NOWHERE)
    assert "Redis at 127.0.0.1:1" in line
    line = refused("provision", MAC, "-o", tmp_path / "out", "--registry", "ftp://x", code=1)
    assert "ftp" in line
    assert names(tmp_path) == []


def test_a_registry_that_fails_halfway_leaves_files_that_can_still_be_enrolled(
    redis_peer: RedisPeer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    move_files = NewFolder.move_files

    def move_and_fill_the_registry(self: NewFolder, folder: Path) -> None:
        move_files(self, folder)
        redis_peer.run("CONFIG", "SET", "maxmemory", "1")

    monkeypatch.setattr(NewFolder, "move_files", move_and_fill_the_registry)
    arguments = ["provision", "door", "-o", str(tmp_path), "--registry", redis_peer.url]
    try:
        assert command_line.run(arguments) == 1
    finally:
        redis_peer.run("CONFIG", "SET", "maxmemory", "0")
    out, error = capsys.readouterr()
    assert out == ""
    assert f"is not known, so {tmp_path / 'door-nvs.bin'} is kept" in error
    again = f"ota-service submit door --root {tmp_path / 'door-root.pem'}"
    assert error.endswith(f"enrol it: {again}\n")
    assert names(tmp_path) == ["door-nvs.bin", "door-root.pem"]
    done(*again.split()[1:], "--registry", redis_peer.url)
    root = dice.root_certificate(uds_of(tmp_path / "door-nvs.bin"))
    assert enrolled(redis_peer.url)["door"].root == root


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        line = refused("provision", MAC, "-o", folder, "--registry", sqlite_url)
        assert "not a directory" in line
    assert enrolled(sqlite_url) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    line = refused("provision", MAC, "-o", tmp_path / "shut", "--registry", sqlite_url)
    assert "permission denied" in line
    assert names(tmp_path / "shut") == []
    assert enrolled(sqlite_url) == {}


def test_a_file_system_that_is_full_is_one_line_and_leaves_nothing(
    tmp_path: Path, sqlite_url: str
) -> None:
    limit = 128 * 1024

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    folder = tmp_path / "out"
    size = ("--size", hex(2 * limit))
    where = ("-o", folder, "--registry", sqlite_url)
    line = refused("provision", MAC, *where, *size, preexec_fn=small_files)
    assert f"{STEM}-nvs.bin: file too large" in line
    assert not folder.exists()
    assert enrolled(sqlite_url) == {}


def test_a_file_system_that_cannot_keep_a_secret_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As FAT: what fchmod asks for is not kept, and says nothing.
    monkeypatch.setattr("ota_cli.new_folder._SECRET_MODE", 0o644)
    assert command_line.run(["provision", "x", "-o", str(tmp_path / "out"), "--no-enrol"]) == 1
    assert "cannot keep a file from other users" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_what_a_killed_run_left_is_named_and_not_touched(tmp_path: Path) -> None:
    left = tmp_path / f"{STEM}.partial"
    left.mkdir()
    line = refused("provision", MAC, "-o", tmp_path, "--no-enrol")
    assert str(left) in line and "remove it" in line
    assert names(tmp_path) == [left.name]
    left.rmdir()
    done("provision", MAC, "-o", tmp_path, "--no-enrol")


@pytest.mark.parametrize(
    "board_id",
    ["../x", "/", "/etc/x", "..", ".", ".hidden", "a/../../b", "\\..\\x", "C:x", "-o", "~", "ü",
     "板", "a b", "x" * 128, "..%2f", "$(id)", "CON", "é́", "x.partial"],
)  # fmt: skip
def test_no_id_leads_out_of_the_folder(
    board_id: str, tmp_path: Path, sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deep" / "out"
    arguments = ["provision", "-o", str(folder), "--registry", sqlite_url, "--", board_id]
    assert command_line.run(arguments) == 0, capsys.readouterr().err
    made = names(folder)
    assert len(made) == 2
    for name in made:
        assert name.isascii() and name[0] not in ".-"
        assert all(c.isalnum() or c in "._-" for c in name), name
    assert names(tmp_path) == ["deep", "registry.db"]
    assert names(tmp_path / "deep") == ["out"]
    assert list(enrolled(sqlite_url)) == [board_id]


@pytest.mark.parametrize(
    "board_id", ["", "a\0b", "a\nb", "x" * 129, "\x1b[31m", "\udcff", "\u202e"]
)
def test_what_cannot_be_an_id_is_one_line(
    board_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["provision", board_id, "-o", str(tmp_path / "out"), "--no-enrol"]
    assert command_line.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.isprintable() or error.rstrip("\n").isprintable()
    assert names(tmp_path) == []


def test_ids_that_look_alike_in_a_file_name_have_names_of_their_own(tmp_path: Path) -> None:
    for board_id in ("a/b", "a b", "a-b", "a:b", "板", "本"):
        done("provision", board_id, "-o", tmp_path, "--no-enrol")
    assert len(images(tmp_path)) == 6


@pytest.mark.parametrize(
    "arguments",
    [
        ["provision", "x"], ["provision", "-o", "out"],
        ["provision", "x", "-o", "out", "--size", "0x1000"],
        ["provision", "x", "-o", "out", "--size", "0x4001"],
        ["provision", "x", "-o", "out", "--size", "many"],
        ["provision", "x", "-o", "out", "--size", "0x100000000"],
        ["provision", "x", "-o", "out", "--offset", "0x9001"],
        ["provision", "x", "-o", "out", "--offset", "0"],
        ["provision", "x", "-o", "out", "--label", "a"],
        ["provision", "x", "-o", "out", "--application", "a\nb"],
        ["provision", "x", "-o", "out", "--csv", "b.csv"],
        ["provision", "-o", "out", "--csv", "b.csv", "--label", "a=1"],
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert command_line.run(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert names(tmp_path) == []


# -- a virtual board ------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.bin"
    path.write_bytes(world.app("1.0.0"))
    return path


def test_a_virtual_board_made_with_the_image_is_the_enrolled_one(
    app: Path, tmp_path: Path, sqlite_url: str
) -> None:
    done("provision", "desk", "-o", tmp_path, "--registry", sqlite_url)
    flash, config = tmp_path / "flash.bin", tmp_path / "board.json"
    config.write_text('{"identity": "provisioned"}')
    made = ("--app", app, "--chip", world.CHIP, "--nvs", tmp_path / "desk-nvs.bin")
    done("board", "create", flash, *made)
    assert mode(flash) == 0o600
    assert mode(Path(f"{flash}.efuse.json")) != 0o600
    with (
        server("attest", "serve", "--listen", "127.0.0.1:0", "--registry", sqlite_url) as attest,
        server("board", "run", flash, "--config", config, "--http", "127.0.0.1:0") as url,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):
        shown = client.get(f"{url}/onboard", headers={"Accept": "application/x-pem-file"})
        assert client.post(attest, content=shown.content).status_code == 200
    uds = uds_of(tmp_path / "desk-nvs.bin")
    assert set(holders(uds, tmp_path)) == {tmp_path / "desk-nvs.bin", flash}


def test_what_is_no_nvs_image_makes_no_board(app: Path, tmp_path: Path) -> None:
    done("provision", "x", "-o", tmp_path, "--no-enrol", "--size", "0x6000")
    empty, odd, table = (tmp_path / name for name in ("empty", "odd", "table.csv"))
    empty.write_bytes(b"\xff" * 0x4000)
    odd.write_bytes(b"x" * 1000)
    flash = tmp_path / "flash.bin"
    made = ("board", "create", flash, "--app", app, "--chip", world.CHIP)
    assert "partition nvs has 16384" in refused(*made, "--nvs", tmp_path / "x-nvs.bin")
    assert "no NVS partition with values" in refused(*made, "--nvs", empty)
    assert "no NVS partition with values" in refused(*made, "--nvs", odd)
    assert "no such file" in refused(*made, "--nvs", tmp_path / "none")
    table.write_text("otadata,data,ota,0xd000,0x2000\nota_0,app,ota_0,0x10000,0x80000\n"
                     "ota_1,app,ota_1,,0x80000\n")  # fmt: skip
    line = refused(*made, "--partitions", table, "--nvs", tmp_path / "x-nvs.bin")
    assert "no nvs partition" in line
    assert not flash.exists()
