"""A folder of firmware: each board gets what is for it, whatever happens to the files."""

import asyncio
import errno
import gc
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from esp_image.keys import key_digest_of_public_key
from ota_agent import file_stamp, server, shelf
from ota_agent.default_firmware import parse_default
from ota_agent.errors import FirmwareError, SettingsError
from ota_agent.firmware import Trust
from ota_agent.shelf import Shelf
from tests.esp_image import signing
from tests.ota_agent.attested_scene import AttestedScene, ScriptedServer, attested_scene, verdict
from tests.ota_agent.board_peer import BoardPeer
from tests.ota_agent.images import app, application_image, key
from tests.ota_agent.test_reload import copies_in_memory, replace, rewrite

THERMO, LAMP = app("2.0.0", "thermo"), app("1.0.0", "lamp", "esp32s3")
OLDER, NEWER, ANOTHER = app("1.0.0"), app("3.0.0"), app("2.0.0", size=9000)
LONG = app("2.0.0", size=6_000_000)
DEFAULT = parse_default("thermo")


def folder_of(path: Path, **files: bytes) -> Path:
    """NAME.bin of each."""
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / f"{name}.bin").write_bytes(content)
    return path


@asynccontextmanager
async def folder_scene(
    tmp_path: Path, folder: Path, **changes: Any
) -> AsyncIterator[AttestedScene]:
    async with attested_scene(tmp_path, ScriptedServer(), firmware=folder, **changes) as here:
        yield here


async def served(here: AttestedScene, **claims: object) -> bytes | int:
    """What a board with these claims gets: the firmware, else the status."""
    here.server.attest = verdict(**{"version": "0.1.0", **claims})
    found = await here.talk(lambda board: board.firmware(board.token()))
    await here.agent.next_session()
    return found.body if found.status == 200 else int(found.status)


async def event(here: AttestedScene, name: str) -> dict[str, Any]:
    """The next of this name."""
    while True:
        line = await here.agent.next_event()
        if line["event"] == name:
            return line


def news(folder: Path, trust: Trust | None = None) -> tuple[Shelf, shelf.News]:
    made = Shelf(folder, trust or Trust())
    return made, made.look()


def names(made: Shelf) -> list[str]:
    return [each.name for each in made.served.values()]


@pytest.fixture(autouse=True)
def _nothing_is_too_fresh_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_QUIET_S", 0.0)


# What boards get


def test_each_board_gets_the_firmware_for_its_chip_and_application(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=LAMP, c=OLDER)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            assert await served(here) == THERMO
            assert await served(here, hwmodel="ESP32-S3", application="lamp") == LAMP
            assert await served(here, hwmodel="esp32s3", application="thermo") == 404
            assert await served(here, hwmodel="esp32c3") == 404
            assert await served(here, application="lamp") == 404
            # Newer than all: what is served is the operator's to say, what is taken the board's.
            assert await served(here, version="9.9.9") == THERMO
            assert await served(here, version="2.0.0") == 204

    asyncio.run(run())


def test_a_board_without_an_application_gets_what_alone_is_for_its_chip(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=LAMP)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            assert await served(here, application="", version="") == THERMO
            folder_of(folder, c=app("1.0.0", "lamp"))
            assert await served(here, application="", version="") == 404
            assert await served(here, application="", hwmodel="esp32s3") == LAMP

    asyncio.run(run())


def test_protocol_1_gets_the_default_and_without_one_not_a_byte(
    tmp_path: Path, board_certificate: bytes
) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=LAMP)

    async def run() -> None:
        async with folder_scene(tmp_path, folder, default_firmware=DEFAULT) as here:
            assert await here.update(board_certificate) == THERMO
            assert (await here.agent.next_session())["outcome"] == "sent"
        async with folder_scene(tmp_path, folder) as here:
            for _ in range(2):
                assert await here.update(board_certificate) == b""
                line = await here.agent.next_session()
                assert (line["outcome"], line["bytes"], line["firmware"]) == (
                    "no-firmware", 0, None,
                )  # fmt: skip
                assert "--default-firmware" in line["reason"]
            assert await served(here) == THERMO

    asyncio.run(run())


