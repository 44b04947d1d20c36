"""Firmware out of a real registry: who gets what, and who may fetch it."""

import asyncio
import base64
import gzip
import json
import os
import signal
from pathlib import Path

import pytest
import zstandard

from ota_agent.default_firmware import parse_default
from tests.ota_agent.agent_process import agent_process, wait_until
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.layers import entry, layer, tar
from tests.ota_agent.oci_scene import (
    LAMP,
    NEWER,
    OLDER,
    THERMO,
    agent_of,
    filled,
    refusal,
)
from tests.ota_agent.pulling import logged, puller_of
from tests.ota_agent.registry_peer import (
    PASSWORD,
    USER,
    Image,
    RegistryPeer,
    image,
)
from tests.ota_agent.test_firmware_folder import served


def test_each_board_gets_what_is_published_for_its_chip(
    published: RegistryPeer, tmp_path: Path, board_certificate: bytes
) -> None:
    published.push(image("esp32", THERMO), image("esp32s3", LAMP), image(None, OLDER), name="a")

    async def run() -> None:
        reference = published.reference("a")
        async with agent_of(tmp_path, reference, default_firmware=parse_default("thermo")) as here:
            assert await served(here) == THERMO
            assert await served(here, hwmodel="ESP32-S3", application="lamp") == LAMP
            assert await served(here, hwmodel="esp32c3") == 404
            assert await here.update(board_certificate) == THERMO

    asyncio.run(run())


@pytest.mark.parametrize("architecture", [None, "esp32", "ESP32"])
def test_an_image_without_an_index_is_for_the_chip_its_firmware_is_for(
    published: RegistryPeer, tmp_path: Path, architecture: str | None
) -> None:
    published.push_single(image(architecture, THERMO), name="b")
    assert filled(puller_of(published.reference("b"), tmp_path)) == [THERMO]


def test_a_digest_names_what_it_names_whatever_becomes_of_the_tag(
    published: RegistryPeer, tmp_path: Path
) -> None:
    digest = published.push(image("esp32", THERMO), name="c")
    published.push(image("esp32", NEWER), name="c")
    assert filled(puller_of(published.reference("c", f"@{digest}"), tmp_path)) == [THERMO]
    assert filled(puller_of(published.reference("c", f":1@{digest}"), tmp_path)) == [THERMO]
    assert filled(puller_of(published.reference("c"), tmp_path)) == [NEWER]


def test_the_file_that_the_label_names_is_the_firmware(
    published: RegistryPeer, tmp_path: Path
) -> None:
    """As the originals publish it, here with a bootloader beside it."""
    layers = [layer(ota=THERMO, bootloader=b"\xe9" + bytes(100))]
    labels = {"com.urunc.iot.path": "/firmware/ota.bin"}
    published.push(Image("esp32", layers, labels), name="d")
    assert filled(puller_of(published.reference("d"), tmp_path)) == [THERMO]
    published.push(Image("esp32", layers, {"com.urunc.iot.path": "/firmware/no.bin"}), name="d")
    assert "no file '/firmware/no.bin'" in refusal(
        puller_of(published.reference("d"), tmp_path / "2")
    )


def test_layers_lie_over_each_other(published: RegistryPeer, tmp_path: Path) -> None:
    last = zstandard.compress(gzip.decompress(layer(app=THERMO)))
    layers = [layer(app=OLDER, old=LAMP), tar(entry("firmware/.wh.old.bin")), last]
    published.push(Image("esp32", layers), name="e")
    assert filled(puller_of(published.reference("e"), tmp_path)) == [THERMO]


def test_a_platform_that_is_no_good_is_told_and_left_out(
    published: RegistryPeer, tmp_path: Path
) -> None:
    bad = [
        image("esp32c3", LAMP),
        image("esp64", OLDER),
        Image("esp32c6", [tar(entry("../firmware/a", b"x"))]),
        Image("esp32h2", [layer()]),
        Image("esp32c2", [layer(a=b"hello" * 10)]),
        Image("esp32s2", [gzip.compress(b"hello")]),
    ]
    published.push(image("esp32", THERMO), *bad, name="f")
    with logged() as log:
        assert filled(puller_of(published.reference("f"), tmp_path)) == [THERMO]
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
    published: RegistryPeer, tmp_path: Path, images: list[Image], reason: str
) -> None:
    published.push(*images, name="g")
    assert reason in refusal(puller_of(published.reference("g"), tmp_path))


def test_what_is_not_there_is_named(published: RegistryPeer, tmp_path: Path) -> None:
    reference = published.reference("nothing")
    assert refusal(puller_of(reference, tmp_path)) == f"{reference}: not in the registry (404)"


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
