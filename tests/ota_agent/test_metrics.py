"""What the agent counts, and how it is exposed to Prometheus."""

import asyncio
import json
import os
import time
from pathlib import Path

from ota_agent import counts
from ota_agent.asking import Findings
from ota_agent.counts import ABSENT, FINISHING, OUTCOMES, SERVING, Counts, Row
from ota_agent.exposition import exposition
from ota_agent.session_list import Overview
from tests.exposed_metrics import documented, exposed, has_no_complaint_from_promtool
from tests.ota_agent.agent_process import samples
from tests.ota_agent.attestation_peer import status
from tests.ota_agent.attested_scene import HttpBoard, attested_scene, refusal
from tests.ota_agent.images import signed_image
from tests.ota_agent.scene import Scene, scene
from tests.ports import free_port

FIRMWARE = {
    "chip": "esp32", "project": 'a "b" \\ c', "version": "1\n2", "bytes": 7, "sha256": "00",
    "is_default": True,
}  # fmt: skip
FOUND = Findings([Overview(3, [FIRMWARE], 2e9), Overview(2, [FIRMWARE], 1e9)])


def exposed_by(of: Counts, findings: Findings = FOUND) -> dict[str, float]:
    return samples(exposition(of, findings, "0.1.0").decode())


def test_promtool_and_the_parser_have_no_complaint_and_the_table_is_complete() -> None:
    text = exposition(Counts(3), FOUND, "0.1.0")
    assert exposed(text) == documented("agent.md", "ota_agent_")
    has_no_complaint_from_promtool(text)


def test_workers_are_added_up_and_a_replaced_one_goes_on() -> None:
    of = Counts(3)
    for worker in (0, 1, 2, 1):
        row = of.row(worker)
        row.session_began()
        row.session_moved(counts.GREETING, counts.SENDING)
        row.session_ended(1, "sent", 3.0)
        row.sent_bytes(100)
        row.turned_away("too-fast")
        row.question_ended(counts.EVIDENCE, counts.REFUSED, 0.02)
        row.question_ended(counts.CHALLENGE, counts.NOT_ASKED)
        row.note_event("firmware-not-loaded")
        row.note_event("firmware-loaded")
        row.note_event("firmware-not-pulled")
        row.breaker_is(is_open=True)
        row.live(SERVING, time.monotonic())
    found = exposed_by(of)
    assert found["ota_agent_sessions_total{outcome=sent,protocol=1}"] == 4
    assert found["ota_agent_session_seconds_bucket{le=2.5}"] == 0
    assert found["ota_agent_session_seconds_bucket{le=5.0}"] == 4
    assert found["ota_agent_session_seconds_sum"] == 12
    assert found["ota_agent_sent_bytes_total"] == 400
    assert found["ota_agent_turned_away_total{reason=too-fast}"] == 4
    asked = "ota_agent_attestation_questions_total"
    assert found[f"{asked}{{question=evidence,result=refused}}"] == 4
    assert found[f"{asked}{{question=challenge,result=not-asked}}"] == 4
    assert found["ota_agent_attestation_seconds_count"] == 4
    assert found["ota_agent_firmware_load_failures_total"] == 4
    assert found["ota_agent_firmware_pull_failures_total"] == 4
    assert found["ota_agent_circuit_breaker_open"] == 3
    assert found["ota_agent_sessions_open{state=sending}"] == 4
    assert found["ota_agent_workers_serving"] == found["ota_agent_workers"] == 3
    assert found["ota_agent_certificate_expiry_timestamp_seconds"] == 1e9
    of.worker_died(1, is_ending=False)
    of.worker_restarted(1)
    after = exposed_by(of)
    assert after["ota_agent_sessions_open{state=sending}"] == 2
    assert after["ota_agent_circuit_breaker_open"] == after["ota_agent_workers_alive"] == 2
    assert after["ota_agent_worker_restarts_total"] == 1
    assert {name for name in found if after[name] != found[name]} == {
        "ota_agent_sessions_open{state=sending}", "ota_agent_circuit_breaker_open",
        "ota_agent_workers_alive", "ota_agent_workers_serving",
        "ota_agent_worker_restarts_total",
    }  # fmt: skip


