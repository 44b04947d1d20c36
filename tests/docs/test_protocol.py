"""docs/reference/protocol.md: what it says in bytes and names is what the code has."""

import asyncio
import json
import re
from pathlib import Path

from dice import evidence, keys
from dice_auth.attestation_endpoint import PATHS
from dice_auth.problem import problem as attestation_problem
from dice_auth.registry_url import open_registry
from ota_agent import http_answer, protocol1
from ota_cli.agent import agent
from ota_cli.attest import serve as serve_attestation
from ota_crypto import hkdf
from ota_service import OtaService, session
from ota_service.config import Config
from tests import world
from tests.dice_auth.boards import board as dice_board
from tests.dice_auth.test_server import exchange, request, running
from tests.docs.pages import read, section, table_rows
from tests.micropython.golden_exchange import (
    ATTEST_REQUEST,
    CHALLENGE_REQUEST,
    EVIDENCE,
    FIRMWARE_HEAD,
    FIRMWARE_REQUEST,
    RESUMED_HEAD,
)  # fmt: skip

PAGE = "reference/protocol.md"


def table_under(heading: str, number: int = 0) -> list[list[str]]:
    """The rows of a table, by the heading that it stands under and its place there."""
    text = re.split(r"^#+ ", read(PAGE).split(f"# {heading}\n")[1], flags=re.M)[0]
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return table_rows(tables[number])


def test_the_example_of_evidence_is_the_golden_one() -> None:
    end = 0
    for offset, shown, _ in table_under("2. Evidence"):
        expected = bytes.fromhex(shown.strip("`"))
        assert EVIDENCE[int(offset) :][: len(expected)] == expected, offset
        assert int(offset) >= end  # in their order
        end = int(offset) + len(expected)
    assert f"{len(EVIDENCE)} bytes" in read(PAGE)
    assert EVIDENCE[907:909] == b"\x58\x40" and len(EVIDENCE) == 909 + 64


def test_the_claims_are_those_that_the_code_writes() -> None:
    names = ("NONCE", "UEID", "HWMODEL", "SWNAME", "SWVERSION", "CHANNEL", "IMAGE_DIGEST")
    written = [getattr(evidence, f"_{name}") for name in names]
    assert [int(row[0]) for row in table_under("2. Evidence", 1)] == written


def test_the_requests_are_the_golden_ones() -> None:
    page = read(PAGE)
    for golden in (CHALLENGE_REQUEST, ATTEST_REQUEST, FIRMWARE_REQUEST):
        head = golden.split(b"\r\n\r\n")[0].decode().splitlines()
        shown = "\n".join(f"    {line}" for line in head if not line.startswith("Authorization"))
        assert shown in page


def test_the_members_of_a_problem_document() -> None:
    rows = {row[0].strip("`"): row[1] for row in table_under("Problem documents")}
    of_agent = json.loads(http_answer.problem(401, "no", check="nonce").split(b"\r\n\r\n")[1])
    of_server = json.loads(attestation_problem(401, "no", "nonce"))
    assert set(of_server) == set(rows)
    assert set(of_agent) == {name for name, of in rows.items() if of.startswith("both")}


def test_the_members_of_the_status() -> None:
    documented = {
        name
        for row in table_under("The board's endpoints", 1)
        for name in re.findall(r"`(\w+)`", row[0])
    }
    board = world.board(world.app("1.0.0"))
    service = OtaService(board, {"trigger_key": "00" * 32})
    status = set(service.status())
    assert documented == status | {"verdict"}


def test_the_states_of_an_update() -> None:
    row = next(row for row in table_under("The board's endpoints", 1) if row[0] == "`state`")
    states = {state for state, _ in session._NEXT_STATE} | set(session._NEXT_STATE.values())
    assert set(re.findall(r"`(\w+)`", row[2])) == states


def test_the_salts_and_how_an_id_comes_about() -> None:
    salts = [bytes.fromhex(row[1].strip("`")) for row in table_under("How keys come about")]
    assert salts == [keys.ASYMMETRIC_SALT, keys._ID_SALT]
    public_key = keys.key_pair(bytes(32))[1]
    identifier = bytearray(hkdf.derive(public_key, salts[1], b"ID", 20))
    identifier[0] &= 0x7F
    assert bytes(identifier) == keys.key_id(public_key)


def test_the_ports_are_those_that_count_unless_told() -> None:
    ports = {(row[0], row[1]): row[2] for row in table_under("Wire protocol")}
    assert ports["board", "OTA agent"] == str(Config({}).agent_port)
    (listen,) = [each for each in agent.params if each.name == "listen"]
    assert ports["board", "OTA agent"] == str(listen.default).rpartition(":")[2]
    assert ports["whoever sends", "board"] == str(Config({}).insecure_port)
    (listen,) = [each for each in serve_attestation.params if each.name == "listen"]
    assert ports["OTA agent", "attestation server"] == str(listen.default).rpartition(":")[2]


def test_the_first_byte_tells_the_protocols_apart() -> None:
    rows = [row[0].strip("`") for row in table_under("TLS between board and agent")]
    assert rows == [f"{protocol1.FIRST_BYTE:02x}", "a letter", "anything else"]


def test_the_headers_of_firmware_are_the_golden_ones() -> None:
    golden = dict(
        line.split(": ", 1)
        for head in (FIRMWARE_HEAD, RESUMED_HEAD)
        for line in head.decode().split("\r\n")[1:]
        if line
    )
    rows = {row[0].strip("`"): row[1] for row in table_under("3. The firmware")}
    assert set(rows) <= set(golden)
    (digest,) = re.findall(r"`(.*BASE64.*)`", rows["Repr-Digest"])
    assert re.fullmatch(digest.replace("BASE64", r"[\w+/=]{44}"), golden["Repr-Digest"])
    (of,) = re.findall(r"`(bytes .*)`", rows["Content-Range"])
    assert re.fullmatch(re.sub(r"FIRST|LAST|SIZE", r"\\d+", of), golden["Content-Range"])


def test_the_answers_of_the_attestation_server_are_exact(tmp_path: Path) -> None:
    board = dice_board(1)
    pem = board.pem.encode()
    requests = {
        "chains to an enrolled root": request(pem),
        "anything else": request(b"hello"),
        "another method": request(b"", line="DELETE / HTTP/1.1"),
    }

    async def run() -> None:
        url = f"sqlite:///{tmp_path}/boards.db"
        async with open_registry(url) as registry:
            await registry.enrol(board.board_id, board.root)
        async with asyncio.timeout(20), running(url) as address:
            rows = table_under("Of protocol 1")
            assert [row[0] for row in rows] == list(requests)
            for case, line, headers, body in rows:
                status, phrase, answered, content = await exchange(address, requests[case])
                assert line == f"`HTTP/1.1 {status} {phrase}`"
                assert body == f"`{content.decode()}`"
                shown = dict(each.split(": ") for each in re.findall("`(.*?)`", headers))
                assert {name: answered[name.lower()] for name in shown} == shown

    asyncio.run(run())


def test_the_paths_of_the_attestation_server() -> None:
    page = section(PAGE, "The attestation server")
    for path, method in PATHS.items():
        assert f"`{method.decode()} {path}`" in page
