"""docs/agent.md and docs/doctor.md, typed."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ota_agent import conversation
from tests import world
from tests.dice_auth.boards import board
from tests.docs.followed_page import (
    BIN,
    Page,
    needs_a_shell,
    serve,
    terminal_in,
    write_signing_key,
)
from tests.docs.terminals import Terminal, matches
from tests.esp_image import signing
from tests.ota_agent.agent_process import attestation_server
from tests.ota_agent.attested_scene import EVIDENCE, attested_scene
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.running_agent import IMAGE as IMAGE_OF_SCENE
from tests.ota_cli.configured import MAC
from tests.ports import free_port

pytestmark = needs_a_shell

AGENT = Page(
    "agent.md",
    {
        "ota-service agent init certs": "typed",
        "espsecure extract-public-key": "typed before it",
        "to=": "typed, beside an agent that gives the token it names",
        '{"worker": 0': "held against what the running agent says",
        '{"time": "2026-11-26T09:03:48': "held against the log of the running agents",
        "OTA agent 0.1.0": "a picture: tests/ota_cli/test_watch_screen.py draws such",
        "2026-11-26T17:00:05Z boards": "held against what is printed",
    },
)
DOCTOR = Page(
    "doctor.md",
    {
        "ota-service doctor --agent 192.0.2.1 --agent-ca": "typed, where all is well",
        "problem  agent": "what is printed where no agent is",
        "{": "the same as JSON",
    },
)
IMAGE = world.app("2.0.0", chip="esp32")


def in_folder(folder: Path) -> Path:
    for version in ("1.0.0", "2.0.0"):
        (folder / f"thermo-{version}.bin").write_bytes(world.app(version, chip="esp32"))
    return folder


def start_agent(terminal: Terminal, attestation: str) -> tuple[int, int]:
    """As the page does; its port for boards, and its admin port."""
    here = f"{attestation} --listen 127.0.0.1:0 --admin 0"
    serve(terminal, AGENT.text("ota-service agent init", {"http://127.0.0.1:8000": here}))
    # Lines of the log may still come between the two.
    (port,) = re.findall(r"OTA agent listening on 127\.0\.0\.1:(\d+)", terminal.log)
    (admin,) = re.findall(r'"admin-listening".*"port": (\d+)', terminal.log)
    return int(port), int(admin)


@pytest.mark.skipif(not (BIN / "espsecure").exists(), reason="no espsecure here")
def test_the_agent_serves_and_tells_what_the_page_shows(tmp_path: Path) -> None:
    in_folder(tmp_path)
    write_signing_key(tmp_path / "sign.pem")
    with attestation_server() as attestation, terminal_in(tmp_path) as terminal:
        terminal.run(AGENT.text("espsecure extract"), None)
        assert (tmp_path / "sign.pub").read_bytes() == signing.public_pem(world.key("owner"))
        port, admin = start_agent(terminal, attestation)
        context = board_context(tmp_path / "certs/ca.pem")
        with BoardPeer(("127.0.0.1", port), context):
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/sessions", timeout=10) as got:
                (session,) = json.load(got)["sessions"]
            line = f"ota-service agent --watch {admin} | head -1"
            watched = terminal.run(line, None).splitlines()[-1]
        with BoardPeer(("127.0.0.1", port), context) as peer:
            peer.socket.sendall(board(1).certificate)
            assert peer.read_all() == IMAGE
        terminal.run("kill -INT $(jobs -p); wait", None)
    named = re.compile(r"(\w+)=")
    assert named.findall(watched) == named.findall(AGENT.text("2026-11-26T17:00:05Z"))
    assert keys(AGENT.text('{"worker": 0')) == [list(session)]
    told = [line for line in terminal.log.splitlines() if '"sent"' in line]
    assert keys(told[0]) == keys(AGENT.text('{"time": "2026'))[:1]


def keys(lines: str) -> list[list[str]]:
    """Of the JSON objects that stand one after the other."""
    found, decoder, rest = [], json.JSONDecoder(), lines.strip()
    while rest:
        each, end = decoder.raw_decode(rest)
        found.append(list(each))
        rest = rest[end:].strip()
    return found


def test_curl_speaks_protocol_2_as_the_page_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "0123456789-abcdefghijklmnopqrstuvwxyz_ABCDE"
    monkeypatch.setattr(conversation.secrets, "token_urlsafe", lambda size: token)
    folder = tmp_path / "typed"
    folder.mkdir()
    (folder / "evidence").write_bytes(EVIDENCE)

    async def run() -> dict[str, Any]:
        async with attested_scene(tmp_path) as here:
            host, port = here.agent.address
            text = AGENT.text("to=", {"127.0.0.1": host, "4433": str(port),
                                      "certs/ca.pem": str(here.ca)})  # fmt: skip
            with terminal_in(folder) as terminal:
                await asyncio.to_thread(terminal.run, f"TOKEN={token}\n{text}", None)
            found: dict[str, Any] = await here.agent.next_session()
            return found

    session = asyncio.run(run())
    assert (folder / "firmware.bin").read_bytes() == IMAGE_OF_SCENE
    assert session["outcome"] == "sent"
    page = keys(AGENT.text('{"time": "2026'))[1]
    assert [name for name in session if name in page] == [n for n in page if n in session]
    assert set(session) <= set(page)


@pytest.fixture
def whole_world(tmp_path: Path) -> Iterator[tuple[Terminal, dict[str, str]]]:
    """Attestation server, agent and an enrolled board; what stands for them on the page."""
    in_folder(tmp_path)
    (tmp_path / "sign.pub").write_bytes(signing.public_pem(world.key("owner")))
    (tmp_path / "owner.pub").write_bytes(signing.public_pem(world.key("owner")))
    table = "nvs,data,nvs,0x9000,0x4000\notadata,data,ota,,0x2000\nphy,data,phy,,0x1000\n"
    (tmp_path / "partitions.csv").write_text(
        f"{table}ota_0,app,ota_0,0x10000,0x180000\nota_1,app,ota_1,,0x180000\n"
    )
    attestation, http = free_port(), free_port()
    with terminal_in(tmp_path) as terminal:
        terminal.run(
            f"ota-service submit {MAC}\n"
            f"ota-service board create flash.bin --app thermo-1.0.0.bin --mac {MAC}",
            None,
        )
        serve(terminal, f"ota-service attest serve --listen 127.0.0.1:{attestation}")
        port, _ = start_agent(terminal, f"http://127.0.0.1:{attestation}")
        serve(terminal, f"ota-service board run flash.bin --http 127.0.0.1:{http} --agent-ca"
              " certs/ca.der")  # fmt: skip
        yield (
            terminal,
            {
                "--agent 192.0.2.1": f"--agent 127.0.0.1:{port}",
                "192.0.2.17": f"127.0.0.1:{http}",
                "127.0.0.1:8000": f"127.0.0.1:{attestation}",
            },
        )


def test_the_doctor_finds_nothing_wrong_where_all_is_well(
    whole_world: tuple[Terminal, dict[str, str]],
) -> None:
    terminal, here = whole_world
    said = terminal.run(DOCTOR.text("ota-service doctor --agent 192.0.2.1", here), None)
    for part in (
        "by the CA on the board", "fits, the board runs 1.0.0", "accepts its certificate",
        "bytes of the slot",
    ):  # fmt: skip
        assert part in said, part
    assert not re.search("^problem", said, re.M)


def test_the_doctor_says_what_is_wrong_as_the_page_shows(tmp_path: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    with terminal_in(tmp_path) as terminal:
        said = terminal.run(f"ota-service doctor --agent {where}; echo $?", None)
        as_json = terminal.run(f"ota-service doctor --agent {where} --json; echo $?", None)
    shown = DOCTOR.text("problem  agent").replace("192.0.2.1:4433", where)
    shown = shown.replace("192.0.2.1 port 4433", where.replace(":", " port "))
    assert " ".join(shown.split()) in " ".join(said.split())
    found, page = json.loads(as_json.rpartition("}")[0] + "}"), json.loads(DOCTOR.text("{"))
    assert list(found) == list(page)
    (problem,) = [each for each in found["findings"] if each["level"] == "problem"]
    (of_page,) = page["findings"]
    assert list(problem) == list(of_page)
    for name in ("code", "level"):
        assert problem[name] == of_page[name]
    assert matches(of_page["cure"], problem["cure"])
