"""The wire is standard: curl does all three requests of protocol 2 over one connection."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from ota_agent import conversation
from tests.ota_agent.attested_scene import EVIDENCE, attested_scene
from tests.ota_agent.running_agent import IMAGE

# curl reads its arguments before its first request, so it has to know the token beforehand.
TOKEN = "0123456789-abcdefghijklmnopqrstuvwxyz_ABCDE"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


@needs_curl
def test_curl_gets_challenge_token_and_firmware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation.secrets, "token_urlsafe", lambda size: TOKEN)
    (tmp_path / "evidence").write_bytes(EVIDENCE)

    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            host, port = here.agent.address
            common = [
                "--silent", "--show-error", "--fail", "--cacert", str(here.ca),
                "--connect-to", f"ota-agent:{port}:{host}:{port}",
                "--write-out", "%{http_code} %{num_connects}\\n",
            ]  # fmt: skip
            url = f"https://ota-agent:{port}/v2"
            image = tmp_path / "image"
            image.write_bytes(IMAGE[:20_000])
            process = await asyncio.create_subprocess_exec(
                "curl", *common, f"{url}/challenge", "--output", tmp_path / "nonce",
                "--next", *common, f"{url}/attest", "--output", tmp_path / "token",
                "--header", "Content-Type: application/eat+cwt",
                "--data-binary", f"@{tmp_path / 'evidence'}",
                "--next", *common, f"{url}/firmware", "--output", image,
                "--header", f"Authorization: Bearer {TOKEN}", "--continue-at", "-",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert process.returncode == 0
            assert out.decode().splitlines() == ["200 1", "200 0", "206 0"]
            assert (tmp_path / "nonce").read_bytes() == here.server.nonces[0]
            assert json.loads((tmp_path / "token").read_text())["token"] == TOKEN
            assert image.read_bytes() == IMAGE
            assert here.server.requests[-1][1] == EVIDENCE
            assert (await here.agent.next_session())["outcome"] == "sent"

    asyncio.run(run())
