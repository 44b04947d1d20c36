"""What the agent looks at before it listens, and how its process ends."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ota_agent.errors import AgentError, CertificateError, FirmwareError, ListenError
from ota_agent.firmware import Trust, load_firmware
from ota_agent.server import serve
from tests.ota_agent.conftest import Identity, make_identity
from tests.ota_agent.images import application_image, signed_image
from tests.ota_agent.running_agent import settings_for

URL = "http://127.0.0.1:9"


def refused(directory: Path, identity: Identity, **changes: Any) -> AgentError:
    with pytest.raises(AgentError) as raised:
        asyncio.run(serve(settings_for(directory, identity, URL, **changes)))
    assert "\n" not in str(raised.value)
    return raised.value


IMAGE = application_image()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "truncated"),
        (b"\x7fELF" + bytes(500), "magic"),
        (IMAGE[:-1], "truncated"),
        (IMAGE[:1000] + bytes([IMAGE[1000] ^ 1]) + IMAGE[1001:], "checksum"),
        (IMAGE[:-1] + bytes([IMAGE[-1] ^ 1]), "hash-mismatch"),
        (IMAGE + b"more", "trailing-data"),
    ],
)
def test_what_is_no_whole_image_is_not_served(
    tmp_path: Path, identity: Identity, content: bytes, code: str
) -> None:
    error = refused(tmp_path, identity, image=content)
    assert isinstance(error, FirmwareError)
    assert error.code == code
    assert "firmware.bin" in str(error)


def test_a_missing_firmware_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match=r"missing\.bin: No such file"):
        load_firmware(tmp_path / "missing.bin", Trust())


def test_a_missing_certificate_or_key_is_named(tmp_path: Path, identity: Identity) -> None:
    for file in ("certificate", "key"):
        paths = {"certificate": identity.certificate, "key": identity.key}
        paths[file] = tmp_path / f"missing-{file}"
        error = refused(tmp_path, Identity(**paths))
        assert isinstance(error, CertificateError)
        assert f"missing-{file}: No such file" in str(error)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, identity: Identity) -> None:
    other = make_identity(tmp_path / "other")
    error = refused(tmp_path, Identity(identity.certificate, other.key))
    assert isinstance(error, CertificateError)
    assert "is not the key of" in str(error)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x30\x82"])
def test_a_file_that_is_no_certificate_is_refused(
    tmp_path: Path, identity: Identity, content: bytes
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(content)
    error = refused(tmp_path, Identity(wrong, identity.key))
    assert isinstance(error, CertificateError)
    assert "wrong.pem" in str(error)


def test_an_encrypted_key_is_an_error_and_no_prompt(tmp_path: Path, identity: Identity) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    identity.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    assert "unencrypted" in str(refused(tmp_path, identity))


def test_a_port_in_use_is_named(tmp_path: Path, identity: Identity) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = settings_for(tmp_path, identity, URL)
        from dataclasses import replace

        with pytest.raises(ListenError, match=f"127.0.0.1:{port}: the port is in use"):
            asyncio.run(serve(replace(settings, port=port)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_exit_code_0(
    tmp_path: Path, identity: Identity, number: signal.Signals
) -> None:
    settings = settings_for(tmp_path, identity, URL, image=signed_image())
    program = (
        "import asyncio, sys; from ota_agent.server import serve;"
        "from ota_agent.settings import from_environment;"
        "settings = from_environment(firmware=sys.argv[1], certificate=sys.argv[2],"
        " key=sys.argv[3], dice_auth_url=sys.argv[4], host='127.0.0.1', port=0);"
        "asyncio.run(serve(settings, ready=lambda *address: print(*address, flush=True)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, settings.firmware, identity.certificate, identity.key, URL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("127.0.0.1 ")
        process.send_signal(number)
        assert process.wait(10) == 0
        lines = process.stderr.read()
        assert '"event": "listening"' in lines
        assert "Traceback" not in lines
