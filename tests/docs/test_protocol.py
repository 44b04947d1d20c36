"""docs/reference/protocol.md: what it says in bytes and names is what the code has."""

import json
import re

from dice import evidence, keys
from dice_auth.attestation_endpoint import PATHS
from dice_auth.problem import problem as attestation_problem
from ota_agent import http_answer
from ota_crypto import hkdf
from ota_service import OtaService, session
from tests import world
from tests.docs.pages import read, section, table_rows
from tests.micropython.golden_exchange import (
    ATTEST_REQUEST,
    CHALLENGE_REQUEST,
    EVIDENCE,
    FIRMWARE_REQUEST,
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
    for request in (CHALLENGE_REQUEST, ATTEST_REQUEST, FIRMWARE_REQUEST):
        head = request.split(b"\r\n\r\n")[0].decode().splitlines()
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


def test_the_paths_of_the_attestation_server() -> None:
    page = section(PAGE, "The attestation server")
    for path, method in PATHS.items():
        assert f"`{method.decode()} {path}`" in page
