"""A new certificate and key for the agent while boards are being served."""

import asyncio
import json
import logging
import os
import signal
import ssl
from pathlib import Path

import pytest

from ota_agent import server
from ota_agent.certificate_files import CertificateFiles
from tests.ota_agent.board_peer import board_context
from tests.ota_agent.conftest import Identity, make_identity
from tests.ota_agent.images import signed_image
from tests.ota_agent.scene import Scene, scene
from tests.ota_agent.test_reload import transfer_under_way

IMAGE = signed_image(size=6_000_000)


def take_over(new: Path, served: Path) -> None:
    """The file new is served's from now on."""
    beside = served.with_suffix(".new")
    beside.write_bytes(new.read_bytes())
    os.replace(beside, served)


async def presented(here: Scene) -> bytes:
    """The certificate that the agent shows, DER."""

    def connect() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(here.connect()) as client:
            return client.getpeercert(binary_form=True) or b""

    shown = await asyncio.to_thread(connect)
    assert (await here.agent.next_session())["outcome"] == "closed-by-board"
    return shown


def der(identity: Identity) -> bytes:
    return ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
@pytest.mark.parametrize("first", ["certificate", "key"])
def test_a_new_certificate_is_presented_when_both_files_have_been_replaced(
    tmp_path: Path, board_certificate: bytes, first: str, kind: str
) -> None:
    """Half replaced, in either order, the old pair goes on, and one line says why; a transfer
    that began with the old one is not touched."""

    async def run() -> None:
        old = make_identity(tmp_path / "identity")
        new = make_identity(tmp_path / "renewed", kind)
        files = ["certificate", "key"] if first == "certificate" else ["key", "certificate"]
        async with scene(tmp_path, identity=old, image=IMAGE) as here:
            old_der = der(old)
            async with transfer_under_way(here, board_certificate):
                take_over(getattr(new, files[0]), getattr(old, files[0]))
                os.kill(os.getpid(), signal.SIGHUP)
                line = await here.agent.next_event()
                assert line["event"] == "certificate-not-loaded"
                assert "is not the key of" in line["reason"]
                assert await presented(here) == old_der
                take_over(getattr(new, files[1]), getattr(old, files[1]))
                os.kill(os.getpid(), signal.SIGHUP)
                line = await here.agent.next_event()
                assert line["event"] == "certificate-loaded"
                assert await presented(here) == der(new) != old_der
            assert (await here.agent.next_session())["outcome"] == "sent"
            context = board_context(new.certificate)
            assert await here.update(board_certificate, context) == IMAGE
            assert here.agent.events_so_far() == []

    asyncio.run(run())


def test_a_new_certificate_is_seen_without_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_REFRESH_S", 0.1)

    async def run() -> None:
        old, new = make_identity(tmp_path / "identity"), make_identity(tmp_path / "renewed")
        async with scene(tmp_path, identity=old) as here:
            take_over(new.certificate, old.certificate)
            take_over(new.key, old.key)
            # Unless it looked in between.
            while (await here.agent.next_event())["event"] != "certificate-loaded":
                pass
            assert await presented(here) == der(new)

    asyncio.run(run())


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_certificate_that_goes_bad_is_told_once_and_the_old_one_goes_on(
    tmp_path: Path, board_certificate: bytes, content: bytes | None
) -> None:
    async def run() -> None:
        async with scene(tmp_path) as here:
            if content is None:
                here.ca.unlink()
            else:
                here.ca.write_bytes(content)
            os.kill(os.getpid(), signal.SIGHUP)
            line = await here.agent.next_event()
            assert line["event"] == "certificate-not-loaded"
            assert "certificate.pem" in line["reason"]
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGHUP)
                await here.serves(board_certificate)
            assert here.agent.events_so_far() == []

    asyncio.run(run())


def test_the_same_certificate_again_is_no_news(tmp_path: Path, board_certificate: bytes) -> None:
    async def run() -> None:
        async with scene(tmp_path) as here:
            take_over(here.ca, here.ca)
            os.kill(os.getpid(), signal.SIGHUP)
            await here.serves(board_certificate)
            assert here.agent.events_so_far() == []

    asyncio.run(run())


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The names of log lines, as they come."""
    names: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            names.append(json.loads(record.getMessage())["event"])

    caplog.set_level(logging.INFO, "ota_agent")
    caplog.handler.setLevel(logging.INFO)
    handler = Lines()
    logging.getLogger("ota_agent").addHandler(handler)
    return names


def test_files_that_do_not_fit_together_leave_the_context_as_it_was(
    identity: Identity, events: list[str]
) -> None:
    files = CertificateFiles(identity.certificate, identity.key)
    context = files.context
    identity.key.write_bytes(b"")
    for _ in range(3):
        files.refresh()
    assert files.context is context
    assert events == ["certificate-not-loaded"]