def test_a_default_that_is_not_there_yet_is_served_as_soon_as_it_is(
    tmp_path: Path, board_certificate: bytes
) -> None:
    folder = folder_of(tmp_path / "fleet", b=LAMP)

    async def run() -> None:
        async with folder_scene(tmp_path, folder, default_firmware=DEFAULT) as here:
            assert await here.update(board_certificate) == b""
            assert "no default firmware thermo" in (await here.agent.next_session())["reason"]
            folder_of(folder, a=THERMO)
            assert await here.update(board_certificate) == THERMO
            # A second chip, and nothing tells which is meant.
            folder_of(folder, c=app("2.0.0", "thermo", "esp32s3"))
            assert await here.update(board_certificate) == b""
            line = await event(here, "no-default-firmware")
            assert "thermo@CHIP" in line["reason"]
            assert "no-default-firmware" not in here.agent.events_so_far()

    asyncio.run(run())


def test_an_empty_folder_serves_nobody_until_something_is_there(
    tmp_path: Path, board_certificate: bytes
) -> None:
    folder = folder_of(tmp_path / "fleet")

    async def run() -> None:
        async with folder_scene(tmp_path, folder, default_firmware=DEFAULT) as here:
            assert await served(here) == 404
            assert await here.update(board_certificate) == b""
            await here.agent.next_session()
            folder_of(folder, a=THERMO)
            assert await served(here) == THERMO
            assert await here.update(board_certificate) == THERMO

    asyncio.run(run())


# Changes


def test_the_very_next_board_gets_what_was_put_there_and_one_under_way_the_old(
    tmp_path: Path, board_certificate: bytes
) -> None:
    folder = folder_of(tmp_path / "fleet", a=LONG)

    async def run() -> None:
        async with folder_scene(tmp_path, folder, default_firmware=DEFAULT) as here:
            began, go_on = asyncio.Event(), asyncio.Event()
            loop = asyncio.get_running_loop()

            def work(board: BoardPeer) -> bytes:
                board.socket.sendall(board_certificate)
                first = board.socket.recv(1)
                loop.call_soon_threadsafe(began.set)
                asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(15)
                return first + board.read_all()

            slow = asyncio.create_task(here.board(work))
            await began.wait()
            folder_of(folder, b=NEWER)
            assert await here.update(board_certificate) == NEWER
            (folder / "a.bin").unlink()
            (folder / "b.bin").unlink()
            folder_of(folder, c=OLDER)
            assert await here.update(board_certificate) == OLDER
            (folder / "c.bin").unlink()
            assert await here.update(board_certificate) == b""
            go_on.set()
            assert await slow == LONG

    asyncio.run(run())


def test_an_update_that_is_resumed_after_a_change_begins_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            first = await here.talk(lambda board: board.firmware(board.token(), "Range: bytes=0-9"))
            assert first.body == THERMO[:10]
            folder_of(folder, b=NEWER)
            again = await here.talk(
                lambda board: board.firmware(
                    board.token(), "Range: bytes=10-", f"If-Range: {first.headers['etag']}"
                )
            )
            assert (again.status, again.body) == (200, NEWER)

    asyncio.run(run())


def test_what_is_removed_gives_way_to_the_version_below(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fleet", a=OLDER, b=THERMO, c=NEWER)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            for name, expected in (("c", NEWER), ("b", THERMO), ("a", OLDER)):
                assert await served(here) == expected
                (folder / f"{name}.bin").unlink()
            assert await served(here) == 404
            assert (await event(here, "firmware-withdrawn"))["version"] == "1.0.0"

    asyncio.run(run())


@pytest.mark.parametrize("change", [replace, rewrite])
@pytest.mark.parametrize(
    "junk", [b"", b"junk", THERMO[:-1], application_image(), app("", "thermo")]
)
def test_a_file_that_goes_bad_is_told_once_and_its_copy_is_served_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, junk: bytes, change: Callable[..., None]
) -> None:
    monkeypatch.setattr(server, "_REFRESH_S", 0.02)
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=OLDER)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            change(folder / "a.bin", junk)
            line = await event(here, "firmware-not-loaded")
            assert line["still"] == "thermo 2.0.0 esp32"
            assert "a.bin" in line["reason"]
            for _ in range(3):
                assert await served(here) == THERMO
            assert "firmware-not-loaded" not in here.agent.events_so_far()
            # Something newer takes its place, and it is gone for good.
            folder_of(folder, c=NEWER)
            assert await served(here) == NEWER
            (folder / "c.bin").unlink()
            assert await served(here) == OLDER
            replace(folder / "a.bin", THERMO)
            assert await served(here) == THERMO

    asyncio.run(run())


