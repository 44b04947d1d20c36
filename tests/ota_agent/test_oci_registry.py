"""Firmware out of a real registry: who gets what, and what becomes of it when the registry, its
storage or the cache is not what it was."""

import asyncio
import base64
import gzip
import json
import os
import signal
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard

from esp_image import build
from esp_image.keys import key_digest_of_public_key
from ota_agent.default_firmware import parse_default
from ota_agent.errors import PullError
from ota_agent.firmware import Trust
from ota_agent.oci_puller import Puller
from ota_agent.oci_reference import parse_reference
from tests.esp_image import signing
from tests.ota_agent.agent_process import COMMAND, agent_process, samples, wait_until
from tests.ota_agent.attested_scene import AttestedScene, attested_scene
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.images import app, key
from tests.ota_agent.layers import entry, layer, tar
from tests.ota_agent.pulling import contents, logged, puller_of
from tests.ota_agent.registry_peer import (
    INDEX,
    MANIFEST,
    PASSWORD,
    USER,
    Image,
    RegistryPeer,
    described,
    encoded,
    image,
    index_of,
    sha256,
)
from tests.ota_agent.scripted_registry import ScriptedRegistry, scripted_registry
from tests.ota_agent.test_firmware_folder import served
from tests.ota_agent.test_metrics import ask
from tests.ports import free_port

THERMO, LAMP = app("2.0.0", "thermo"), app("1.0.0", "lamp", "esp32s3")
NEWER, OLDER = app("3.0.0"), app("1.0.0")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryPeer]:
    with RegistryPeer(tmp_path_factory.mktemp("registry")) as peer:
        yield peer


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryPeer]:
    """One that the test may break."""
    with RegistryPeer(tmp_path / "registry") as peer:
        yield peer


def agent_of(tmp_path: Path, reference: str, **changes: Any) -> Any:
    settings = {"cache": tmp_path / "cache", "oci_interval_s": 600.0, **changes}
    return attested_scene(tmp_path, firmware=parse_reference(reference), **settings)


def filled(puller: Puller) -> list[bytes]:
    try:
        asyncio.run(puller.fill())
    finally:
        puller.close()
    return contents(puller)


def refusal(puller: Puller) -> str:
    with pytest.raises(PullError) as raised:
        filled(puller)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Who gets what


def test_each_board_gets_what_is_published_for_its_chip(
    shared: RegistryPeer, tmp_path: Path, board_certificate: bytes
) -> None:
    shared.push(image("esp32", THERMO), image("esp32s3", LAMP), image(None, OLDER), name="a")

    async def run() -> None:
        reference = shared.reference("a")
        async with agent_of(tmp_path, reference, default_firmware=parse_default("thermo")) as here:
            assert await served(here) == THERMO
            assert await served(here, hwmodel="ESP32-S3", application="lamp") == LAMP
            assert await served(here, hwmodel="esp32c3") == 404
            assert await here.update(board_certificate) == THERMO

    asyncio.run(run())


@pytest.mark.parametrize("architecture", [None, "esp32", "ESP32"])
def test_an_image_without_an_index_is_for_the_chip_its_firmware_is_for(
    shared: RegistryPeer, tmp_path: Path, architecture: str | None
) -> None:
    shared.push_single(image(architecture, THERMO), name="b")
    assert filled(puller_of(shared.reference("b"), tmp_path)) == [THERMO]


def test_a_digest_names_what_it_names_whatever_becomes_of_the_tag(
    shared: RegistryPeer, tmp_path: Path
) -> None:
    digest = shared.push(image("esp32", THERMO), name="c")
    shared.push(image("esp32", NEWER), name="c")
    assert filled(puller_of(shared.reference("c", f"@{digest}"), tmp_path)) == [THERMO]
    assert filled(puller_of(shared.reference("c", f":1@{digest}"), tmp_path)) == [THERMO]
    assert filled(puller_of(shared.reference("c"), tmp_path)) == [NEWER]


def test_the_file_that_the_label_names_is_the_firmware(
    shared: RegistryPeer, tmp_path: Path
) -> None:
    """As the originals publish it, here with a bootloader beside it."""
    layers = [layer(ota=THERMO, bootloader=b"\xe9" + bytes(100))]
    labels = {"com.urunc.iot.path": "/firmware/ota.bin"}
    shared.push(Image("esp32", layers, labels), name="d")
    assert filled(puller_of(shared.reference("d"), tmp_path)) == [THERMO]
    shared.push(Image("esp32", layers, {"com.urunc.iot.path": "/firmware/no.bin"}), name="d")
    assert "no file '/firmware/no.bin'" in refusal(puller_of(shared.reference("d"), tmp_path / "2"))


