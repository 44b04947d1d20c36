"""Firmware out of a real registry: what becomes of it when what is published changes, or the
registry is not there."""

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from esp_image import build
from esp_image.keys import key_digest_of_public_key
from ota_agent.default_firmware import parse_default
from ota_agent.errors import PullError
from ota_agent.firmware import Trust
from tests.esp_image import signing
from tests.ota_agent.agent_process import COMMAND, samples
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.images import app, key
from tests.ota_agent.oci_scene import (
    NEWER,
    OLDER,
    THERMO,
    agent_of,
    filled,
    next_pull,
)
from tests.ota_agent.pulling import contents, logged, puller_of
from tests.ota_agent.registry_peer import (
    RegistryPeer,
    image,
)
from tests.ota_agent.scripted_registry import ScriptedRegistry, scripted_registry
from tests.ota_agent.test_firmware_folder import served
from tests.ota_agent.test_metrics import ask
from tests.ports import free_port


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
