"""Protocol 2 over real TLS: what a board that proves itself gets, and what no other gets."""

import asyncio
import base64
import hashlib
import json
import os
import re
import ssl
from pathlib import Path
from typing import Any

import pytest

import dice
from dice import evidence
from ota_agent import conversation, http_answer
from tests.ota_agent.attested_scene import (
    EVIDENCE,
    VERDICT,
    HttpBoard,
    Response,
    ScriptedServer,
    attested_scene,
    verdict,
)
from tests.ota_agent.board_peer import BoardPeer, board_context
from tests.ota_agent.conftest import make_identity
from tests.ota_agent.images import signed_image
from tests.ota_agent.running_agent import IMAGE

pytestmark = pytest.mark.usefixtures("quick_deadlines")
SHA256 = hashlib.sha256(IMAGE).hexdigest()
ETAG = f'"{SHA256}"'
BOTH_VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@BOTH_VERSIONS
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_board_that_proves_itself_gets_the_firmware(
    tmp_path: Path, version: ssl.TLSVersion, kind: str
) -> None:
    async def run() -> None:
        own = make_identity(tmp_path / kind, kind)
        async with attested_scene(tmp_path, identity=own) as here:

            def work(board: HttpBoard) -> tuple[bytes, Response]:
                nonce = board.challenge()
                attested = board.attest()
                assert attested.headers["content-type"] == "application/json"
                answer = json.loads(attested.body)
                assert answer["expires_in"] == 60
                return nonce, board.firmware(answer["token"])

            nonce, found = await here.talk(work, context=board_context(own.certificate, version))
            assert here.server.nonces == [nonce]
            assert (found.status, found.body) == (200, IMAGE)
            digest = base64.b64encode(hashlib.sha256(IMAGE).digest()).decode()
            assert found.headers["etag"] == ETAG
            assert found.headers["repr-digest"] == f"sha-256=:{digest}:"
            assert found.headers["accept-ranges"] == "bytes"
            assert "content-range" not in found.headers
            line = await here.agent.next_session()
            assert (line["outcome"], line["reason"]) == ("sent", "")
            assert (line["protocol"], line["verdict"]) == (2, "affirming")
            assert line["bytes"] == len(IMAGE)
            assert line["range"] == f"bytes 0-{len(IMAGE) - 1}/{len(IMAGE)}"
            assert line["firmware"] == "thermo 2.0.0 esp32"
            names = ("device", "hwmodel", "application", "version", "claims")
            assert [line[name] for name in names] == [VERDICT[name] for name in names]

    asyncio.run(run())


def test_the_attestation_server_gets_the_evidence_unread_and_the_channel(tmp_path: Path) -> None:
    """Even bytes that are no evidence: what is, is that server's to say."""

    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            der = ssl.PEM_cert_to_DER_cert(here.ca.read_text())
            await here.talk(lambda board: [board.challenge(), board.attest(b"\0no evidence\r\n")])
            (asked, nothing), (head, body) = here.server.requests
            assert asked.startswith(b"GET /challenge HTTP/1.1\r\n")
            assert nothing == b""
            assert head.startswith(b"POST /attest HTTP/1.1\r\n")
            assert b"\r\nContent-Type: application/eat+cwt\r\n" in head
            assert f"\r\nOTA-Channel: {hashlib.sha256(der).hexdigest()}\r\n".encode() in head
            assert body == b"\0no evidence\r\n"

    asyncio.run(run())


def test_what_a_board_signed_is_what_the_attestation_server_gets(
    tmp_path: Path, board_certificate: bytes
) -> None:
    """Evidence as boards make it, over the nonce and the certificate that this one saw."""

    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> bytes:
                nonce = board.challenge()
                shown = board.socket.getpeercert(binary_form=True) or b""
                claims = evidence.Claims(
                    nonce, bytes(17), "esp32", "thermo", "1.0.0",
                    hashlib.sha256(shown).digest(), bytes(32),
                )  # fmt: skip
                uds = dice.uds_from_mac(bytes.fromhex("020000000001"))
                private = dice.device_private_key(uds, bytes(64), bytes(64))
                made = evidence.encode(private, board_certificate, claims)
                assert board.attest(made).status == 200
                return made

            made = await here.talk(work)
            head, body = here.server.requests[-1]
            assert body == made
            claims = evidence.decode(body).claims
            assert claims.nonce == here.server.nonces[-1]
            assert f"\r\nOTA-Channel: {claims.channel.hex()}\r\n".encode() in head

    asyncio.run(run())


