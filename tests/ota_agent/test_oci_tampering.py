"""Firmware out of a real registry whose storage, or the agent's cache, somebody has changed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ota_agent.oci_scene import (
    NEWER,
    OLDER,
    THERMO,
    agent_of,
    filled,
    next_pull,
    refusal,
)
from tests.ota_agent.pulling import contents, logged, puller_of
from tests.ota_agent.registry_peer import (
    INDEX,
    MANIFEST,
    Image,
    RegistryPeer,
    described,
    encoded,
    image,
    index_of,
    sha256,
)
from tests.ota_agent.test_firmware_folder import served


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


Which = Callable[[Image], str]
WHICH: dict[str, Which] = {
    "layer": lambda of: sha256(of.layers[0]),
    "config": lambda of: sha256(of.config),
    "manifest": lambda of: sha256(of.manifest),
    "index": lambda of: sha256(index_of([of])),
}


@pytest.mark.parametrize("change", [flip, cut, lengthen])
@pytest.mark.parametrize("which", WHICH)
def test_what_is_changed_in_the_registrys_storage_is_not_taken(
    registry: RegistryPeer, tmp_path: Path, which: str, change: Callable[[Path], None]
) -> None:
    """And what was pulled before is served on."""
    registry.push(image("esp32", THERMO))
    puller = puller_of(registry.reference(), tmp_path)
    assert filled(puller) == [THERMO]
    new = image("esp32", NEWER)
    registry.push(new)
    # It keeps nothing in memory.
    change(registry.blob_file(WHICH[which](new)))

    async def run() -> None:
        with logged() as log:
            task = asyncio.create_task(puller.run())
            line = await log.next("firmware-not-pulled")
            assert line["still"] == "what was pulled before"
            task.cancel()

    asyncio.run(run())
    assert contents(puller) == [THERMO]


def test_a_size_that_is_not_the_contents_is_not_taken(
    published: RegistryPeer, tmp_path: Path
) -> None:
    of = image("esp32", THERMO)
    published.push(of, name="h")
    for size in (len(of.manifest) - 1, len(of.manifest) + 1, 10**12, -1, True, "1"):
        entry_ = {**described(of.manifest, MANIFEST), "size": size, "platform": of.platform}
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry_]}
        if not isinstance(size, int) or isinstance(size, bool):
            continue
        published.push_index(encoded(content), name="h")
        assert refusal(puller_of(published.reference("h"), tmp_path / str(size)))


def test_bad_content_is_fetched_once_and_not_again(registry: RegistryPeer, tmp_path: Path) -> None:
    registry.push(image("esp32c3", THERMO))
    puller = puller_of(registry.reference(), tmp_path)
    first = refusal(puller)
    registry.blob_file(sha256(image("esp32c3", THERMO).layers[0])).unlink()
    assert refusal(puller) == first
    registry.push(image("esp32", THERMO))
    assert filled(puller) == [THERMO]


def poison(folder: Path) -> None:
    for each in folder.glob("*.bin"):
        flip(each)


def add(folder: Path) -> None:
    (folder / "more.bin").write_bytes(NEWER)


def remove(folder: Path) -> None:
    for each in folder.glob("*.bin"):
        each.unlink()


def forget(folder: Path) -> None:
    (folder / ".contents.json").write_text('{"digest": 5}')


def swap(folder: Path) -> None:
    """A file that is good firmware, under the name of another."""
    for each in folder.glob("*.bin"):
        each.write_bytes(NEWER)


@pytest.mark.parametrize("change", [poison, add, remove, forget, swap])
def test_a_cache_that_somebody_has_changed_is_put_right(
    registry: RegistryPeer, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    registry.push(image("esp32", THERMO))
    puller = puller_of(registry.reference(), tmp_path / "cache")
    filled(puller)
    change(puller.folder.resolve())

    async def run() -> None:
        async with agent_of(tmp_path, registry.reference()) as here:
            await next_pull(here)
            assert await served(here) == THERMO

    asyncio.run(run())
    assert contents(puller) == [THERMO]


@pytest.mark.parametrize("change", [poison, add, swap])
def test_a_cache_that_somebody_has_changed_is_not_served_while_the_registry_is_down(
    registry: RegistryPeer, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    registry.push(image("esp32", THERMO))
    puller = puller_of(registry.reference(), tmp_path / "cache")
    filled(puller)
    change(puller.folder.resolve())
    registry.stop()

    async def run() -> None:
        async with agent_of(tmp_path, registry.reference()) as here:
            assert await served(here) == (THERMO if change is add else 404)

    asyncio.run(run())


def test_of_two_processes_with_one_cache_one_pulls_and_the_other_takes_over(
    registry: RegistryPeer, tmp_path: Path
) -> None:
    registry.push(image("esp32", THERMO))

    async def run() -> None:
        first, second = (puller_of(registry.reference(), tmp_path, 0.02) for _ in range(2))
        await asyncio.gather(first.fill(), second.fill())
        assert contents(second) == [THERMO]
        with logged() as log:
            tasks = [asyncio.create_task(each.run()) for each in (first, second)]
            for new in (NEWER, OLDER):
                await asyncio.to_thread(registry.push, image("esp32", new))
                await log.next("firmware-pulled")
                assert contents(second) == [new]
                assert [each["event"] for each in log.lines] == []
                tasks[0].cancel()
            tasks[1].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_what_a_process_that_was_killed_left_is_removed(
    registry: RegistryPeer, tmp_path: Path
) -> None:
    registry.push(image("esp32", THERMO))
    filled(puller_of(registry.reference(), tmp_path))
    (cache,) = tmp_path.glob("thermo-*")
    (cache / ".new-abc").mkdir()
    (cache / ".new-abc" / "half").write_bytes(b"x")
    (cache / ".current-abc").symlink_to("nowhere")
    again = puller_of(registry.reference(), tmp_path)
    registry.push(image("esp32", NEWER))

    async def run() -> None:
        with logged() as log:
            task = asyncio.create_task(again.run())
            await log.next("firmware-pulled")
            task.cancel()

    asyncio.run(run())
    assert contents(again) == [NEWER]
    assert len(list(cache.iterdir())) == 3


def test_a_cache_that_cannot_be_written_is_an_error_of_one_line(
    published: RegistryPeer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    error = refusal(puller_of(published.reference("a"), tmp_path / "file" / "cache"))
    assert error.endswith("Not a directory")
