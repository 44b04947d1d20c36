"""POST /attest: good evidence, and what somebody might show in its place. Whatever it is, nothing
but the whole truth of an enrolled board is affirmed."""

import asyncio
import random
from pathlib import Path

import cwt
import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from dice import cbor, cbor_reader, certificate, certificate_writer, evidence, keys
from dice_auth.appraisal import Appraisal, appraise
from dice_auth.policy import DEFAULT_POLICY
from dice_auth.registry import Revocation
from dice_auth.registry_url import open_registry
from dice_auth.sqlite_registry import SqliteRegistry
from ota_crypto import p256, sha256, sha512
from tests.dice_auth.attesting import (
    BOARD,
    CHANNEL,
    IMAGE_DIGEST,
    OTHER,
    Agent,
    ProvedBoard,
    events,
    mac_board,
    proved_board,
    with_agents,
)
from tests.dice_auth.verifier import NOW

STRANGER = proved_board(3)
MAC = "24:0a:c4:12:34:56"


def test_good_evidence_is_affirmed_with_what_it_claims(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.judge()).verdict == {
            "device": BOARD.board_id, "hwmodel": "esp32s3", "application": "thermo",
            "version": "1.2.3", "image_digest": IMAGE_DIGEST.hex(), "verdict": "affirming",
            "claims": "self-asserted",
        }  # fmt: skip
        async with open_registry(registry_url) as registry:
            assert await registry.get(BOARD.board_id) is not None

    with_agents(registry_url, work)