def test_the_channel_is_the_certificate_that_this_connection_was_shown(tmp_path: Path) -> None:
    """Also after the agent has loaded another one."""

    async def run() -> None:
        old = make_identity(tmp_path / "identity")
        new = make_identity(tmp_path / "renewed")
        ders = [ssl.PEM_cert_to_DER_cert(each.certificate.read_text()) for each in (old, new)]
        async with attested_scene(tmp_path, identity=old) as here:
            loop = asyncio.get_running_loop()

            async def renew() -> None:
                os.replace(new.key, old.key)
                os.replace(new.certificate, old.certificate)
                while (await here.agent.next_event())["event"] != "certificate-loaded":
                    continue

            def work(board: HttpBoard) -> None:
                board.challenge()
                asyncio.run_coroutine_threadsafe(renew(), loop).result(5)
                assert board.attest().status == 200

            await here.talk(work)
            context = board_context(old.certificate)
            await here.talk(lambda board: [board.challenge(), board.attest()], context=context)
            channels = [
                re.search(rb"OTA-Channel: ([0-9a-f]{64})\r\n", head)[1]  # type: ignore[index]
                for head in here.server.heads("/attest")
            ]
            assert channels == [hashlib.sha256(der).hexdigest().encode() for der in ders]

    asyncio.run(run())


def test_every_challenge_is_a_fresh_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            found = await here.talk(lambda board: [board.challenge() for _ in range(3)])
            found += await here.talk(lambda board: [board.challenge()])
            assert found == here.server.nonces
            assert len(set(found)) == 4

    asyncio.run(run())


# The token


def refused(response: Response) -> bool:
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.problem["title"] == "Unauthorized"
    return True


@pytest.mark.parametrize("header", [
    "X: y", "Authorization: Bearer", "Authorization: Bearer ", "Authorization: Basic {}",
    "Authorization: {}", "Authorization: Bearer {}x", "Authorization: Bearer x{}",
    "Authorization: Bearer \xff", "Authorization: Bearer " + "A" * 43,
])  # fmt: skip
def test_without_its_token_a_board_gets_nothing(tmp_path: Path, header: str) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> None:
                line = header.format(board.token())
                raw = f"GET /v2/firmware HTTP/1.1\r\nHost: ota-agent\r\n{line}\r\n\r\n"
                board.socket.sendall(raw.encode("latin-1"))
                assert refused(board.response())

            await here.talk(work)
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"]) == ("unauthorized", 0)

    asyncio.run(run())


