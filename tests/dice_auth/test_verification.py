import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dice import certificate
from dice_auth.errors import RegistryError
from dice_auth.registry import Registry
from dice_auth.registry_url import open_registry
from dice_auth.verdict_queue import VerdictQueue
from dice_auth.verification import Verdict
from tests.dice_auth.boards import board

ENROLLED, STRANGER, OTHER = board(1), board(2), board(3)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@asynccontextmanager
async def registry_at(url: str) -> AsyncIterator[Registry]:
    async with open_registry(url) as registry:
        for each in (ENROLLED, OTHER):
            await registry.enrol(each.board_id, each.root)
        yield registry


def verdict_on(url: str, body: str | bytes, now: datetime = NOW) -> Verdict:
    async def run() -> Verdict:
        async with registry_at(url) as registry:
            return await VerdictQueue(registry).verify(
                body.encode() if isinstance(body, str) else body, now
            )

    return asyncio.run(run())


def test_an_enrolled_boards_certificate_is_accepted(sqlite_url: str) -> None:
    verdict = verdict_on(sqlite_url, ENROLLED.pem)
    assert verdict.accepted
    assert verdict.board_id == ENROLLED.board_id


def test_text_before_the_certificate_is_skipped_and_the_first_one_counts(sqlite_url: str) -> None:
    assert verdict_on(sqlite_url, "hello\r\n" + ENROLLED.pem + STRANGER.pem).accepted
    assert not verdict_on(sqlite_url, STRANGER.pem + ENROLLED.pem).accepted


def test_a_board_that_is_not_enrolled_is_refused(sqlite_url: str) -> None:
    assert verdict_on(sqlite_url, STRANGER.pem) == Verdict(None, ("not-enrolled",))


def test_an_enrolled_root_is_not_its_own_evidence(sqlite_url: str) -> None:
    verdict = verdict_on(sqlite_url, ENROLLED.root_pem)
    assert verdict.failed == ("is-root",)
    assert verdict.board_id == ENROLLED.board_id


def test_a_certificate_that_names_another_boards_root_is_refused_with_every_reason(
    sqlite_url: str,
) -> None:
    forged = STRANGER.certificate.replace(board(2).key_id, OTHER.key_id)
    assert forged != STRANGER.certificate
    verdict = verdict_on(sqlite_url, certificate.to_pem(forged))
    assert verdict.board_id == OTHER.board_id
    assert "signature" in verdict.failed
    assert "issuer" in verdict.failed


@pytest.mark.parametrize(
    "body",
    [
        b"", b"hello", b"\xff\xfe\x00", ENROLLED.certificate,
        b"-----BEGIN CERTIFICATE-----", ENROLLED.pem.replace("END", "FIN"),
        ENROLLED.pem[:200], certificate.to_pem(b"\x30\x03\x02\x01\x00"),
        certificate.to_pem(ENROLLED.certificate + b"\x00"),
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
    ],
)  # fmt: skip
def test_what_is_no_certificate_is_refused(sqlite_url: str, body: bytes) -> None:
    assert verdict_on(sqlite_url, body).failed == ("no-certificate",)


def test_every_byte_of_a_certificate_matters(sqlite_url: str) -> None:
    async def run() -> None:
        async with registry_at(sqlite_url) as registry:
            for at in range(len(ENROLLED.certificate)):
                flipped = bytearray(ENROLLED.certificate)
                flipped[at] ^= 1
                body = certificate.to_pem(bytes(flipped)).encode()
                assert not (await VerdictQueue(registry).verify(body, NOW)).accepted, at

    asyncio.run(run())


def test_the_validity_dates_count(sqlite_url: str) -> None:
    early = verdict_on(sqlite_url, ENROLLED.pem, datetime(2001, 1, 1, tzinfo=UTC))
    assert "not-yet-valid" in early.failed


def test_a_registry_fault_is_no_verdict(sqlite_url: str) -> None:
    async def run() -> None:
        async with registry_at(sqlite_url) as registry:
            Path(sqlite_url.removeprefix("sqlite:///")).unlink()
            with pytest.raises(RegistryError):
                await VerdictQueue(registry).verify(ENROLLED.pem.encode(), NOW)

    asyncio.run(run())