def test_layers_lie_over_each_other(shared: RegistryPeer, tmp_path: Path) -> None:
    last = zstandard.compress(gzip.decompress(layer(app=THERMO)))
    layers = [layer(app=OLDER, old=LAMP), tar(entry("firmware/.wh.old.bin")), last]
    shared.push(Image("esp32", layers), name="e")
    assert filled(puller_of(shared.reference("e"), tmp_path)) == [THERMO]


def test_a_platform_that_is_no_good_is_told_and_left_out(
    shared: RegistryPeer, tmp_path: Path
) -> None:
    bad = [
        image("esp32c3", LAMP),
        image("esp64", OLDER),
        Image("esp32c6", [tar(entry("../firmware/a", b"x"))]),
        Image("esp32h2", [layer()]),
        Image("esp32c2", [layer(a=b"hello" * 10)]),
        Image("esp32s2", [gzip.compress(b"hello")]),
    ]
    shared.push(image("esp32", THERMO), *bad, name="f")
    with logged() as log:
        assert filled(puller_of(shared.reference("f"), tmp_path)) == [THERMO]
    reasons = [each["reason"] for each in log.lines if each["event"] == "firmware-not-pulled"]
    assert len(reasons) == len(bad)
    for reason, part in zip(
        reasons,
        ["is for esp32s3, published as custom/esp32c3", "expected one of", "leaves its folder",
         "no file under", "no firmware", "not a tar"],
        strict=True,
    ):  # fmt: skip
        assert part in reason
    (pulled,) = (each for each in log.lines if each["event"] == "firmware-pulled")
    assert [each["chip"] for each in pulled["files"]] == ["esp32"]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([image(None, THERMO)], "no platform custom/CHIP in the index; it has: linux/amd64"),
        ([image("esp32c3", THERMO)], "published as custom/esp32c3"),
    ],
)
def test_an_index_without_firmware_is_refused(
    shared: RegistryPeer, tmp_path: Path, images: list[Image], reason: str
) -> None:
    shared.push(*images, name="g")
    assert reason in refusal(puller_of(shared.reference("g"), tmp_path))


def test_what_is_not_there_is_named(shared: RegistryPeer, tmp_path: Path) -> None:
    reference = shared.reference("nothing")
    assert refusal(puller_of(reference, tmp_path)) == f"{reference}: not in the registry (404)"


# Access


def docker_config(path: Path, authority: str, password: str = PASSWORD) -> Path:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {authority: {"auth": auth}}}))
    return path


def test_a_registry_that_asks_for_a_password_is_given_it_and_the_log_is_not(
    tmp_path: Path,
) -> None:
    with RegistryPeer(tmp_path / "registry", needs_login=True) as registry, logged() as log:
        registry.push(image("esp32", THERMO))
        reference = registry.reference()
        good = docker_config(tmp_path / "good.json", registry.authority)
        assert filled(puller_of(reference, tmp_path / "1", config=good)) == [THERMO]
        wrong = docker_config(tmp_path / "wrong.json", registry.authority, "wrong horse")
        errors = [
            refusal(puller_of(reference, tmp_path / "2", config=wrong)),
            refusal(puller_of(reference, tmp_path / "3")),
            refusal(puller_of(reference, tmp_path / "4", config=tmp_path / "missing.json")),
        ]
    for error, reason in zip(
        errors, ["not enough", "no credentials", "missing.json is missing"], strict=True
    ):
        assert "status 401" in error
        assert reason in error
    assert "horse" not in str(log.lines) + str(errors)


def test_a_registry_with_a_certificate_of_ones_own_ca(tmp_path: Path) -> None:
    identity = make_identity(tmp_path / "identity", names=["localhost"])
    pair = (identity.certificate, identity.key)
    with RegistryPeer(tmp_path / "registry", tls=pair) as registry:
        registry.push(image("esp32", THERMO))
        reference = registry.reference()
        assert filled(puller_of(reference, tmp_path / "1", ca=identity.certificate)) == [THERMO]
        other = make_identity(tmp_path / "other", names=["localhost"])
        error = refusal(puller_of(reference, tmp_path / "2", ca=other.certificate))
        assert "certificate verify failed" in error


def test_a_worker_is_replaced_though_the_registrys_ca_is_gone(tmp_path: Path) -> None:
    identity = make_identity(tmp_path / "identity", names=["localhost"])
    ca = tmp_path / "ca.pem"
    ca.write_bytes(identity.certificate.read_bytes())
    pair = (identity.certificate, identity.key)
    with RegistryPeer(tmp_path / "registry", tls=pair) as registry:
        registry.push(image("esp32", THERMO))
        options = (
            "--workers", 2, "--firmware", registry.reference(), "--oci-ca", ca, "--cache",
            tmp_path / "cache", "--oci-interval", 0.2,
        )  # fmt: skip
        with agent_process(tmp_path, identity, *options) as agent:
            wait_until(lambda: agent.metrics()["ota_agent_workers_serving"] == 2, 10)
            ca.unlink()
            for pid in agent.workers():
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: agent.metrics()["ota_agent_worker_restarts_total"] >= 2, 10)
            wait_until(lambda: agent.metrics()["ota_agent_workers_serving"] == 2, 5)
            registry.push(image("esp32", NEWER))
            wait_until(lambda: len(agent.events("firmware-pulled")) == 2, 10)
            assert not agent.events("worker-failed")