def test_before_its_verdict_no_board_has_a_token(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            assert refused(await here.talk(lambda board: board.firmware("")))
            assert refused(await here.talk(lambda board: board.firmware("A" * 43)))

    asyncio.run(run())


def test_a_token_is_worth_nothing_on_another_connection(tmp_path: Path) -> None:
    """Nor to another board that has one of its own, while its own connection is still there."""

    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> None:
                token = board.token()
                with BoardPeer(here.agent.address, here.context) as other:
                    thief = HttpBoard(other)
                    assert refused(thief.firmware(token))
                    own = thief.token()
                    assert refused(thief.firmware(token))
                    assert refused(board.firmware(own))
                assert board.firmware(token).body == IMAGE

            await here.talk(work)

    asyncio.run(run())


def test_a_token_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_TOKEN_S", 0)

    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            assert refused(await here.talk(lambda board: board.firmware(board.token())))

    asyncio.run(run())


@pytest.mark.parametrize("second", ["refused", "unavailable"])
def test_new_evidence_ends_what_the_old_was_worth(tmp_path: Path, second: str) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> None:
                token = board.token()
                status = 401 if second == "refused" else 500
                here.server.attest = b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status
                assert board.attest().status == (401 if second == "refused" else 503)
                assert refused(board.firmware(token))

            await here.talk(work)

    asyncio.run(run())


def test_tokens_are_random_and_nowhere_in_the_log(tmp_path: Path, caplog: Any) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            tokens = await here.talk(lambda board: [board.token() for _ in range(3)])
            line = await here.agent.next_session()
            assert len(set(tokens)) == 3
            assert all(len(token) == 43 for token in tokens)
            assert not any(token in json.dumps(line) + caplog.text for token in tokens)

    asyncio.run(run())


# Which firmware


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"hwmodel": "ESP32"}, 200),
        ({"hwmodel": "esp32s3"}, 404),
        ({"hwmodel": "ESP32-S3"}, 404),
        ({"application": "other"}, 404),
        ({"application": "THERMO"}, 404),
        ({"application": ""}, 200),
        ({"version": "2.0.0"}, 204),
        ({"version": "2.0"}, 200),
        ({"version": "3.0.0"}, 200),
        ({"version": ""}, 200),
        ({"version": "2.0.0", "application": "other"}, 404),
        ({"version": "2.0.0", "hwmodel": "esp32c6"}, 404),
        ({"version": "2.0.0", "image_digest": SHA256}, 204),
        ({"version": "2.0.0", "image_digest": hashlib.sha256(IMAGE[:-4096]).hexdigest()}, 204),
        ({"version": "2.0.0", "image_digest": "00" * 32}, 200),
        ({"version": "1.0.0", "image_digest": SHA256}, 204),
    ],
)
def test_a_firmware_is_for_those_whose_chip_and_application_it_fits(
    tmp_path: Path, changes: dict[str, str], status: int
) -> None:
    async def run() -> None:
        script = ScriptedServer(attest=verdict(**changes))
        async with attested_scene(tmp_path, script) as here:
            found = await here.talk(lambda board: board.firmware(board.token()))
            assert found.status == status
            outcome = {200: "sent", 204: "up-to-date", 404: "no-firmware"}[status]
            assert (await here.agent.next_session())["outcome"] == outcome
            if status == 204:
                assert found.headers["etag"] == ETAG
                assert "content-length" not in found.headers
            if status == 404:
                assert "no firmware for" in found.problem["detail"]

    asyncio.run(run())


def test_a_firmware_without_a_name_is_for_every_board_of_its_chip(tmp_path: Path) -> None:
    image = signed_image(project="", version="")

    async def run() -> None:
        script = ScriptedServer(attest=verdict(version=""))
        async with attested_scene(tmp_path, script, image=image) as here:
            assert (await here.talk(lambda board: board.firmware(board.token()))).body == image

    asyncio.run(run())


# Ranges


@pytest.mark.parametrize("first", [1, 63, 16384, 16385, len(IMAGE) - 1])
def test_a_board_that_was_cut_off_goes_on_where_it_was(tmp_path: Path, first: int) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            found = await here.talk(
                lambda board: board.firmware(
                    board.token(), f"Range: bytes={first}-", f"If-Range: {ETAG}"
                )
            )
            assert found.status == 206
            assert found.body == IMAGE[first:]
            size = len(IMAGE)
            assert found.headers["content-range"] == f"bytes {first}-{size - 1}/{size}"
            assert found.headers["etag"] == ETAG
            assert "repr-digest" in found.headers
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"]) == ("sent", size - first)
            assert line["range"] == f"bytes {first}-{size - 1}/{size}"

    asyncio.run(run())


def test_an_image_is_whole_whatever_the_pieces_it_was_fetched_in(tmp_path: Path) -> None:
    """Over one connection, with one token."""

    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> bytes:
                token = board.token()
                received = b""
                for end in (1, 2, 5000, 16384, 40_000, len(IMAGE)):
                    found = board.firmware(token, f"Range: bytes={len(received)}-{end - 1}")
                    assert found.status == 206
                    received += found.body
                return received

            assert await here.talk(work) == IMAGE
            line = await here.agent.next_session()
            assert (line["outcome"], line["bytes"]) == ("sent", len(IMAGE))

    asyncio.run(run())


