"""The endpoints over real HTTP, on CPython; the same server runs under MicroPython."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import httpx
import pytest

import esp32_akri
from esp32_akri import AkriServer, connection
from esp32_akri import server as akri_server
from esp32_akri.compat import is_loopback
from esp32_akri.server import MAX_CONNECTIONS


def requests_against(server: AkriServer, *requests: tuple[str, str]) -> list[httpx.Response]:
    """Serve on a free port, make the requests in a thread, stop."""

    async def run() -> list[httpx.Response]:
        server.start("127.0.0.1", 0)
        await server.started()
        url = f"http://127.0.0.1:{server.port}"
        try:
            return [
                await asyncio.to_thread(httpx.request, method, url + path, trust_env=False)
                for method, path in requests
            ]
        finally:
            await server.end()

    return asyncio.run(run())


def test_handlers_may_be_functions_or_coroutines_and_get_their_context() -> None:
    server = AkriServer()

    async def temperature(req: object) -> str:
        return "21.5"

    server.set_handler_generic("/temp", "GET", temperature)
    server.set_handler_generic_with_context("/who", "get", lambda r, c: c["name"], {"name": "x"})
    server.set_handler_generic("/info", "GET", lambda req: {"device": "esp32"})
    temp, who, info = requests_against(server, ("GET", "/temp"), ("GET", "/who"), ("GET", "/info"))
    assert (temp.status_code, temp.text) == (200, "21.5")
    assert (who.status_code, who.text) == (200, "x")
    assert info.json() == {"device": "esp32"}


def test_update_takes_three_methods_when_all_are_registered() -> None:
    server = AkriServer()
    server.set_update_handler(lambda r: "post", lambda r: "get", lambda r: "delete")
    answers = requests_against(server, *((m, "/update") for m in ("POST", "GET", "DELETE", "PUT")))
    assert [a.text for a in answers[:3]] == ["post", "get", "delete"]
    assert answers[3].status_code == 405


def test_with_the_post_handler_alone_it_behaves_as_the_originals() -> None:
    server = AkriServer()
    server.set_update_handler(lambda r: "post")
    post, get = requests_against(server, ("POST", "/update"), ("GET", "/update"))
    assert post.text == "post"
    assert get.status_code == 405


def test_an_endpoint_without_a_handler_answers_404() -> None:
    server = AkriServer()
    server.set_handler_generic("/info", "GET", lambda r: "")
    assert requests_against(server, ("GET", "/temp"))[0].status_code == 404


def test_a_handler_can_be_replaced_while_the_server_runs() -> None:
    server = AkriServer()

    async def run() -> list[str]:
        server.set_handler_generic("/a", "GET", lambda r: "one")
        server.start("127.0.0.1", 0)
        await server.started()
        url = f"http://127.0.0.1:{server.port}"
        seen = []
        for text in ("one", "two"):
            server.set_handler_generic("/a", "GET", lambda r, text=text: text)
            server.set_handler_generic("/b", "GET", lambda r, text=text: "b " + text)
            for path in ("/a", "/b"):
                got = await asyncio.to_thread(httpx.get, url + path, trust_env=False)
                seen.append(got.text)
        await server.end()
        return seen

    assert asyncio.run(run()) == ["one", "b one", "two", "b two"]


def test_a_port_in_use_is_reported_and_the_server_can_start_elsewhere() -> None:
    async def run() -> None:
        server = AkriServer()
        server.set_handler_generic("/", "GET", lambda r: "")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server.start("127.0.0.1", taken.getsockname()[1])
            with pytest.raises(OSError, match="in use"):
                await server.started()
        server.start("127.0.0.1", 0)
        await server.started()
        await server.end()
        await server.end()

    asyncio.run(run())


def test_a_second_start_and_a_handler_that_is_none_are_errors_of_the_caller() -> None:
    async def run() -> None:
        server = AkriServer()
        server.start("127.0.0.1", 0)
        with pytest.raises(RuntimeError, match="runs already"):
            server.start("127.0.0.1", 0)
        await server.started()
        await server.end()

    asyncio.run(run())
    with pytest.raises(ValueError, match="not callable"):
        AkriServer().set_handler_generic("/x", "GET", None)
    with pytest.raises(ValueError, match="starts with /"):
        AkriServer().set_handler_generic("x", "GET", print)


def test_the_module_level_functions_are_the_originals_names() -> None:
    async def run() -> None:
        esp32_akri.akri_set_update_handler(lambda r: "posted")
        esp32_akri.akri_set_info_handler(lambda r: "info")
        esp32_akri.akri_set_onboard_handler(lambda r: "onboard")
        esp32_akri.akri_set_temp_handler(lambda r: "temp")
        esp32_akri.akri_set_handler_generic("/generic", "PUT", lambda r: "generic")
        set_with_context = esp32_akri.akri_set_handler_generic_with_context
        set_with_context("/context", "GET", lambda r, c: c, "context")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        task = esp32_akri.akri_server_start("127.0.0.1", port)
        await esp32_akri._default.started()
        wanted = {
            ("POST", "/update"): "posted",
            ("GET", "/info"): "info",
            ("GET", "/onboard"): "onboard",
            ("GET", "/temp"): "temp",
            ("PUT", "/generic"): "generic",
            ("GET", "/context"): "context",
        }
        for (method, path), text in wanted.items():
            url = f"http://127.0.0.1:{port}{path}"
            got = await asyncio.to_thread(httpx.request, method, url, trust_env=False)
            assert got.text == text
        await esp32_akri.akri_server_end()
        assert task.done()

    asyncio.run(run())


async def raw(port: int, request: bytes, end: bool = True) -> bytes:
    """Send bytes as they are; everything that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if end:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def with_server(play: Callable[[AkriServer], Awaitable[None]]) -> None:
    """Serve /info on a free port while playing."""

    async def run() -> None:
        server = AkriServer()
        server.set_handler_generic("/info", "GET", lambda r: "alive")
        server.start("127.0.0.1", 0)
        await server.started()
        try:
            await play(server)
            assert b"alive" in await raw(server.port, b"GET /info HTTP/1.0\r\n\r\n")
        finally:
            await server.end()

    asyncio.run(run())


MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01",
    b"GET\r\n\r\n",
    b"GET /info\r\n\r\n",
    b"GET /info HTTP\r\n\r\n",
    b"GET /info HTTP/1.0\r\nno colon\r\n\r\n",
    b"POST /info HTTP/1.0\r\nContent-Length: many\r\n\r\n",
    b"POST /info HTTP/1.0\r\nContent-Length: -1\r\n\r\n",
    b"POST /info HTTP/1.0\r\nContent-Length: 10\r\n\r\nshort",
    b"GET /\xff\xfe HTTP/1.0\r\n\r\n",
    b"GET /info HTTP/1.0\r\n" + b"A: b\r\n" * 100 + b"\r\n",
    b"GET /" + b"a" * 10_000,
]


@pytest.mark.parametrize("request_bytes", MALFORMED)
def test_what_is_no_request_gets_400_and_no_word_on_the_console(
    request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async def play(server: AkriServer) -> None:
        assert (await raw(server.port, request_bytes)).startswith(b"HTTP/1.0 400 ")

    with_server(play)
    assert capfd.readouterr() == ("", "")


def test_a_client_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 0.1)

    async def play(server: AkriServer) -> None:
        unfinished = b"POST /info HTTP/1.0\r\nContent-Length: 9\r\n\r\nabc"
        for start in (b"", b"GET /info HT", unfinished):
            assert await raw(server.port, start, end=False) == b""

    with_server(play)


def test_connections_over_the_limit_are_closed_and_the_others_live() -> None:
    async def play(server: AkriServer) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        ended = await asyncio.gather(*(ends_soon(reader) for reader, _ in silent))
        # One more than strangers get: these come from the board's own machine.
        assert ended.count(True) == 20 - MAX_CONNECTIONS - 1
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        while server.connections:
            await asyncio.sleep(0)

    with_server(play)


async def ends_soon(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 0.5) == b""
    except TimeoutError:
        return False


def test_no_connection_outlives_the_server() -> None:
    async def run() -> None:
        called = []
        server = AkriServer()
        server.set_handler_generic("/update", "POST", lambda r: called.append(r) or "started")
        server.start("127.0.0.1", 0)
        await server.started()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /update HTTP/1.0\r\nContent-Length: 2\r\n\r\na")
        while not server.connections:
            await asyncio.sleep(0)
        await asyncio.wait_for(server.end(), 5)
        writer.write(b"b")
        assert await reader.read() == b""
        assert called == []
        writer.close()

    asyncio.run(run())


def test_strangers_who_hold_every_connection_do_not_keep_the_board_from_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The self-test of new firmware asks the board's own endpoints from the board itself."""

    async def play(server: AkriServer) -> None:
        server.set_handler_generic("/own", "GET", lambda req: "here")
        monkeypatch.setattr(akri_server, "is_loopback", lambda peer: False)
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
        ended = await asyncio.gather(*(ends_soon(reader) for reader, _ in held))
        assert ended.count(True) == 20 - MAX_CONNECTIONS
        monkeypatch.undo()
        assert b"here" in await raw(server.port, b"GET /own HTTP/1.0\r\n\r\n")
        for _, writer in held:
            writer.close()

    with_server(play)


def test_the_boards_own_connections_are_told_on_both_runtimes() -> None:
    for peer in (("127.0.0.1", 5), b"\x02\x00\x1f\x90\x7f\x00\x00\x01" + bytes(8)):
        assert is_loopback(peer)
    for peer in (("10.0.0.1", 5), ("::1", 5, 0, 0), b"\x02\x00\x1f\x90\x0a\x7f\x00\x01", b"", None):
        assert not is_loopback(peer)


@pytest.mark.parametrize("turns", range(6))
def test_a_server_ended_while_it_starts_leaves_no_port_behind(turns: int) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        server = AkriServer()
        server.start("127.0.0.1", port)
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.end()
        again = AkriServer()
        again.start("127.0.0.1", port)
        await again.started()
        await again.end()

    asyncio.run(run())