def test_what_is_affirmed_an_independent_library_reads_too(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        nonce = await agent.challenge()
        data = BOARD.evidence(nonce)
        assert (await agent.attest(data)).status == 200
        presented = x509.load_der_x509_certificate(BOARD.certificate)
        key = cwt.COSEKey.new(_public_key_of(presented))
        payload = cwt.COSE.new().decode(data, key)
        claims = cbor_reader.decode(payload)
        assert claims[10] == nonce
        assert claims[-70001] == CHANNEL

    with_agents(sqlite_url, work)


def _public_key_of(presented: x509.Certificate) -> dict[int, object]:
    numbers = presented.public_key().public_numbers()  # type: ignore[union-attr]
    return {
        1: 2, 3: -7, -1: 1,
        -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big"),  # type: ignore[union-attr]
    }  # fmt: skip


def test_the_version_last_seen_is_recorded(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        await agent.judge(version="1.2.3")
        await agent.judge(version="1.2.4")
        await agent.judge(version="6.6.6", private_key=OTHER.private_key)

    with_agents(registry_url, work)

    async def look(agent: Agent) -> None:
        async with open_registry(registry_url) as registry:
            record = await registry.get(BOARD.board_id)
            assert record is not None
            assert record.last_version == "1.2.4"
            assert record.last_seen is not None
            assert record.last_verdict == "refused: evidence-signature"
            other = await registry.get(OTHER.board_id)
            assert other is not None
            assert other.last_version is None

    with_agents(registry_url, look)


def test_a_certificate_of_protocol_1_leaves_the_version_as_it_was(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        await agent.judge()
        pem = certificate.to_pem(BOARD.certificate).encode()
        assert (await agent.ask("POST", "/", body=pem)).status == 200

    with_agents(registry_url, work)

    async def look(agent: Agent) -> None:
        async with open_registry(registry_url) as registry:
            record = await registry.get(BOARD.board_id)
            assert record is not None
            assert (record.last_version, record.last_verdict) == ("1.2.3", "accepted")

    with_agents(registry_url, look)


# Who forges, and what he has: everything but one thing is as it should be.


def test_a_stolen_certificate_without_its_key_is_refused(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.judge(private_key=STRANGER.private_key)
        assert reply.refusal == (401, "evidence-signature")

    with_agents(sqlite_url, work)


def test_board_a_s_certificate_with_board_b_s_signature_is_refused(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.judge(BOARD, private_key=OTHER.private_key)
        assert reply.refusal == (401, "evidence-signature")
        reply = await agent.judge(OTHER, private_key=BOARD.private_key)
        assert reply.refusal == (401, "evidence-signature")

    with_agents(sqlite_url, work)


def test_a_board_that_claims_to_be_another_is_refused(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.judge(BOARD, ueid=evidence.ueid_of(OTHER.root_key))
        assert reply.refusal == (401, "ueid")

    with_agents(sqlite_url, work)


def test_a_root_in_the_place_of_the_certificate_is_refused(sqlite_url: str) -> None:
    """Even signed with the root's own key, which only the board's first code layer has."""

    async def work(agent: Agent) -> None:
        key = keys.private_key_from_cdi(BOARD.uds)  # type: ignore[attr-defined]
        reply = await agent.judge(presented=BOARD.root, private_key=key)
        assert reply.refusal == (401, "is-root")

    with_agents(sqlite_url, work)


def test_a_board_that_is_not_enrolled_is_refused(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.judge(STRANGER)).refusal == (401, "not-enrolled")

    with_agents(sqlite_url, work)


def test_a_stranger_s_layer_under_an_enrolled_name_is_refused(sqlite_url: str) -> None:
    """A certificate that names the enrolled root as its issuer, signed by somebody else."""

    async def work(agent: Agent) -> None:
        own = certificate.parse(STRANGER.certificate)
        parent = certificate.parse(BOARD.root)
        body = certificate_writer.to_be_signed(
            parent.subject_key_id, own.subject_key_id, own.public_key, STRANGER.inputs
        )
        root_key = keys.private_key_from_cdi(STRANGER.uds)  # type: ignore[attr-defined]
        signature = p256.sign(root_key, sha512(body).digest())
        forged = certificate_writer.certificate(body, signature)
        reply = await agent.judge(BOARD, presented=forged, private_key=STRANGER.private_key)
        assert reply.refusal == (401, "signature")

    with_agents(sqlite_url, work)


def test_evidence_for_another_channel_is_refused(sqlite_url: str) -> None:
    """A relay in the middle has a certificate of its own: the board has seen that one."""

    async def work(agent: Agent) -> None:
        relayed = await agent.evidence_of(channel=bytes(32))
        assert (await agent.attest(relayed)).refusal == (401, "channel")
        # Nor does it help to show it to the agent whose certificate that is: the nonce is used up.
        assert (await agent.attest(relayed, bytes(32))).refusal == (401, "nonce")

    with_agents(sqlite_url, work)


def test_a_revoked_board_is_known_and_not_allowed(registry_url: str) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.judge()).status == 200
        async with open_registry(registry_url) as registry:
            await registry.revoke(BOARD.board_id, Revocation("stolen", 1))
        assert (await agent.judge()).refusal == (403, "revoked")
        assert (await agent.judge(OTHER)).status == 200

    with_agents(registry_url, work)


def test_a_revoked_board_s_certificate_in_other_hands_is_no_evidence(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        async with open_registry(sqlite_url) as registry:
            await registry.revoke(BOARD.board_id, Revocation("stolen", 1))
        reply = await agent.judge(private_key=STRANGER.private_key)
        assert reply.refusal == (401, "evidence-signature")

    with_agents(sqlite_url, work)


@pytest.mark.parametrize("board_id", [MAC, MAC.upper(), MAC.replace(":", "-"), "240ac4123456"])
def test_a_secret_made_from_the_mac_is_refused(sqlite_url: str, board_id: str) -> None:
    board = mac_board(MAC, board_id)

    async def work(agent: Agent) -> None:
        assert (await agent.judge(board)).refusal == (403, "identity-mac")

    with_agents(sqlite_url, work, boards=(board,))


def test_a_board_with_a_secret_of_its_own_may_be_called_by_its_mac(sqlite_url: str) -> None:
    board = proved_board(1, board_id=MAC)

    async def work(agent: Agent) -> None:
        assert (await agent.judge(board)).verdict["device"] == MAC

    with_agents(sqlite_url, work, boards=(board,))


class _Forgiving(SqliteRegistry):
    """Takes any nonce: the other checks have to find out."""

    async def use_nonce(self, nonce: bytes) -> bool:
        return True


def test_no_evidence_with_one_byte_changed_is_affirmed(tmp_path: Path) -> None:
    """Each byte is changed in one of its bits, and then in all."""
    seed = random.randrange(2**32)
    print("seed", seed)
    bits = random.Random(seed)
    data = BOARD.evidence(bytes(32))

    async def run() -> None:
        async with _Forgiving(tmp_path / "registry.db") as registry:
            await registry.enrol(BOARD.board_id, BOARD.root)

            async def judge(shown: bytes) -> Appraisal:
                return await appraise(shown, CHANNEL, registry, DEFAULT_POLICY, NOW)

            assert (await judge(data)).status == 200
            for at in range(len(data)):
                for flip in (1 << bits.randrange(8), 0xFF):
                    changed = bytearray(data)
                    changed[at] ^= flip
                    assert (await judge(bytes(changed))).status == 401, (at, flip)

    asyncio.run(run())


@given(st.binary(max_size=300) | st.binary(max_size=300).map(b"\xd2\x84\x43\xa1\x01\x26".__add__))
@settings(max_examples=300, deadline=None)
def test_no_bytes_at_all_are_affirmed_or_a_fault(data: bytes) -> None:
    async def judge() -> Appraisal:
        # Never asked: what is no evidence names no nonce and no board.
        return await appraise(data, CHANNEL, None, DEFAULT_POLICY, NOW)  # type: ignore[arg-type]

    assert asyncio.run(judge()).verdict.failed == ("evidence",)


def _cose(
    nonce: bytes, *, protected: bytes = b"\xa1\x01\x26", tag: int = 18, header: object = None
) -> bytes:
    """Good evidence in another envelope, what is signed changed with it."""
    _, unprotected, payload, _ = cbor_reader.decode(BOARD.evidence(nonce)).value
    signed = cbor.encode(["Signature1", protected, b"", payload])
    r, s = p256.sign(BOARD.private_key, sha256(signed).digest())
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    message = [protected, unprotected if header is None else header, payload, signature]
    return bytes(cbor.encode(cbor.Tagged(tag, message)))


@pytest.mark.parametrize(
    "changes",
    [
        {"protected": b""},
        {"protected": b"\xa0"},
        {"protected": b"\xa1\x01\x00"},  # none there is
        {"protected": b"\xa1\x01\x05"},  # HMAC with SHA-256
        {"protected": b"\xa1\x01\x27"},  # EdDSA
        {"protected": b"\xa1\x01\x38\x22"},  # ES384
        {"protected": b"\xa1\x01\x38\x23"},  # ES512
        {"protected": b"\xa2\x01\x26\x02\x80"},  # crit
        {"tag": 17},
        {"tag": 98},
        {"header": {}},
        {"header": {33: BOARD.certificate, 1: -7}},
        {"header": {33: [BOARD.certificate, BOARD.root]}},
        {"header": {34: BOARD.certificate}},
    ],
    ids=str,
)
def test_another_envelope_or_algorithm_is_no_evidence(
    sqlite_url: str, changes: dict[str, object]
) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.attest(_cose(await agent.challenge()))).status == 200
        reply = await agent.attest(_cose(await agent.challenge(), **changes))  # type: ignore[arg-type]
        assert reply.refusal == (401, "evidence")

    with_agents(sqlite_url, work)


@pytest.mark.parametrize(
    "body", [b"\xd2", b"\xd2\x84", b"\x00" * 100, bytes(range(256)) * 16, b"{}", b"\xd2" * 4096]
)
def test_nonsense_is_no_evidence(sqlite_url: str, body: bytes) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.attest(body)).refusal == (401, "evidence")

    with_agents(sqlite_url, work)


def test_evidence_with_something_after_it_is_no_evidence(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        data = await agent.evidence_of()
        assert (await agent.attest(data + b"\0")).refusal == (401, "evidence")
        assert (await agent.attest(data[:-1])).refusal == (401, "evidence")
        assert (await agent.attest(data)).status == 200

    with_agents(sqlite_url, work)


@pytest.mark.parametrize("name", ["hwmodel", "application", "version"])
@pytest.mark.parametrize("text", ["x" * 65, "line\nbreak", "\x1b[31m"])
def test_texts_that_no_firmware_has_are_no_evidence(sqlite_url: str, name: str, text: str) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.judge(**{name: text})).refusal == (401, "evidence")

    with_agents(sqlite_url, work)


def test_a_firmware_without_names_is_affirmed_and_a_board_without_a_chip_is_not(
    sqlite_url: str,
) -> None:
    async def work(agent: Agent) -> None:
        assert (await agent.judge(application="", version="")).verdict["application"] == ""
        assert (await agent.judge(hwmodel="")).refusal == (401, "evidence")

    with_agents(sqlite_url, work)


def test_a_certificate_that_is_none_is_named_as_that(sqlite_url: str) -> None:
    async def work(agent: Agent) -> None:
        reply = await agent.judge(presented=b"\x30\x03\x02\x01\x01")
        assert reply.refusal == (401, "no-certificate")

    with_agents(sqlite_url, work)


def test_all_that_failed_stands_in_the_log_and_the_first_in_the_answer(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dice_auth")

    async def work(agent: Agent) -> None:
        async with open_registry(sqlite_url) as registry:
            await registry.revoke(BOARD.board_id, Revocation("stolen", 1))
        data = BOARD.evidence(
            bytes(32), ueid=bytes(17), channel=bytes(32), private_key=STRANGER.private_key
        )
        assert (await agent.attest(data)).refusal == (401, "nonce")
        await agent.judge(OTHER)

    with_agents(sqlite_url, work)
    (refused,) = events(caplog.records, "attestation-refused")
    assert refused["failed"] == ["nonce", "channel", "evidence-signature", "ueid", "revoked"]
    assert refused["board"] == BOARD.board_id
    (attested,) = events(caplog.records, "attested")
    assert (attested["board"], attested["version"]) == (OTHER.board_id, "1.2.3")
    assert attested["image_digest"] == IMAGE_DIGEST.hex()


def test_the_boards_here_are_what_they_are_called() -> None:
    """Else the tests above prove nothing."""
    board: ProvedBoard
    for board in (BOARD, OTHER, STRANGER):
        parsed = evidence.decode(board.evidence(bytes(32)))
        assert parsed.is_signed_by(certificate.parse(board.certificate).public_key)
    assert len({BOARD.root, OTHER.root, STRANGER.root}) == 3