@pytest.mark.parametrize("bandwidth", [None, 200_000])
def test_a_bandwidth_limit_holds_for_a_part_as_well(tmp_path: Path, bandwidth: int | None) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, bandwidth=bandwidth) as here:
            found = await here.talk(
                lambda board: board.firmware(board.token(), "Range: bytes=10001-50000")
            )
            assert found.body == IMAGE[10001:50001]

    asyncio.run(run())


def test_a_range_that_is_not_there_and_one_of_another_image(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> None:
                token = board.token()
                behind = board.firmware(token, f"Range: bytes={len(IMAGE)}-", f"If-Range: {ETAG}")
                assert behind.status == 416
                assert behind.headers["content-range"] == f"bytes */{len(IMAGE)}"
                assert behind.problem["title"] == "Requested Range Not Satisfiable"
                for headers in (
                    ("Range: bytes=5-", f'If-Range: "{"0" * 64}"'),
                    ("Range: bytes=0-4,6-9", f"If-Range: {ETAG}"),
                ):
                    whole = board.firmware(token, *headers)
                    assert (whole.status, whole.body) == (200, IMAGE)

            await here.talk(work)

    asyncio.run(run())


def test_a_new_firmware_between_two_requests_is_served_whole_to_who_had_the_old(
    tmp_path: Path,
) -> None:
    new = signed_image(version="3.0.0", size=80_000)

    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> None:
                token = board.token()
                begun = board.firmware(token, "Range: bytes=0-9999")
                assert begun.headers["etag"] == ETAG
                beside = tmp_path / "new.bin"
                beside.write_bytes(new)
                os.replace(beside, tmp_path / "firmware.bin")
                rest = board.firmware(
                    token, "Range: bytes=10000-", f"If-Range: {begun.headers['etag']}"
                )
                assert (rest.status, rest.body) == (200, new)
                etag = f'"{hashlib.sha256(new).hexdigest()}"'
                assert rest.headers["etag"] == etag
                part = board.firmware(token, "Range: bytes=10000-", f"If-Range: {etag}")
                assert (part.status, part.body) == (206, new[10000:])

            await here.talk(work)
            assert (await here.agent.next_session())["firmware"] == "thermo 3.0.0 esp32"

    asyncio.run(run())


# Requests that are none, and connections


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/firmware/", 404),
        ("GET", "/v2/challenge?x", 404),
        ("GET", "/v2/../v2/challenge", 404),
        ("HEAD", "/v2/firmware", 405),
        ("HEAD", "/v2/challenge", 405),
        ("DELETE", "/v2/firmware", 405),
        ("GET", "/v2/attest", 405),
        ("OPTIONS", "/v2/attest", 405),
    ],
)
def test_other_methods_and_paths_are_refused_and_the_connection_goes_on(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> None:
                found = board.ask(method, path)
                assert found.status == status
                if method != "HEAD":
                    assert found.problem["detail"]
                if status == 405:
                    allowed = "POST" if path == "/v2/attest" else "GET"
                    assert found.headers["allow"] == allowed
                assert board.firmware(board.token()).body == IMAGE

            await here.talk(work)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v2/challenge HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2/challenge HTTP/1.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /v2/challenge HTTP/1.1\nHost: a\n\n", 400),
        (b"POST /v2/attest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         b"0\r\n\r\n", 411),
        (b"POST /v2/attest HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}"
         b"GET /v2/challenge HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000, 431),
        (b"POST /v2/attest HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n" + bytes(4097), 413),
        (b"hello\r\n\r\n", 400),
        (b"S" * 100_000, 431),
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_so_and_ends_the_connection(
    tmp_path: Path, board_certificate: bytes, sent: bytes, status: int
) -> None:
    async def run() -> None:
        async with (
            attested_scene(tmp_path) as here,
            here.unharmed(board_certificate),
        ):

            def work(board: HttpBoard) -> None:
                board.socket.sendall(sent)
                found = board.response()
                assert found.status == status
                assert found.headers["connection"] == "close"
                assert found.problem["detail"]
                assert board.is_closed()

            await here.talk(work)
            line = await here.agent.next_session()
            assert (line["outcome"], line["protocol"]) == ("bad-request", 2)
            # That of `unharmed` alone.
            assert len(here.server.requests) == 1

    asyncio.run(run())


def test_evidence_in_pieces_of_one_byte_is_taken(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> None:
                head = (
                    "POST /v2/attest HTTP/1.1\r\nHost: a\r\nContent-Type: Application/EAT+cwt; v=1"
                    "\r\nContent-Length: 300\r\n\r\n"
                )
                for byte in head.encode() + EVIDENCE[:300]:
                    board.socket.sendall(bytes([byte]))
                assert board.response().status == 200

            await here.talk(work)
            assert here.server.requests[-1][1] == EVIDENCE[:300]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (("Content-Type: text/plain",), EVIDENCE, 415),
        ((), EVIDENCE, 415),
        (("Content-Type: application/eat+cwt",), b"", 400),
    ],
)
def test_what_is_no_evidence_is_not_passed_on(
    tmp_path: Path, headers: tuple[str, ...], body: bytes, status: int
) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            found = await here.talk(
                lambda board: board.ask("POST", "/v2/attest", *headers, body=body)
            )
            assert found.status == status
            assert here.server.requests == []

    asyncio.run(run())


def test_evidence_of_4096_bytes_is_passed_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            assert (await here.talk(lambda board: board.attest(bytes(4096)))).status == 200
            assert here.server.requests[-1][1] == bytes(4096)

    asyncio.run(run())


def test_requests_sent_together_are_answered_in_their_order(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> list[int]:
                for path in ("/v2/challenge", "/a", "/v2/challenge", "/v2/firmware", "/b"):
                    board.send("GET", path)
                return [board.response().status for _ in range(5)]

            assert await here.talk(work) == [200, 404, 200, 401, 404]

    asyncio.run(run())


def test_a_board_that_sends_requests_without_end_is_answered_a_hundred(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with (
            attested_scene(tmp_path) as here,
            here.unharmed(board_certificate),
        ):

            def work(board: HttpBoard) -> list[Response]:
                board.socket.sendall(b"GET /x HTTP/1.1\r\nHost:\r\n\r\n" * 1000)
                return [board.response() for _ in range(100)]

            found = await here.talk(work)
            assert {each.status for each in found} == {404}
            assert [each.headers.get("connection") for each in found] == [None] * 99 + ["close"]
            await here.agent.next_session()

    asyncio.run(run())


def test_a_board_that_asks_for_challenges_without_end_is_told_to_come_again(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> Response:
                for _ in range(20):
                    board.challenge()
                return board.ask("GET", "/v2/challenge")

            found = await here.talk(work)
            assert (found.status, found.headers["retry-after"]) == (429, "30")
            assert len(here.server.nonces) == 20

    asyncio.run(run())


def test_a_board_for_which_no_bandwidth_is_left_is_told_to_come_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, bandwidth=2 * 1024, accept_rate=100) as here:
            ready, done = asyncio.Event(), asyncio.Event()
            loop = asyncio.get_running_loop()

            def slow(board: HttpBoard) -> None:
                board.send("GET", "/v2/firmware", f"Authorization: Bearer {board.token()}")
                board.socket.recv(1)
                loop.call_soon_threadsafe(ready.set)
                asyncio.run_coroutine_threadsafe(done.wait(), loop).result(10)

            boards = []
            for _ in range(2):
                boards.append(asyncio.create_task(here.talk(slow)))
                await ready.wait()
                ready.clear()
            found = await here.talk(lambda board: board.firmware(board.token()))
            assert (found.status, found.headers["retry-after"]) == (429, "30")
            done.set()
            await asyncio.gather(*boards)

    asyncio.run(run())


def test_a_board_that_asks_for_it_is_closed_after_its_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> Response:
                found = board.firmware(board.token(), "Connection: close")
                assert board.is_closed()
                return found

            found = await here.talk(work)
            assert (found.body, found.headers["connection"]) == (IMAGE, "close")
            assert (await here.agent.next_session())["outcome"] == "sent"

    asyncio.run(run())


def test_a_board_that_waits_for_100_continue_gets_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: HttpBoard) -> Response:
                lines = ("Content-Type: application/eat+cwt", "Expect: 100-continue")
                board.send("POST", "/v2/attest", *lines, "Content-Length: 5")
                assert board.response(has_body=False).status == 100
                board.socket.sendall(b"\xd2\x84abc")
                return board.response()

            assert (await here.talk(work)).status == 200

    asyncio.run(run())


def test_boards_of_both_protocols_are_served_at_once(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:
            first = [here.update(board_certificate) for _ in range(10)]
            second = [here.talk(lambda board: board.firmware(board.token())) for _ in range(10)]
            found = await asyncio.gather(*first, *second)
            assert found[:10] == [IMAGE] * 10
            assert [each.body for each in found[10:]] == [IMAGE] * 10

    asyncio.run(run())


def test_an_agent_that_requires_attestation_refuses_protocol_1(
    tmp_path: Path, board_certificate: bytes
) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path, require_attestation=True) as here:
            assert await here.update(board_certificate) == b""
            line = await here.agent.next_session()
            assert (line["outcome"], line["protocol"]) == ("attestation-required", 1)
            assert here.server.requests == []
            assert (await here.talk(lambda board: board.firmware(board.token()))).body == IMAGE

    asyncio.run(run())


@pytest.mark.parametrize("first", [0x00, 0x16, ord("5"), ord("["), 0xC3, 0xFF])
def test_what_is_neither_protocol_is_closed_without_a_word(tmp_path: Path, first: int) -> None:
    async def run() -> None:
        async with attested_scene(tmp_path) as here:

            def work(board: BoardPeer) -> bytes:
                board.socket.sendall(bytes([first]))
                return board.read_all()

            assert await here.board(work) == b""
            line = await here.agent.next_session()
            assert (line["outcome"], line["protocol"]) == ("unknown-protocol", None)

    asyncio.run(run())


GOLDEN = """\
HTTP/1.1 200 OK\r
Date: Thu, 26 Nov 2026 12:00:00 GMT\r
Cache-Control: no-store\r
Content-Type: application/octet-stream\r
Content-Length: 32\r
\r
NONCENONCENONCENONCENONCENONCE32\
HTTP/1.1 200 OK\r
Date: Thu, 26 Nov 2026 12:00:00 GMT\r
Cache-Control: no-store\r
Content-Type: application/json\r
Content-Length: 93\r
\r
{"token":"0123456789-abcdefghijklmnopqrstuvwxyz_ABCDE","expires_in":60,"verdict":"affirming"}\
HTTP/1.1 206 Partial Content\r
Date: Thu, 26 Nov 2026 12:00:00 GMT\r
ETag: "SHA256"\r
Repr-Digest: sha-256=:DIGEST:\r
Content-Type: application/octet-stream\r
Accept-Ranges: bytes\r
Content-Range: bytes LAST-LAST/SIZE\r
Content-Length: 1\r
\r
"""


def test_golden_bytes_of_one_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the agent answers, byte by byte. Of the image the last byte, which is 0xff."""
    token = "0123456789-abcdefghijklmnopqrstuvwxyz_ABCDE"
    monkeypatch.setattr(conversation.secrets, "token_urlsafe", lambda size: token)
    monkeypatch.setattr(http_answer, "_date", lambda second: "Thu, 26 Nov 2026 12:00:00 GMT")

    async def run() -> None:
        nonce = b"NONCENONCENONCENONCENONCENONCE32"
        script = ScriptedServer(
            challenge=b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Length: 32\r\n\r\n" + nonce
        )
        async with attested_scene(tmp_path, script) as here:

            def work(board: HttpBoard) -> bytes:
                one, two = board.ask("GET", "/v2/challenge"), board.attest()
                three = board.firmware(
                    token, f"Range: bytes={len(IMAGE) - 1}-", f"If-Range: {ETAG}"
                )
                return b"".join(each.raw + each.body for each in (one, two, three))

            digest = base64.b64encode(hashlib.sha256(IMAGE).digest()).decode()
            expected = GOLDEN.replace("SHA256", SHA256).replace("DIGEST", digest)
            expected = expected.replace("LAST", str(len(IMAGE) - 1))
            expected = expected.replace("SIZE", str(len(IMAGE)))
            assert await here.talk(work) == expected.encode() + IMAGE[-1:]

    asyncio.run(run())
