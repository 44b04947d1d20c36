"""The attestation server refuses bad certificates: each has one thing wrong and is otherwise signed
by the enrolled board's real root key, so it is that thing that refuses it.

Not here: how the registry finds roots, and requests that are odd as HTTP.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dice_auth.registry_url import open_registry
from dice_auth.verification import Verdict
from tests.dice_auth import bad_certificates as bad
from tests.dice_auth.bad_certificate_cases import (
    ACCEPTED,
    ACCEPTED_BODIES,
    CASES,
    ENROLLED,
    GOOD,
    JUNK,
    NOT_ENROLLED,
    NOW,
    OTHER,
    PEM,
    REFUSED_BODIES,
    ROOT,
    UNREADABLE,
    dated,
)
from tests.dice_auth.bad_certificates import encoded, integer
from tests.dice_auth.test_server import exchange, request, running
from tests.dice_auth.verifier import Verifier

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def verify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    """ENROLLED and OTHER are enrolled."""
    url = f"sqlite:///{tmp_path_factory.mktemp('registry')}/registry.db"
    verifier = Verifier(url, [ENROLLED.root, OTHER.root])
    yield verifier
    verifier.close()


def verdict_with_root(url: str, root: bytes, certificate: bytes, now: datetime) -> Verdict:
    verifier = Verifier(url, [root])
    try:
        return verifier(encoded(certificate), now)
    finally:
        verifier.close()


def test_taken_apart_and_put_together_a_certificate_is_the_boards_own(verify: Verifier) -> None:
    """So what is wrong with the others is what was put in the place of a part."""
    assert GOOD.der() == ENROLLED.certificate
    assert ROOT.der() == ENROLLED.root
    assert bad.resigned(ENROLLED.certificate, 1) == ENROLLED.certificate
    assert verify(encoded(GOOD.der())) == verify(ENROLLED.pem.encode())
    assert verify(encoded(GOOD.der())).accepted


@pytest.mark.parametrize("name", CASES)
def test_a_bad_certificate_is_refused_by_the_check_it_fails(name: str, verify: Verifier) -> None:
    make, failed = CASES[name]
    verdict = verify(encoded(make()))
    assert not verdict.accepted
    assert verdict.failed
    if failed:
        assert verdict.failed == failed


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_only_looks_odd_is_accepted(name: str, verify: Verifier) -> None:
    assert verify(encoded(ACCEPTED[name]())).accepted


# Dates of the board's certificate and of its root, by the clock of the request


def test_both_certificates_begin_on_the_day_that_open_dice_chose(verify: Verifier) -> None:
    begin = datetime(2018, 3, 22, 23, 59, 59, tzinfo=UTC)
    body = ENROLLED.pem.encode()
    assert verify(body, begin).accepted
    assert verify(body, begin - SECOND).failed == ("not-yet-valid", "root-not-yet-valid")
    assert verify(body, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)).accepted


@pytest.mark.parametrize(
    ("moment", "failed"),
    [
        (datetime(2020, 1, 1, tzinfo=UTC) - SECOND, ("root-not-yet-valid",)),
        (datetime(2020, 1, 1, tzinfo=UTC), ()),
        (datetime(2021, 1, 1, tzinfo=UTC), ()),
        (datetime(2021, 1, 1, tzinfo=UTC) + SECOND, ("root-expired",)),
    ],
)
def test_a_roots_dates_count(moment: datetime, failed: tuple[str, ...], sqlite_url: str) -> None:
    root = ROOT.but(
        not_before=bad.utc_time("200101000000Z"), not_after=bad.utc_time("210101000000Z")
    )
    verdict = verdict_with_root(sqlite_url, root.der(), ENROLLED.certificate, moment)
    assert verdict.failed == failed
    assert verdict.accepted is (not failed)


def test_a_root_with_the_serial_of_a_c_board_is_as_good_as_another(sqlite_url: str) -> None:
    root = ROOT.but(serial=integer(b"\x00\x01" + bytes(18)))
    assert verdict_with_root(sqlite_url, root.der(), ENROLLED.certificate, NOW).accepted


def test_the_clocks_zone_does_not_matter(sqlite_url: str) -> None:
    data = dated(not_after=bad.utc_time("260601000000Z"))
    for hours in (-12, 0, 14):
        zone = timezone(timedelta(hours=hours))
        for moment, failed in ((NOW, ()), (NOW + SECOND, ("expired",))):
            verdict = verdict_with_root(sqlite_url, ENROLLED.root, data, moment.astimezone(zone))
            assert verdict.failed == failed


@pytest.mark.parametrize("name", REFUSED_BODIES)
def test_a_body_without_a_boards_certificate_in_pem_is_refused(name: str, verify: Verifier) -> None:
    verdict = verify(REFUSED_BODIES[name])
    assert not verdict.accepted
    assert verdict.failed in (UNREADABLE, NOT_ENROLLED, ("is-root",))
    if b"BEGIN" not in REFUSED_BODIES[name]:
        assert verdict.failed == UNREADABLE


@pytest.mark.parametrize("name", ACCEPTED_BODIES)
def test_text_around_the_certificate_and_the_form_of_its_lines_do_not_matter(
    name: str, verify: Verifier
) -> None:
    assert verify(ACCEPTED_BODIES[name]).accepted


# The server itself


async def posted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, headers and body of the answer, as they came."""
    writer.write(request(body))
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[:-2])
    return status, headers, await reader.readexactly(int(headers[b"content-length"]))


class TestOverHttp:
    def test_every_bad_certificate_is_401_to_the_byte(self, sqlite_url: str) -> None:
        bodies = {
            **{name: encoded(make()) for name, (make, _) in CASES.items()},
            **{name: body for name, body in REFUSED_BODIES.items() if len(body) <= 16 * 1024},
        }

        async def run() -> None:
            async with open_registry(sqlite_url) as registry:
                for each in (ENROLLED, OTHER):
                    await registry.enrol(each.board_id, each.root)
            async with asyncio.timeout(60), running(sqlite_url) as address:
                reader, writer = await asyncio.open_connection(*address)
                try:
                    for name, body in bodies.items():
                        status, headers, content = await posted(reader, writer, body)
                        assert status == b"HTTP/1.1 401 Unauthorized", name
                        assert headers[b"content-type"] == b"application/json", name
                        assert content == b'{"status": "Certificate Invalid"}', name
                    # All that did no harm.
                    status, _, content = await posted(reader, writer, PEM)
                    assert status == b"HTTP/1.1 200 OK"
                    assert content == b'{"status": "Certificate OK"}'
                finally:
                    writer.close()
                    await asyncio.gather(writer.wait_closed(), return_exceptions=True)

        asyncio.run(run())

    def test_junk_before_a_certificate_counts_as_body(self, sqlite_url: str) -> None:
        async def run() -> None:
            async with open_registry(sqlite_url) as registry:
                await registry.enrol(ENROLLED.board_id, ENROLLED.root)
            async with asyncio.timeout(20), running(sqlite_url) as address:
                junk = b"\n".join(JUNK[at : at + 64] for at in range(0, len(JUNK), 64))
                fits = junk[: 16 * 1024 - len(PEM) - 1] + b"\n" + PEM
                assert (await exchange(address, request(fits)))[0] == 200
                for much in (b"x" + fits, junk + b"\n" + PEM):
                    assert (await exchange(address, request(much)))[0] == 413

        asyncio.run(run())