def test_a_fork_counts_into_the_same_memory() -> None:
    of = Counts(2)
    child = os.fork()
    if child == 0:
        of.row(1).session_ended(None, "handshake-failed", 0.1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert of.by_outcome()["failed"] == 1


def test_an_outcome_that_is_not_known_is_counted_as_another() -> None:
    of = Counts()
    of.row(0).session_ended(2, "a-new-one", 1.0)
    assert exposed_by(of)["ota_agent_sessions_total{outcome=other,protocol=2}"] == 1
    assert of.by_outcome()["failed"] == 1


def test_every_outcome_is_in_exactly_one_total() -> None:
    for outcome in OUTCOMES:
        of = Counts()
        of.row(0).session_ended(2, outcome, 1.0)
        totals = of.by_outcome()
        kinds = [totals[kind] for kind in ("sent", "up_to_date", "refused", "failed")]
        assert sorted(kinds) == [0, 0, 0, 1], outcome


def test_a_worker_without_a_turn_is_stalled_and_one_that_ends_is_not() -> None:
    of = Counts(3)
    of.row(0).live(SERVING, 100.0)
    of.row(1).live(SERVING, 100.0)
    of.row(1).beat(104.0)
    assert of.lives(106.0) == (2, 2, 1)
    assert not of.is_finishing
    of.row(0).live(FINISHING, 106.0)
    of.row(1).live(FINISHING, 106.0)
    assert of.lives(120.0) == (2, 0, 0)
    assert of.is_finishing
    of.row(0).live(ABSENT, 0.0)
    of.row(1).live(ABSENT, 0.0)
    assert not of.is_finishing


def test_counting_a_session_costs_a_few_microseconds() -> None:
    row = Row()

    def count() -> None:
        row.session_began()
        for at in range(counts.PARTING):
            row.session_moved(at, at + 1)
        row.question_ended(0, 0, 0.01)
        row.sent_bytes(1_000_000)
        row.session_left(counts.PARTING)
        row.session_ended(1, "sent", 1.0)

    def of_200() -> float:
        began = time.perf_counter()
        for _ in range(200):
            count()
        return (time.perf_counter() - began) / 200

    assert min(of_200() for _ in range(20)) < 20e-6


# What sessions leave


async def ask(port: int, path: str = "/metrics") -> str:
    """Of an agent in this process."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answer.partition("\r\n\r\n")[2]


async def metrics_of(here: Scene, port: int) -> dict[str, float]:
    """When all its sessions are over."""
    while True:
        found = samples(await ask(port))
        if not any(value for name, value in found.items() if "sessions_open" in name):
            return found


def test_what_comes_of_sessions_is_counted(tmp_path: Path, board_certificate: bytes) -> None:
    async def run() -> None:
        port = free_port()
        async with scene(tmp_path, admin=("127.0.0.1", port)) as here:
            assert await here.update(board_certificate)
            here.attestation.answer = status(401)
            assert await here.update(board_certificate) == b""
            here.attestation.answer = status(503)
            assert await here.update(board_certificate) == b""
            here.connect().close()
            for _ in range(4):
                await here.agent.next_session()
            found = await metrics_of(here, port)
            ended = {name for name in found if "sessions_total{" in name and found[name]}
            assert ended == {
                f"ota_agent_sessions_total{{outcome={outcome},protocol={protocol}}}"
                for outcome, protocol in (
                    ("sent", 1), ("refused", 1), ("attestation-unavailable", 1),
                    ("handshake-failed", "none"),
                )
            }  # fmt: skip
            for result in ("accepted", "refused", "unavailable"):
                name = f"{{question=certificate,result={result}}}"
                assert found[f"ota_agent_attestation_questions_total{name}"] == 1
            assert found["ota_agent_attestation_seconds_count"] == 3
            assert found["ota_agent_sent_bytes_total"] == len(here.image)
            # 2040-01-01, as the test's certificate has it.
            assert found["ota_agent_certificate_expiry_timestamp_seconds"] == 2208988800
            (info,) = [name for name in found if name.startswith("ota_agent_firmware_info")]
            assert "chip=esp32,project=thermo" in info

    asyncio.run(run())


def test_bytes_are_counted_while_they_are_sent(tmp_path: Path, board_certificate: bytes) -> None:
    async def run() -> None:
        port = free_port()
        image = signed_image(size=300_000)
        limits = {"send_buffer_bytes": 4096, "image": image, "admin": ("127.0.0.1", port)}
        async with scene(tmp_path, **limits) as here:
            ends = asyncio.Event()
            loop = asyncio.get_running_loop()

            def slow(board):  # type: ignore[no-untyped-def]
                board.socket.sendall(board_certificate)
                board.socket.recv(1)
                asyncio.run_coroutine_threadsafe(ends.wait(), loop).result(20)
                return board.read_all()

            board = asyncio.create_task(here.board(slow, receive_buffer=4096))
            async with asyncio.timeout(10):
                while not 0 < (samples(await ask(port)))["ota_agent_sent_bytes_total"] < 300_000:
                    pass
            ends.set()
            assert len(await board) == len(image) - 1
            await here.agent.next_session()
            found = await metrics_of(here, port)
            assert found["ota_agent_sent_bytes_total"] == len(image)

    asyncio.run(run())


def test_protocol_2_is_counted_and_shown(tmp_path: Path) -> None:
    async def run() -> None:
        port = free_port()
        async with attested_scene(tmp_path, admin=("127.0.0.1", port)) as here:
            loop = asyncio.get_running_loop()

            def session() -> dict[str, object]:
                text = asyncio.run_coroutine_threadsafe(ask(port, "/sessions"), loop).result(5)
                (found,) = json.loads(text)["sessions"]
                assert isinstance(found, dict)
                return found

            def work(board: HttpBoard) -> None:
                board.challenge()
                first = session()
                assert (first["protocol"], first["board"]) == (2, None)
                token = json.loads(board.attest().body)["token"]
                proved = session()
                assert (proved["state"], proved["board"]) == ("conversing", "24:0a:c4:00:00:01")
                assert (proved["bytes"], proved["total"]) == (0, None)
                assert board.firmware(token, "Range: bytes=100-").status == 206
                served = session()
                assert (served["state"], served["firmware"]) == ("conversing", "thermo 2.0.0 esp32")

            await here.talk(work)
            here.server.attest = refusal(403, check="revoked")

            def refused(board: HttpBoard) -> None:
                board.challenge()
                assert board.attest().status == 403

            await here.talk(refused)
            found = await metrics_of(here, port)
            assert found["ota_agent_challenges_total"] == 2
            asked = "ota_agent_attestation_questions_total{question="
            assert found[f"{asked}challenge,result=accepted}}"] == 2
            assert found[f"{asked}evidence,result=accepted}}"] == 1
            assert found[f"{asked}evidence,result=refused}}"] == 1
            assert found["ota_agent_sessions_total{outcome=sent,protocol=2}"] == 1
            assert found["ota_agent_sessions_total{outcome=refused,protocol=2}"] == 1
            assert found["ota_agent_sent_bytes_total"] == len(here.image) - 100

    asyncio.run(run())


def test_a_server_that_is_down_is_counted(tmp_path: Path, board_certificate: bytes) -> None:
    async def run() -> None:
        port = free_port()
        async with scene(tmp_path, status(503), admin=("127.0.0.1", port)) as here:
            asked = "ota_agent_attestation_questions_total{question=certificate,result="
            for _ in range(6):
                await here.update(board_certificate)
            found = await metrics_of(here, port)
            assert found["ota_agent_circuit_breaker_open"] == 1
            assert found[f"{asked}unavailable}}"] == 5
            assert found[f"{asked}not-asked}}"] == 1
            here.attestation.answer = status(200)
            async with asyncio.timeout(10):
                while await here.update(board_certificate) == b"":
                    pass
            assert (await metrics_of(here, port))["ota_agent_circuit_breaker_open"] == 0

    asyncio.run(run())