# What changes


async def next_pull(here: AttestedScene, event: str = "firmware-pulled") -> dict[str, Any]:
    while True:
        line = await here.agent.next_event()
        if line["event"] == event:
            return line


def test_a_tag_that_moves_is_followed_and_what_is_under_way_finishes(
    registry: RegistryPeer, tmp_path: Path, board_certificate: bytes
) -> None:
    long = app("2.0.0", size=6_000_000)
    registry.push(image("esp32", long))

    async def run() -> None:
        async with agent_of(
            tmp_path, registry.reference(), oci_interval_s=0.1,
            default_firmware=parse_default("thermo"),
        ) as here:  # fmt: skip
            began, go_on = asyncio.Event(), asyncio.Event()
            loop = asyncio.get_running_loop()

            def work(board: Any) -> bytes:
                board.socket.sendall(board_certificate)
                first: bytes = board.socket.recv(1)
                loop.call_soon_threadsafe(began.set)
                asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(15)
                return first + board.read_all()

            slow = asyncio.create_task(here.board(work))
            await began.wait()
            # Forth, and back.
            for new in (NEWER, OLDER):
                await asyncio.to_thread(registry.push, image("esp32", new))
                await next_pull(here)
                assert await here.update(board_certificate) == new
            go_on.set()
            assert await slow == long
            (cache,) = (tmp_path / "cache").iterdir()
            assert len([each for each in cache.iterdir() if not each.is_symlink()]) == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("pushed", "reason"),
    [
        (build.build_app("9.0.0", "thermo", "esp32"), "unsigned"),
        (app("9.0.0", signer="stranger"), "key-untrusted"),
        (app("9.0.0", project=""), "no project name"),
        (NEWER[:-100], "truncated"),
    ],
)
def test_what_nobody_would_get_does_not_take_the_place_of_what_is_served(
    registry: RegistryPeer, tmp_path: Path, pushed: bytes, reason: str
) -> None:
    """Nor after a restart: the good firmware is still in the cache."""
    registry.push(image("esp32", THERMO))
    trust = Trust([key_digest_of_public_key(signing.public_pem(key("owner")))])

    async def run() -> None:
        async with agent_of(
            tmp_path, registry.reference(), oci_interval_s=0.1, trust=trust
        ) as here:
            assert await served(here) == THERMO
            await asyncio.to_thread(registry.push, image("esp32", pushed))
            line = await next_pull(here, "firmware-not-pulled")
            assert reason in line["reason"]
            assert await served(here) == THERMO
        async with agent_of(tmp_path, registry.reference(), trust=trust) as here:
            assert await served(here) == THERMO

    asyncio.run(run())


def test_sighup_looks_at_the_registry_at_once(registry: RegistryPeer, tmp_path: Path) -> None:
    registry.push(image("esp32", THERMO))

    async def run() -> None:
        async with agent_of(tmp_path, registry.reference()) as here:
            assert await served(here) == THERMO
            await asyncio.to_thread(registry.push, image("esp32", NEWER))
            os.kill(os.getpid(), signal.SIGHUP)
            await next_pull(here)
            assert await served(here) == NEWER

    asyncio.run(run())


def test_with_a_cache_that_is_filled_a_registry_that_is_down_costs_nothing(
    registry: RegistryPeer, tmp_path: Path
) -> None:
    registry.push(image("esp32", THERMO))
    filled(puller_of(registry.reference(), tmp_path / "cache"))
    registry.stop()

    async def run() -> None:
        async with agent_of(tmp_path, registry.reference(), oci_interval_s=0.05) as here:
            line = await next_pull(here, "firmware-not-pulled")
            assert registry.authority in line["reason"]
            assert await served(here) == THERMO
            await asyncio.to_thread(registry.start)
            await asyncio.to_thread(registry.push, image("esp32", NEWER))
            await next_pull(here)
            assert await served(here) == NEWER
            await asyncio.to_thread(registry.stop)
            await next_pull(here, "firmware-not-pulled")
            assert await served(here) == NEWER
            assert "firmware-not-pulled" not in here.agent.events_so_far()

    asyncio.run(run())


def test_without_a_cache_a_registry_that_is_down_is_told_at_start(
    registry: RegistryPeer, tmp_path: Path
) -> None:
    registry.stop()

    async def run() -> None:
        async with agent_of(tmp_path, registry.reference()):
            pass

    with pytest.raises(PullError, match=registry.authority):
        asyncio.run(run())