def test_a_file_that_is_overwritten_in_place_is_noticed_within_a_second(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            assert await served(here) == THERMO
            begun = time.monotonic()
            rewrite(folder / "a.bin", NEWER)
            assert (await event(here, "firmware-loaded"))["version"] == "3.0.0"
            assert time.monotonic() - begun < 2
            assert await served(here) == NEWER

    asyncio.run(run())


def test_a_file_that_is_being_written_disturbs_nobody_and_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_REFRESH_S", 0.02)
    monkeypatch.setattr(shelf, "_QUIET_S", 0.5)
    folder = folder_of(tmp_path / "fleet", a=THERMO)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            with (folder / "b.bin").open("wb") as file:
                for at in range(0, len(NEWER), 1000):
                    file.write(NEWER[at : at + 1000])
                    file.flush()
                    if at + 1000 < len(NEWER):
                        assert await served(here) == THERMO
            assert (await here.agent.next_event())["event"] == "firmware-loaded"
            assert await served(here) == NEWER
            assert here.agent.events_so_far() == []
            # One that is never finished is told in the end.
            (folder / "c.bin").write_bytes(NEWER[:-1])
            assert "truncated" in (await event(here, "firmware-not-loaded"))["reason"]
            assert await served(here) == NEWER

    asyncio.run(run())


def test_a_folder_that_is_gone_changes_nothing_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that has lost its mount, say."""
    monkeypatch.setattr(server, "_REFRESH_S", 0.02)
    folder = folder_of(tmp_path / "fleet", a=THERMO)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            folder.rename(tmp_path / "elsewhere")
            line = await event(here, "firmware-not-loaded")
            assert "No such file" in line["reason"]
            for _ in range(3):
                assert await served(here) == THERMO
            assert here.agent.events_so_far() == []
            folder_of(folder, b=NEWER)
            assert await served(here) == NEWER

    asyncio.run(run())


def test_a_link_that_is_set_to_another_folder_is_followed_at_once(tmp_path: Path) -> None:
    """As Kubernetes mounts configuration, and releases are switched."""
    folder_of(tmp_path / "one", a=THERMO)
    folder_of(tmp_path / "two", a=OLDER)
    link, beside = tmp_path / "current", tmp_path / "beside"
    link.symlink_to("one")

    async def run() -> None:
        async with folder_scene(tmp_path, link) as here:
            for number in range(10):
                assert await served(here) == (THERMO, OLDER)[number % 2]
                beside.symlink_to(("two", "one")[number % 2])
                os.replace(beside, link)

    asyncio.run(run())


def test_boards_that_come_while_files_come_and_go_get_one_that_was_there_and_whole(
    tmp_path: Path, board_certificate: bytes
) -> None:
    folder = folder_of(tmp_path / "fleet", a=OLDER)
    others = {"b": THERMO, "c": NEWER}

    async def change(until: asyncio.Event) -> None:
        number = 0
        while not until.is_set():
            name = ("b", "c")[number // 2 % 2]
            if number % 2:
                (folder / f"{name}.bin").unlink()
            else:
                replace(folder / f"{name}.bin", others[name])
            number += 1
            await asyncio.sleep(0.002)

    async def run() -> None:
        async with folder_scene(tmp_path, folder, default_firmware=DEFAULT) as here:
            over = asyncio.Event()
            changes = asyncio.create_task(change(over))
            found = await asyncio.gather(*(here.update(board_certificate) for _ in range(60)))
            over.set()
            await changes
            assert set(found) <= {OLDER, THERMO, NEWER}
            for _ in found:
                assert (await here.agent.next_session())["outcome"] == "sent"
            assert "firmware-not-loaded" not in here.agent.events_so_far()

    asyncio.run(run())


def test_boards_that_come_while_nothing_has_changed_look_at_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_REFRESH_S", 600)
    folder = folder_of(tmp_path / "fleet", a=THERMO)
    long_ago = time.time() - 100
    looks = []
    look = Shelf.look

    def counted(self: Shelf) -> shelf.News:
        looks.append(1)
        return look(self)

    monkeypatch.setattr(Shelf, "look", counted)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            os.utime(folder, (long_ago, long_ago))
            await asyncio.sleep(0.06)
            assert await served(here) == THERMO
            before = len(looks)
            for _ in range(5):
                assert await served(here) == THERMO
            assert len(looks) == before

    asyncio.run(run())


# What is left out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"junk", "magic"),
        (application_image(), "unsigned"),
        (app("2.0.0", "", "esp32"), "no project name; stamp it"),
        (app("", "thermo"), "no version; stamp it"),
        (app("nightly", "thermo"), "'nightly' is no version"),
        (app("9.0.0", signer="stranger"), "key-untrusted"),
    ],
)
def test_a_bad_file_is_told_once_and_left_out(tmp_path: Path, content: bytes, reason: str) -> None:
    trust = Trust([key_digest_of_public_key(signing.public_pem(key("owner")))])
    made, found = news(folder_of(tmp_path / "fleet", a=content, b=THERMO), trust)
    assert names(made) == ["thermo 2.0.0 esp32"]
    ((text, still),) = found.complaints
    assert reason in text
    assert "a.bin" in text
    assert "\n" not in text
    assert still is None
    assert made.look().complaints == []


def test_a_subfolder_and_other_files_are_left_out_and_hidden_ones_not_even_told(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO)
    folder_of(folder / "old", a=NEWER)
    (folder / "readme.txt").write_text("hello")
    (folder / ".b.bin.part").write_bytes(NEWER)
    (folder / ".b.bin").write_bytes(NEWER)
    (folder / "c.bin").mkdir()
    os.mkfifo(folder / "d.bin")
    made, found = news(folder)
    assert names(made) == ["thermo 2.0.0 esp32"]
    assert found.ignored == ["old", "readme.txt"]
    assert len(found.complaints) == 2
    again = made.look()
    assert (again.ignored, again.complaints) == ([], [])


def test_two_images_of_the_same_version_are_in_doubt_at_start_and_later_the_first_stays(
    tmp_path: Path,
) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=ANOTHER)
    made, found = news(folder)
    assert names(made) == []
    assert len(found.complaints) == 2
    (folder / "b.bin").unlink()
    assert made.look().loaded[0].image == THERMO
    folder_of(folder, b=ANOTHER)
    ((text, _),) = made.look().complaints
    assert "b.bin: thermo 2.0.0 esp32: a.bin is another image of the same version" in text
    assert [each.image for each in made.served.values()] == [THERMO]
    assert made.look().complaints == []
    (folder / "a.bin").unlink()
    made.look()
    assert [each.image for each in made.served.values()] == [ANOTHER]


def test_the_same_image_under_two_names_is_served(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=THERMO)
    made, found = news(folder)
    assert names(made) == ["thermo 2.0.0 esp32"]
    assert found.complaints == []
    (folder / "a.bin").unlink()
    assert made.look().withdrawn == []
    os.rename(folder / "b.bin", folder / "c.bin")
    last = made.look()
    assert (last.withdrawn, last.loaded) == ([], [])


def test_a_missing_folder_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match="No such file or directory"):
        news(tmp_path / "missing")


def test_more_files_than_are_looked_at_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MOST_FILES", 3)
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=LAMP, c=OLDER)
    made, _ = news(folder)
    folder_of(folder, d=NEWER)
    with pytest.raises(FirmwareError, match="4 files, at most 3"):
        made.look()
    assert "thermo 2.0.0 esp32" in names(made)


def test_only_what_is_served_is_kept_in_memory(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "fleet", **{f"v{n}": app(f"1.{n}.0") for n in range(20)})
    gc.collect()
    before = copies_in_memory()
    made = news(folder)[0]
    assert copies_in_memory() == before + 1
    for number in reversed(range(1, 20)):
        assert names(made) == [f"thermo 1.{number}.0 esp32"]
        (folder / f"v{number}.bin").unlink()
        made.look()
        assert copies_in_memory() == before + 1
    shutil.rmtree(folder)
    folder.mkdir()
    made.look()
    assert copies_in_memory() == before


def test_what_changes_again_and_again_while_it_is_read_is_served_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was read in between, nothing is served that the folder never held."""
    folder = folder_of(tmp_path / "fleet", a=THERMO)
    made, _ = news(folder)
    load, count = shelf.load_firmware, 0

    def interrupted(path: Path, trust: Trust) -> Any:
        nonlocal count
        count += 1
        if count < 6:
            replace(folder / "a.bin", (NEWER, OLDER)[count % 2])
        return load(path, trust)

    monkeypatch.setattr(shelf, "load_firmware", interrupted)
    replace(folder / "a.bin", NEWER)
    for _ in range(8):
        made.look()
    assert [each.image for each in made.served.values()] == [(folder / "a.bin").read_bytes()]


def test_a_file_for_which_there_was_no_memory_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = os.memfd_create

    def full(name: str, flags: int) -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    folder = folder_of(tmp_path / "fleet", a=THERMO)
    made, _ = news(folder)
    replace(folder / "b.bin", NEWER)
    monkeypatch.setattr(os, "memfd_create", full)
    ((text, _),) = made.look().complaints
    assert "b.bin: no copy in memory" in text
    assert names(made) == ["thermo 2.0.0 esp32"]
    # The version below cannot be copied either: what is gone is served until it can.
    (folder / "b.bin").unlink()
    replace(folder / "c.bin", OLDER)
    (folder / "a.bin").unlink()
    monkeypatch.setattr(os, "memfd_create", create)
    assert [each.version for each in made.look().loaded] == ["1.0.0"]


def test_the_version_below_that_cannot_be_read_yet_leaves_the_one_above_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=OLDER)
    made, _ = news(folder)

    def full(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    (folder / "a.bin").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", full)
        made.look()
        assert names(made) == ["thermo 2.0.0 esp32"]
    made.look()
    assert names(made) == ["thermo 1.0.0 esp32"]


def test_a_default_is_for_a_folder_only(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(THERMO)

    async def run() -> None:
        async with folder_scene(tmp_path, file, default_firmware=DEFAULT):
            pass

    with pytest.raises(SettingsError, match=r"--default-firmware thermo: .*one file"):
        asyncio.run(run())


def test_a_file_that_could_not_be_copied_is_tried_again_though_it_has_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(shelf, "is_settled", lambda stamp: True)
    folder = folder_of(tmp_path / "fleet", a=THERMO)
    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", full)
        made, _ = news(folder)
    assert names(made) == []
    made.look()
    assert names(made) == ["thermo 2.0.0 esp32"]


def test_what_a_file_holds_when_it_is_copied_counts_and_not_what_it_held_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version below is copied when the one above goes, and is another image meanwhile."""
    folder = folder_of(tmp_path / "fleet", a=THERMO, b=OLDER)
    monkeypatch.setattr(shelf, "is_settled", lambda stamp: True)
    made, _ = news(folder)
    load = shelf.load_firmware

    def late(path: Path, trust: Trust) -> Any:
        if path.name == "b.bin":
            replace(path, LAMP)
        return load(path, trust)

    (folder / "a.bin").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(shelf, "load_firmware", late)
        made.look()
    assert list(made.served) == [("esp32s3", "lamp")]


def test_a_board_that_comes_during_a_look_gets_what_was_put_there_before_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "fleet", a=THERMO)
    look, count = Shelf.look, 0

    def late(self: Shelf) -> shelf.News:
        nonlocal count
        found = look(self)
        count += 1
        if count == 2:
            replace(folder / "b.bin", NEWER)
        return found

    monkeypatch.setattr(server, "_REFRESH_S", 600)
    monkeypatch.setattr(Shelf, "look", late)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            folder_of(folder, c=OLDER)
            assert await served(here) == NEWER

    asyncio.run(run())


def test_files_that_follow_each_other_within_one_tick_of_the_clock_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As coarse here as older kernels have it."""
    tick_ns, exact = 10_000_000, file_stamp._stamp

    def coarse(path: Path) -> tuple[int, ...] | None:
        numbers = exact(path)
        if numbers is None:
            return None
        return tuple(each // tick_ns * tick_ns if each > 10**15 else each for each in numbers)

    monkeypatch.setattr(file_stamp, "_stamp", coarse)
    monkeypatch.setattr(server, "_REFRESH_S", 600)
    folder = folder_of(tmp_path / "fleet", a=THERMO)

    async def run() -> None:
        async with folder_scene(tmp_path, folder) as here:
            for number in range(20):
                if number % 2:
                    (folder / "b.bin").unlink()
                else:
                    replace(folder / "b.bin", NEWER)
                assert await served(here) == (NEWER, THERMO)[number % 2]

    asyncio.run(run())
