"""The update endpoints over HTTP: the example application on a board in memory."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ota_service.errors import BadRequest
from ota_service.request import parse_update_request
from tests import world
from virtual_esp32.application import Application
from virtual_esp32.board import VirtualBoard, power_on

OLD = world.app("1.0.0")
NEW = world.app("2.0.0", size=60_000)
JSON = {"Content-Type": "application/json"}


def with_board(
    play: Callable[[httpx.AsyncClient, VirtualBoard, world.Agent], Awaitable[None]],
    *sessions: world.Session,
    **options: Any,
) -> None:
    """Power a board and an agent, play, switch off."""

    async def run() -> None:
        board = world.board(OLD)
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def ready(host: str, port: int) -> None:
            if not listening.done():
                listening.set_result(f"http://{host}:{port}")

        async with world.Agent(*sessions, context=world.server_context()) as agent:
            config = {
                "agent_ca": world.authority("test CA").ca,
                "agent_port": agent.port,
                **options,
            }
            application = Application("127.0.0.1", 0, config, on_ready=ready)
            powered = asyncio.create_task(power_on(board, application))
            try:
                url = await listening
                async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                    await play(client, board, agent)
            finally:
                powered.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await powered

    asyncio.run(run())


async def settled(
    client: httpx.AsyncClient, wanted: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Poll GET /update until it is as wanted; the board may be rebooting meanwhile."""
    async with asyncio.timeout(20):
        while True:
            try:
                status = (await client.get("/update")).json()
                if wanted(status):
                    return status
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.01)


def test_a_post_starts_an_update_that_ends_in_confirmed_new_firmware() -> None:
    async def play(client: httpx.AsyncClient, board: VirtualBoard, agent: world.Agent) -> None:
        before = (await client.get("/info")).json()
        assert before == {
            "device": world.CHIP,
            "application": "thermo",
            "version": "1.0.0",
            "slot": "ota_0",
        }
        answer = await client.post("/update", content="ip: 127.0.0.1")
        assert answer.status_code == 200
        assert answer.text == "Received update request: About to update (Secure)\n"
        assert answer.headers["Content-Length"] == str(len(answer.content))
        status = await settled(client, lambda s: s["running"] == "ota_1" and s["confirmed"])
        assert status["error"] is None
        assert (await client.get("/info")).json()["version"] == "2.0.0"

    with_board(play, world.sends(NEW))


def test_the_answer_goes_out_before_the_agent_hears_of_the_board() -> None:
    async def play(client: httpx.AsyncClient, board: VirtualBoard, agent: world.Agent) -> None:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /update HTTP/1.0\r\nContent-Length: 13\r\n\r\nip: 127.0.0.1")
        await reader.readuntil(b"(Secure)\n")
        assert agent.connections == 0
        await settled(client, lambda s: s["state"] == "attesting")
        writer.close()

    with_board(play, world.stalls_after(b""))


def test_while_one_update_runs_another_is_409_and_delete_cancels_it() -> None:
    async def play(client: httpx.AsyncClient, board: VirtualBoard, agent: world.Agent) -> None:
        assert (await client.delete("/update")).status_code == 404
        await client.post("/update", content="ip: 127.0.0.1")
        assert (await client.post("/update", content="ip: 127.0.0.1")).status_code == 409
        await settled(client, lambda s: s["received"] == 0x6000)
        assert (await client.post("/update", content="ip: 127.0.0.1")).status_code == 409
        assert (await client.delete("/update")).status_code == 200
        status = await settled(client, lambda s: s["state"] == "failed")
        assert status["error"]["code"] == "cancelled"
        assert status["running"] == "ota_0"
        assert (await client.delete("/update")).status_code == 404
        await client.post("/update", content="ip: 127.0.0.1")
        await settled(client, lambda s: s["running"] == "ota_1" and s["confirmed"])

    with_board(play, world.stalls_after(NEW[:0x6000]), world.sends(NEW))


def test_a_failed_update_is_readable_and_forgotten_with_the_next() -> None:
    async def play(client: httpx.AsyncClient, board: VirtualBoard, agent: world.Agent) -> None:
        await client.post("/update", content=json.dumps({"agent": "127.0.0.1"}), headers=JSON)
        status = await settled(client, lambda s: s["state"] == "failed")
        assert status["error"]["code"] == "same-image"
        assert "thermo" in status["error"]["message"]
        await client.post("/update", content="ip: 127.0.0.1")
        after = (await client.get("/update")).json()
        assert after["error"] is None
        await settled(client, lambda s: s["running"] == "ota_1")

    with_board(play, world.sends(OLD), world.sends(NEW))


def test_between_two_attempts_the_state_is_connecting_with_the_last_reason() -> None:
    async def play(client: httpx.AsyncClient, board: VirtualBoard, agent: world.Agent) -> None:
        await client.post("/update", content="ip: 127.0.0.1")
        status = await settled(client, lambda s: s["error"] is not None)
        assert status["state"] == "connecting"
        assert status["error"]["code"] == "truncated"
        assert status["attempt"] == 1

    with_board(play, world.sends(NEW[:5000]), retry_delay_s=60)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"ip: example.com", 400),
        (b"ip: 1.2.3.4:99999", 400),
        (b"x" * 257, 413),
        (b"x" * 20000, 413),
    ],
)
def test_a_body_that_names_no_agent_gets_its_status_and_one_line(body: bytes, status: int) -> None:
    async def play(client: httpx.AsyncClient, board: VirtualBoard, agent: world.Agent) -> None:
        answer = await client.post("/update", content=body)
        assert answer.status_code == status
        assert len(answer.text.splitlines()) == 1
        assert (await client.get("/update")).json()["state"] == "idle"
        assert agent.connections == 0

    with_board(play, world.sends(NEW))


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.binary(max_size=300), st.from_regex(rb"ip: [0-9.:]{0,30}\n?", fullmatch=True)),
    st.sampled_from([None, "text/plain", "application/json", "application/json;x"]),
)
def test_whatever_the_body_it_is_parsed_or_refused(body: bytes, content_type: str | None) -> None:
    refusal = None
    try:
        host, port = parse_update_request(body, content_type)
        assert host
        assert 1 <= port <= 65535
    except BadRequest as error:
        refusal = error
    if refusal is not None:
        assert refusal.status in (400, 413)
        assert len(refusal.message.splitlines()) == 1


def test_the_root_certificate_is_not_given_out_by_itself() -> None:
    async def play(client: httpx.AsyncClient, board: VirtualBoard, agent: world.Agent) -> None:
        refused = await client.get("/onboard?root=1")
        assert (refused.status_code, refused.text) == (
            403,
            "the root certificate is not given out now\n",
        )
        device = await client.get("/onboard")
        assert (await client.get("/onboard?root=0")).content == device.content

    with_board(play, world.sends(NEW))