def test_each_look_that_brings_nothing_is_counted_though_its_reason_is_told_once(
    registry: RegistryPeer, tmp_path: Path
) -> None:
    registry.push(image("esp32", THERMO))
    filled(puller_of(registry.reference(), tmp_path / "cache"))
    registry.stop()
    name = "ota_agent_firmware_pull_failures_total"

    async def run() -> None:
        admin = ("127.0.0.1", free_port())
        async with agent_of(
            tmp_path, registry.reference(), oci_interval_s=0.02, admin=admin
        ) as here:
            async with asyncio.timeout(20):
                while samples(await ask(admin[1]))[name] < 3:
                    pass
            assert here.agent.events_so_far().count("firmware-not-pulled") == 1

    asyncio.run(run())


# Until there is something to serve


@pytest.mark.parametrize("workers", [1, 2])
def test_a_first_pull_is_told_as_it_goes_and_outlives_sighup(tmp_path: Path, workers: int) -> None:
    identity = make_identity(tmp_path / "identity")
    script, of = ScriptedRegistry(), image("esp32", THERMO)

    async def run() -> None:
        async with scripted_registry(script):
            script.publish(of)
            script.holds = asyncio.Event()
            options = (
                "--workers", workers, "--firmware", f"oci://{script.authority}/a:1", "--cache",
                tmp_path / "cache", "--cert", identity.certificate, "--key", identity.key,
                "--dice-auth-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "0",
            )  # fmt: skip
            agent = await asyncio.create_subprocess_exec(
                COMMAND, "agent", *map(str, options), stdout=PIPE, stderr=PIPE
            )
            try:
                await first_pull(agent)
            finally:
                with suppress(ProcessLookupError):
                    agent.kill()
                await agent.wait()

    async def first_pull(agent: asyncio.subprocess.Process) -> None:
        assert agent.stdout is not None and agent.stderr is not None
        async with asyncio.timeout(20):
            begun = json.loads(await agent.stderr.readline())
            assert (begun["event"], begun["by"]) == ("firmware-pulling", "this process")
            assert begun["firmware"] == f"oci://{script.authority}/a:1"
            for _ in range(2):
                agent.send_signal(signal.SIGHUP)
            script.holds.set()
            each = json.loads(await agent.stderr.readline())
            fetched = len(of.config) + sum(map(len, of.layers))
            assert (each["event"], each["platform"]) == ("firmware-pulling", "custom/esp32")
            assert each["bytes"] == fetched
            done = json.loads(await agent.stderr.readline())
            assert (done["event"], done["bytes"]) == ("firmware-pulled", fetched)
            assert 0 < done["seconds"] < 20
            assert b"listening" in await agent.stdout.readline()
            agent.terminate()
            assert await agent.wait() == 0

    asyncio.run(run())


def test_who_waits_for_another_process_that_pulls_says_so(
    registry: RegistryPeer, tmp_path: Path
) -> None:
    registry.push(image("esp32", THERMO))
    first, second = (puller_of(registry.reference(), tmp_path) for _ in range(2))

    async def run() -> None:
        with logged() as log:
            assert first._cache.lock()
            waiting = asyncio.create_task(second.fill())
            assert (await log.next("firmware-pulling"))["by"] == "another process"
            first.close()
            assert (await log.next("firmware-pulling"))["by"] == "this process"
            await waiting
            second.close()
        assert contents(second) == [THERMO]

    asyncio.run(run())


# What is tampered with


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


def test_a_size_that_is_not_the_contents_is_not_taken(shared: RegistryPeer, tmp_path: Path) -> None:
    of = image("esp32", THERMO)
    shared.push(of, name="h")
    for size in (len(of.manifest) - 1, len(of.manifest) + 1, 10**12, -1, True, "1"):
        entry_ = {**described(of.manifest, MANIFEST), "size": size, "platform": of.platform}
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry_]}
        if not isinstance(size, int) or isinstance(size, bool):
            continue
        shared.push_index(encoded(content), name="h")
        assert refusal(puller_of(shared.reference("h"), tmp_path / str(size)))


def test_bad_content_is_fetched_once_and_not_again(registry: RegistryPeer, tmp_path: Path) -> None:
    registry.push(image("esp32c3", THERMO))
    puller = puller_of(registry.reference(), tmp_path)
    first = refusal(puller)
    registry.blob_file(sha256(image("esp32c3", THERMO).layers[0])).unlink()
    assert refusal(puller) == first
    registry.push(image("esp32", THERMO))
    assert filled(puller) == [THERMO]


# The cache


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
    shared: RegistryPeer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    error = refusal(puller_of(shared.reference("a"), tmp_path / "file" / "cache"))
    assert error.endswith("Not a directory")
