"""Whose firmware the agent serves, with a key made as docs/agent.md says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ota_cli.command_line import run
from tests.esp_image import signing
from tests.ota_cli.processes import done, refused, server

GUIDE = (Path(__file__).parents[2] / "docs" / "agent.md").read_text()


def test_the_public_key_that_the_guide_has_one_make_is_one_to_trust(tmp_path: Path) -> None:
    """Its owner's firmware is served, and nobody else's."""
    for name in ("sign", "stranger"):
        key, image = tmp_path / f"{name}.pem", tmp_path / f"{name}.bin"
        key.write_bytes(signing.private_pem(signing.make_key("p256")))
        assert run(["image", "build", "-o", str(tmp_path / "app.bin"), "--version", "1"]) == 0
        assert (
            run(["image", "sign", str(tmp_path / "app.bin"), "--key", str(key), "-o", str(image)])
            == 0
        )
    (command,) = re.findall(r"espsecure (extract-public-key .*)", GUIDE)
    subprocess.run(
        [Path(sys.executable).with_name("espsecure"), *shlex.split(command)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    done("agent", "init", tmp_path)
    arguments = [
        "agent", "--trust", tmp_path / "sign.pub", "--cert", tmp_path / "agent.pem",
        "--key", tmp_path / "agent.key", "--dice-auth-url", "http://127.0.0.1:9",
        "--listen", "127.0.0.1:0", "--firmware",
    ]  # fmt: skip
    with server(*arguments, tmp_path / "sign.bin") as address:
        assert address.startswith("127.0.0.1:")
    assert "key-untrusted" in refused(*arguments, tmp_path / "stranger.bin")


def test_a_private_key_is_not_taken_for_a_trusted_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would lie on a server that boards can reach."""
    private = tmp_path / "sign.pem"
    private.write_bytes(signing.private_pem(signing.make_key("p256")))
    assert run(["agent", "--firmware", "f", "--trust", str(private)]) == 2
    text = capsys.readouterr().err
    assert "a private key" in text
    assert text.count("\n") == 1
