"""What POST /update makes of bodies that name no agent, or nothing at all, under both runtimes."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ota_service import OtaService
from ota_service.errors import BadRequest
from ota_service.request import parse_update_request
from tests import world
from tests.ota_service.board_process import (
    BoardProcess,
    image_file,
    require_one_line,
    settings,
)

OLD = world.app("1.0.0")
TEXT, JSON = "text/plain", "application/json"
SEED = 20240502

ANSWERED = {
    "an address": (b"ip: 10.0.0.1", None, 200, "(Secure)"),
    "an address and a newline": (b"ip: 10.0.0.1\n", None, 200, "(Secure)"),
    "an address and a port": (b"ip: 10.0.0.1:65535", None, 200, "(Secure)"),
    "JSON with a name": (b'{"agent": "agent.example.org:1"}', JSON, 200, "(Secure)"),
    "JSON with a charset": (b'{"agent": "10.0.0.1"}', JSON + "; charset=utf-8", 200, "(Secure)"),
    "nothing": (b"", None, 400, "no agent address"),
    "a newline": (b"\n", None, 400, "no agent address"),
    "no `ip:`": (b"10.0.0.1", None, 400, "no agent address"),
    "no blank after it": (b"ip:10.0.0.1", None, 400, "no agent address"),
    "upper case": (b"IP: 10.0.0.1", None, 400, "no agent address"),
    "letters": (b"ip: agent", None, 400, "agent address 'agent'"),
    "a name": (b"ip: agent.example.org", None, 400, "agent address 'agent.example.org'"),
    "a number": (b"ip: 167772161", None, 400, "agent address '167772161'"),
    "three parts": (b"ip: 10.0.1", None, 400, "agent address '10.0.1'"),
    "five parts": (b"ip: 10.0.0.0.1", None, 400, "agent address '10.0.0.0.1'"),
    "a part over 255": (b"ip: 10.0.0.256", None, 400, "agent address '10.0.0.256'"),
    "a negative part": (b"ip: 10.0.0.-1", None, 400, "agent address '10.0.0.-1'"),
    "a leading zero": (b"ip: 10.0.0.01", None, 400, "agent address '10.0.0.01'"),
    "hexadecimal": (b"ip: 0x0a.0.0.1", None, 400, "agent address '0x0a.0.0.1'"),
    "digits of another script": (
        "ip: 10.0.0.\u0661".encode(), None, 400, "agent address '10.0.0.",
    ),
    "IPv6": (b"ip: ::1", None, 400, "expected 1 to 65535"),
    "IPv6 in brackets": (b"ip: [fe80::1]:4433", None, 400, "expected 1 to 65535"),
    "no port behind the colon": (b"ip: 10.0.0.1:", None, 400, "port ''"),
    "port 0": (b"ip: 10.0.0.1:0", None, 400, "port '0'"),
    "port 65536": (b"ip: 10.0.0.1:65536", None, 400, "port '65536'"),
    "a negative port": (b"ip: 10.0.0.1:-4433", None, 400, "port '-4433'"),
    "a port with a sign": (b"ip: 10.0.0.1:+4433", None, 400, "port '+4433'"),
    "a huge port": (b"ip: 10.0.0.1:" + b"9" * 200, None, 400, "port '9999"),
    "two ports": (b"ip: 10.0.0.1:1:2", None, 400, "port '1:2'"),
    "junk behind the address": (b"ip: 10.0.0.1 please", None, 400, "agent address"),
    "junk behind the port": (b"ip: 10.0.0.1:4433/x", None, 400, "port '4433/x'"),
    "a path": (b"ip: 10.0.0.1/firmware.bin", None, 400, "agent address"),
    "two newlines": (b"ip: 10.0.0.1\n\n", None, 400, "agent address"),
    "a newline in front": (b"\nip: 10.0.0.1", None, 400, "no agent address"),
    "two addresses": (b"ip: 10.0.0.1\nip: 10.0.0.2", None, 400, "expected"),
    "two addresses on a line": (b"ip: 10.0.0.1, 10.0.0.2", None, 400, "agent address"),
    "a NUL": (b"ip: 10.0.0.1\x00", None, 400, "agent address"),
    "an escape sequence": (b"ip: \x1b[2J", None, 400, "agent address"),
    "a line separator": ("ip: 10.0.0.1\u2028".encode(), None, 400, "agent address"),
    "a control character of C1": ("ip: \x9b2J".encode(), None, 400, "agent address"),
    "binary": (bytes(range(128, 228)), None, 400, "body is not text"),
    "half a UTF-8 character": (b"ip: \xc3", None, 400, "body is not text"),
    "256 bytes": (b"ip: ".ljust(256, b"1"), None, 400, "agent address"),
    "257 bytes": (b"ip: ".ljust(257, b"1"), None, 413, "body of 257 bytes, at most 256"),
    "300 bytes": (bytes(300), None, 413, "body of 300 bytes, at most 256"),
    "300 bytes of JSON": (b"[" * 300, JSON, 413, "body of 300 bytes, at most 256"),
    "text said to be JSON": (b"ip: 10.0.0.1", JSON, 400, "body is not JSON"),
    "JSON said to be text": (b'{"agent": "10.0.0.1"}', TEXT, 400, "no agent address"),
    "half of JSON": (b'{"agent": "10.0.0.1"', JSON, 400, "body is not JSON"),
    "JSON without an agent": (b'{"ip": "10.0.0.1"}', JSON, 400, "no agent in the JSON body"),
    "a JSON list": (b'["10.0.0.1"]', JSON, 400, "no agent in the JSON body"),
    "a JSON number": (b'{"agent": 167772161}', JSON, 400, "no agent in the JSON body"),
    "JSON's null": (b'{"agent": null}', JSON, 400, "no agent in the JSON body"),
    "an empty name": (b'{"agent": ""}', JSON, 400, "agent ''"),
    "a name with a blank": (b'{"agent": "an agent"}', JSON, 400, "agent 'an agent'"),
    "a name with a newline": (b'{"agent": "agent\\n"}', JSON, 400, "agent 'agent\\n'"),
    "a URL": (b'{"agent": "https://10.0.0.1"}', JSON, 400, "port"),
    "JSON nested deeply": (b"[" * 128 + b"]" * 128, JSON, 400, "JSON"),
}  # fmt: skip


@pytest.mark.parametrize("what", ANSWERED)
def test_a_body_of(what: str, board: BoardProcess) -> None:
    body, content_type, status, says = ANSWERED[what]
    answer = board.ask(
        do="bodies",
        image=image_file(board, OLD),
        settings=settings(board),
        bodies=[[body.hex(), content_type]],
    )
    [[answered, text]] = answer["answers"]
    assert answered == status, text
    assert text.endswith("\n")
    require_one_line(text[:-1])
    assert says in text
    if status != 200:
        assert answer["status"]["state"] == "idle"
        assert answer["status"]["error"] is None


class Request:
    def __init__(self, body: bytes, content_type: str | None) -> None:
        self.body = body
        self.headers = {} if content_type is None else {"Content-Type": content_type}

    def __repr__(self) -> str:
        return f"Request({self.body!r}, {self.headers})"


@pytest.fixture(scope="module")
def taken() -> Iterator[Any]:
    """Posts a body that names an agent to the handler of a board in memory; its answer. The update
    is cancelled."""
    service = OtaService(world.board(OLD))

    async def post(request: Request) -> tuple[str, int]:
        text, status, _ = service.ota_request_handler(request)
        service.ota_cancel_handler(Request(b"", None))
        while service.is_updating:
            await asyncio.sleep(0)
        return next(text), status  # the update would start behind the last piece

    with asyncio.Runner() as runner:
        yield service, lambda request: runner.run(post(request))


BEGINNINGS = (b"", b"ip: ", b"ip: 10.0.0.1", b"ip: 10.0.0.1:", b'{"agent": "', b'{"agent": "a"}')
TYPES = (None, TEXT, JSON, JSON + "; charset=utf-8", ";")


def request_of(noise: bytes) -> Request:
    """The first byte decides what stands in front of the others, and the content type."""
    start, kind = divmod(noise[0], len(TYPES))
    return Request(BEGINNINGS[start % len(BEGINNINGS)] + noise[1:], TYPES[kind])


# One draw an example: anything finer takes hypothesis three times as long.
@seed(SEED)
@hypothesis_settings(max_examples=10_000, deadline=None, database=None)
@given(st.binary(min_size=1, max_size=300).map(request_of))
def test_whatever_the_body_it_is_taken_or_refused_with_one_line(
    taken: Any, request_: Request
) -> None:
    service, take = taken
    refusal = None
    try:
        host, port = parse_update_request(request_.body, request_.headers.get("Content-Type"))
        assert host
        assert 1 <= port <= 65535
    except BadRequest as error:
        refusal = error
    if refusal is None:
        assert take(request_) == ("Received update request: About to update (Secure)\n", 200)
        return
    text, status, _ = service.ota_request_handler(request_)
    assert (text, status) == (refusal.message + "\n", refusal.status)
    assert status in (400, 413)
    require_one_line(refusal.message)


def test_whatever_the_body_both_runtimes_take_it_or_refuse_it(board: BoardProcess) -> None:
    answer = board.ask(
        do="random_bodies",
        image=image_file(board, OLD),
        settings=settings(board),
        seed=SEED,
        count=4000,
    )
    assert answer["wrong"] is None, f"seed {SEED}"
    assert set(answer["counts"]) == {"200", "400", "413"}
    assert sum(answer["counts"].values()) == 4000
    assert answer["counts"]["200"] > 100
