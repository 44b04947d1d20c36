"""Every way the network side of an update can fail, under both runtimes: the code at GET /update,
how often it is tried, what the flash holds, what boots, and that the next update succeeds."""

import functools
import itertools
import random
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests import world
from tests.dice import server_certificates
from tests.esp_image import signing
from tests.ota_service import faulty_agents as agents
from tests.ota_service.board_process import (
    ANSWER_S,
    RETRIED,
    BoardProcess,
    require_one_line,
    require_refused,
    require_updated,
    serving,
    update,
)
from tests.ota_service.faulty_agents import DAY, NOW, Absent, Agent, authority

OLD = world.app("1.0.0")
NEW = world.app("2.0.0", size=60_000)
SMALL = world.app("2.0.0", size=12_000)
TINY = world.app("2.0.0", size=3_000)
BLOCK = 4096
BRIEFLY_S = 0.3
SEED = 20240501

TLS_1_2 = {"minimum": ssl.TLSVersion.TLSv1_2, "maximum": ssl.TLSVersion.TLSv1_2}
TLS_1_3 = {"minimum": ssl.TLSVersion.TLSv1_3, "maximum": ssl.TLSVersion.TLSv1_3}
ALERT_HANDSHAKE_FAILURE = bytes.fromhex("15030300020228")


class Fault(NamedTuple):
    """What goes wrong, and the code it has; says: what its message names."""

    agent: Callable[[], Any]
    codes: tuple[str, ...]
    settings: dict[str, Any]
    says: str


def fault(behaviour: Callable[[], Any], *codes: str, says: str = "", **settings: Any) -> Fault:
    return Fault(lambda: Agent(behaviour()), codes, settings, says)


def does(behaviour: agents.Behaviour, *codes: str, **options: Any) -> Fault:
    """Fails before or within the TLS handshake."""
    return fault(lambda: behaviour, *codes, **options)


def serves(session: agents.Session, *codes: str, **options: Any) -> Fault:
    """Fails behind the TLS handshake."""
    return fault(lambda: agents.serves(session), *codes, **options)


def handshake(change: Callable[[bytes], bytes], then: agents.Behaviour, version: dict[str, Any],
              *codes: str, **options: Any) -> Fault:  # fmt: skip
    """Fails in the server's first flight."""
    return fault(
        lambda: agents.breaks_handshake(change, then, agents.good_context(**version)),
        *codes,
        **options,
    )


def shows(code: str, says: str = "", **certificate: Any) -> Fault:
    """Shows a certificate that must not be trusted."""

    def behaviour() -> agents.Behaviour:
        shown = {**certificate, "by": certificate.get("by", authority)()}
        return agents.serves(agents.sends(NEW), agents.context(agents.certificate(**shown)))

    return fault(behaviour, code, says=says)


def middle_garbled(flight: bytes) -> bytes:
    at = len(flight) // 2
    return flight[:at] + bytes(byte ^ 0x55 for byte in flight[at : at + 64]) + flight[at + 64 :]


def half(flight: bytes) -> bytes:
    return flight[: len(flight) // 2]


def noise(size: int) -> bytes:
    return random.Random(SEED).randbytes(size)


CONNECTING = {
    "nobody listens": Fault(Absent, ("agent-unreachable",), {}, ""),
    "closes at once": does(agents.closes_at_once, "connection-lost"),
    "closes after the board's hello": does(agents.closes_after_hello, "connection-lost"),
    "resets at once": does(agents.resets, "connection-lost"),
    "resets after the board's hello": does(agents.resets_after_hello, "connection-lost"),
    "says nothing": does(
        agents.is_silent, "timeout", connect_s=BRIEFLY_S, says="no TLS connection within 0.3 s"
    ),
    "speaks HTTP": does(
        agents.answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "no-tls"
    ),
    "speaks SSH": does(agents.answers(b"SSH-2.0-OpenSSH_9.6\r\n"), "no-tls"),
    "speaks noise": does(agents.answers(noise(512)), "no-tls"),
    "sends zeros": does(agents.answers(bytes(512)), "no-tls"),
    "sends a TLS alert": does(agents.answers(ALERT_HANDSHAKE_FAILURE), "tls-failed"),
    # MicroPython may find the connection closed before it gets to read why.
    "wants a client certificate": fault(
        lambda: agents.serves(agents.sends(NEW), wanting_a_client_certificate()),
        "tls-failed", "connection-lost",
    ),
}  # fmt: skip
# "The newest" is TLS 1.3 on CPython and TLS 1.2 on MicroPython.
for _name, _version in (("a TLS 1.2", TLS_1_2), ("the newest", {})):
    CONNECTING |= {
        f"ends in the middle of {_name} handshake": handshake(
            half, agents.ends, _version, "connection-lost"
        ),
        f"resets in the middle of {_name} handshake": handshake(
            half, agents.resets, _version, "connection-lost"
        ),
        f"stops in the middle of {_name} handshake": handshake(
            half, agents.is_silent, _version, "timeout", connect_s=BRIEFLY_S
        ),
        f"garbles the middle of {_name} handshake": handshake(
            middle_garbled, agents.hears_and_ends, _version, "tls-failed", "agent-not-trusted"
        ),
    }

CERTIFICATES = {
    "of another CA": shows(
        "agent-unknown-issuer", "not issued by the configured CA", by=lambda: other_authority()
    ),
    "of a CA of the same name": shows("agent-unknown-issuer", by=lambda: impostor()),
    "that signs itself": shows("agent-unknown-issuer", by=lambda: None),
    "for another name": shows(
        "agent-wrong-name", "not for the name ota-agent", name="printer.example.org"
    ),
    "for the agent's address only": shows("agent-wrong-name", name="127.0.0.1"),
    "that has expired": shows(
        "agent-expired", "expired; this board's clock says 2", not_after=NOW - DAY / 2
    ),
    "that is not valid yet": shows(
        "agent-not-yet-valid", "not valid yet; this board's clock says 2", not_before=NOW + DAY / 2
    ),
}

SERVING = {
    "is refused": serves(agents.sends(b""), "attestation-refused"),
    "is refused without close_notify": serves(agents.cut_after(b""), "attestation-refused"),
    "is refused with a reset": serves(agents.resets_after(b""), "connection-lost"),
    "hears nothing": serves(
        agents.stalls_after(b""),
        "timeout",
        first_byte_s=BRIEFLY_S,
        says="no decision about this board within 0.3 s",
    ),
    "hears nothing any more": serves(
        agents.stalls_after(NEW[:20_000]), "timeout", read_s=BRIEFLY_S, says="no data within 0.3 s"
    ),
    "hears one byte, then nothing": serves(
        agents.stalls_after(NEW[:1]), "timeout", read_s=BRIEFLY_S
    ),
    "loses the last byte": serves(agents.sends(NEW[:-1]), "truncated"),
    "gets a web page": serves(agents.sends(b"<html>not found</html>" * 400), "magic"),
    "gets noise": serves(agents.sends(noise(50_000)), "magic"),
    "gets one byte too many": serves(agents.sends(NEW + b"\x00"), "trailing-data"),
    "gets the image twice": serves(agents.sends(NEW + NEW), "trailing-data"),
}


def tampered(image: bytes) -> bytes:
    changed = bytearray(image)
    changed[len(image) // 2] ^= 0x10
    return bytes(changed)


IMAGES = {
    "another chip's": (world.app("2.0.0", chip="esp32h2"), "chip-mismatch"),
    "too large": (world.app("2.0.0", size=250_000), "too-large"),
    "a stranger's": (world.app("2.0.0", "stranger"), "key-untrusted"),
    "the owner's and a stranger's": (
        signing.sign(world.app("2.0.0", None), world.key("owner"), world.key("stranger")),
        "extra-block",
    ),
    "without a signature": (world.app("2.0.0", None), "unsigned"),
    "without a signature, padded": (
        signing.pad(world.app("2.0.0", None)) + b"\xff" * BLOCK, "unsigned",
    ),
    "tampered with": (tampered(NEW), "checksum"),
    "the running one": (OLD, "same-image"),
}  # fmt: skip


@functools.cache
def other_authority() -> agents.Authority:
    return authority(name="other CA", which="other")


@functools.cache
def impostor() -> agents.Authority:
    return authority(which="impostor")


@functools.cache
def wanting_a_client_certificate() -> ssl.SSLContext:
    # Not cached with the others: what follows changes it.
    tls = agents.context.__wrapped__(agents.certificate(authority()), **TLS_1_2)
    tls.verify_mode = ssl.CERT_REQUIRED
    return tls


def refused(board: BoardProcess, fault: Fault, old: bytes = OLD, new: bytes = NEW,
            **options: Any) -> dict[str, Any]:  # fmt: skip
    """Two attempts against an agent with this fault, then an update from a good one."""
    with fault.agent() as agent, Agent(agents.serves(agents.sends(new))) as good:
        answer = update(
            board,
            old,
            agent.address,
            attempts=2,
            good=(good.address, new),
            **fault.settings,
            **options,
        )
        tries = 2 if answer["raised"] in RETRIED else 1
        assert answer["status"]["attempt"] == tries
        if not isinstance(agent, Absent):
            assert agent.connections == tries
        assert good.connections == 1
    require_refused(answer, *fault.codes)
    assert fault.says in answer["status"]["error"]["message"]
    require_updated(answer, new)
    return answer


@pytest.mark.parametrize("what", CONNECTING)
def test_an_agent_that(what: str, board: BoardProcess) -> None:
    refused(board, CONNECTING[what])


@pytest.mark.parametrize("what", CERTIFICATES)
def test_a_certificate(what: str, board: BoardProcess) -> None:
    answer = refused(board, CERTIFICATES[what])
    # Nobody who has not proved who he is hears who the board is.
    assert [event[0] for event in answer["events"][:3]] == ["start", "connecting", "failed"]
    assert answer["after"] == answer["before"]


@pytest.mark.parametrize("what", SERVING)
def test_a_board_that(what: str, board: BoardProcess) -> None:
    refused(board, SERVING[what])


@pytest.mark.parametrize("what", IMAGES)
def test_an_image(what: str, board: BoardProcess) -> None:
    image, code = IMAGES[what]
    refused(board, serves(agents.sends(image), code))


# -- certificates, once more ----------------------------------------------------------------------


def test_of_several_faults_in_a_certificate_the_message_names_as_many_as_the_runtime_tells(
    board: BoardProcess,
) -> None:
    answer = refused(
        board,
        shows(
            "agent-unknown-issuer",
            by=lambda: other_authority(),
            name="printer.example.org",
            not_after=NOW - DAY / 2,
        ),
    )
    message = answer["status"]["error"]["message"]
    named = [
        text
        for text in ("not issued by the configured CA", "not for the name ota-agent", "expired")
        if text in message
    ]
    assert len(named) == (3 if board.runtime == "micropython" else 1)


def test_a_ca_of_the_same_name_with_another_key_is_not_the_ca_even_without_key_ids(
    board: BoardProcess,
) -> None:
    trusted = authority(key_ids=False)
    fault = shows("agent-not-trusted", by=lambda: authority(which="impostor", key_ids=False))
    with fault.agent() as agent:
        ca = board.file("ca-without-ids.der", trusted.der)
        answer = update(board, OLD, agent.address, attempts=2, agent_ca=ca)
        assert agent.connections == 1
    require_refused(answer, "agent-not-trusted")


def test_a_certificate_for_another_purpose_is_refused(board: BoardProcess) -> None:
    by = authority()
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    der = server_certificates.issue(by, names=("ota-agent",), extensions=[(purpose, False)])
    refused(
        board,
        fault(lambda: agents.serves(agents.sends(NEW), agents.context(der)), "agent-not-trusted"),
    )


def updated(board: BoardProcess, behaviour: agents.Behaviour, new: bytes = SMALL,
            **options: Any) -> dict[str, Any]:  # fmt: skip
    """One attempt that has to succeed."""
    with Agent(behaviour) as agent:
        answer = update(board, OLD, agent.address, **options)
    assert answer["raised"] is None, answer["status"]["error"]
    assert answer["status"]["state"] == "rebooting"
    assert answer["boots"] == "ota_1"
    assert answer["received"][-1] == len(new)
    assert answer["left_open"] == 0
    return answer


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_a_certificate_with_a_key_of_this_kind_is_accepted(kind: str, board: BoardProcess) -> None:
    by = authority(kind=kind)
    tls = agents.context(agents.certificate(by, kind=kind), kind=kind)
    ca = board.file(f"ca-{kind}.der", by.der)
    updated(board, agents.serves(agents.sends(SMALL), tls), agent_ca=ca)


def test_a_tls_1_2_agent_is_accepted(board: BoardProcess) -> None:
    updated(board, agents.serves(agents.sends(SMALL), agents.good_context(**TLS_1_2)))


def test_a_tls_1_3_agent_is_accepted_where_the_runtime_has_tls_1_3(board: BoardProcess) -> None:
    """MicroPython has no TLS 1.3, on the ESP32 neither."""
    behaviour = agents.serves(agents.sends(SMALL), agents.good_context(**TLS_1_3))
    if board.runtime == "cpython":
        updated(board, behaviour)
    else:
        refused(board, does(behaviour, "tls-failed"), new=SMALL)


@pytest.mark.parametrize("maximum", [TLS_1_2, {}], ids=["TLS 1.2", "the newest"])
def test_one_byte_of_the_handshake_wrong_and_there_is_no_update(
    maximum: dict[str, Any], board: BoardProcess
) -> None:
    tls = agents.good_context(**maximum)
    for at in range(0, 700, 53):

        def flipped(flight: bytes, at: int = at) -> bytes:
            at %= len(flight)
            return flight[:at] + bytes([flight[at] ^ 0x20]) + flight[at + 1 :]

        with Agent(agents.breaks_handshake(flipped, agents.ends, tls)) as agent:
            answer = update(board, OLD, agent.address)
        code = answer["status"]["error"]["code"]
        assert code.startswith("agent-") or code in ("tls-failed", "no-tls", "connection-lost")
        require_refused(answer, code)
        assert answer["after"] == answer["before"]


# -- breaking off at every place ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaks", "codes"),
    [
        (agents.resets_after, ("connection-lost", "truncated")),
        (agents.sends, ("truncated", "attestation-refused")),
    ],
    ids=["reset", "end"],
)
def test_a_transfer_that_breaks_off_at_any_block_is_an_error_and_the_next_succeeds(
    breaks: Callable[[bytes], agents.Session], codes: tuple[str, ...], board: BoardProcess
) -> None:
    with Agent(agents.serves(agents.sends(NEW))) as good:
        for cut in range(0, len(NEW), BLOCK):
            with Agent(agents.serves(breaks(NEW[:cut]))) as agent:
                answer = update(board, OLD, agent.address, good=(good.address, NEW))
            require_refused(answer, *codes)
            received = answer["received"][-1] if answer["received"] else 0
            assert received <= cut
            if breaks is agents.sends:
                assert received == cut
                assert answer["raised"] == ("truncated" if cut else "attestation-refused")
            require_updated(answer, NEW)


def test_each_attempt_may_fail_in_its_own_way_before_the_last_one_succeeds(
    board: BoardProcess,
) -> None:
    behaviours = [
        agents.closes_after_hello,
        agents.resets_after_hello,
        agents.answers(b"SSH-2.0-OpenSSH_9.6\r\n"),
        agents.serves(agents.resets_after(NEW[:BLOCK])),
        agents.serves(agents.cut_after(NEW[:50_000])),
        agents.serves(agents.sends(NEW[:-1])),
        agents.serves(agents.sends(NEW)),
    ]
    with Agent(*behaviours) as agent:
        answer = update(board, OLD, agent.address, attempts=len(behaviours))
        assert agent.connections == len(behaviours)
    assert answer["raised"] is None
    assert answer["boots"] == "ota_1"
    assert answer["status"]["attempt"] == len(behaviours)
    failed = [detail.split(":")[0] for name, detail in answer["events"] if name == "failed"]
    assert failed[:3] == ["connection-lost", "connection-lost", "no-tls"]
    assert failed[3] in ("connection-lost", "truncated")
    assert failed[4:] == ["truncated", "truncated"]


@pytest.mark.parametrize("attempts", [1, 7])
def test_a_failure_of_the_network_is_tried_again_as_often_as_configured(
    attempts: int, board: BoardProcess
) -> None:
    with Agent(agents.resets) as agent:
        answer = update(board, OLD, agent.address, attempts=attempts)
        assert agent.connections == attempts
    require_refused(answer, "connection-lost")


def test_many_refused_updates_in_a_row_leave_the_board_as_it_was(board: BoardProcess) -> None:
    with (
        Agent(agents.serves(agents.sends(b"<html>" * 1000))) as agent,
        Agent(agents.serves(agents.sends(NEW))) as good,
    ):
        first = update(board, OLD, agent.address)
        for _ in range(10):
            answer = update(board, OLD, agent.address, keep=True)
            require_refused(answer, "magic")
            assert answer["after"] == first["before"]
        last = update(board, OLD, agent.address, keep=True, good=(good.address, NEW))
    require_updated(last, NEW)


# -- bytes in unusual pieces ----------------------------------------------------------------------


def test_the_firmware_may_come_in_tls_records_of_one_byte(board: BoardProcess) -> None:
    updated(board, agents.serves(agents.sends(TINY, pieces=1)), TINY)


def in_the_middle_of_records() -> list[int]:
    """Record headers apart from what follows, and cut themselves."""
    return [3, 2, 50, 4, 1, 100, 1, 1, 1, 2, 1000, 5, 16384, 5]


@pytest.mark.parametrize("sizes", [[1], [7], in_the_middle_of_records()], ids=["1", "7", "various"])
def test_the_firmware_may_come_in_tcp_segments_of_any_size(
    sizes: list[int], board: BoardProcess
) -> None:
    with Agent(agents.serves(agents.sends(SMALL))) as behind:
        updated(board, agents.relays_to(behind.port, itertools.cycle(sizes)))


# -- names and Wi-Fi ------------------------------------------------------------------------------


def test_a_name_that_has_no_address_is_an_error_that_names_it(board: BoardProcess) -> None:
    with Agent(agents.serves(agents.sends(NEW))) as good:
        answer = update(board, OLD, "no-agent.invalid:4433", attempts=2, good=(good.address, NEW))
    require_refused(answer, "name-unresolved")
    assert "no-agent.invalid" in answer["status"]["error"]["message"]
    assert answer["status"]["attempt"] == 1  # on the chip each look-up blocks for seconds
    require_updated(answer, NEW)


def test_an_agent_may_have_a_name(board: BoardProcess) -> None:
    with Agent(agents.serves(agents.sends(SMALL))) as agent:
        answer = update(board, OLD, f"localhost:{agent.port}")
    assert answer["raised"] is None
    assert answer["boots"] == "ota_1"


def test_without_wifi_nobody_is_asked(board: BoardProcess) -> None:
    with Agent(agents.serves(agents.sends(NEW))) as agent:
        answer = update(
            board, OLD, agent.address, attempts=2,
            network=[["start", 1, False]], good=(agent.address, NEW),
        )  # fmt: skip
        assert agent.connections == 1
    require_refused(answer, "network-down")
    assert answer["status"]["attempt"] == 2
    require_updated(answer, NEW)


def test_wifi_lost_in_the_middle_is_named_as_the_reason(board: BoardProcess) -> None:
    with (
        Agent(agents.serves(agents.stalls_after(NEW[:12_000]))) as agent,
        Agent(agents.serves(agents.sends(NEW))) as good,
    ):
        answer = update(
            board, OLD, agent.address, attempts=1, read_s=BRIEFLY_S,
            network=[["received", 8192, False]], good=(good.address, NEW),
        )  # fmt: skip
    require_refused(answer, "network-down")
    assert "lost: no data within 0.3 s" in answer["status"]["error"]["message"]
    require_updated(answer, NEW)


def test_wifi_that_comes_back_lets_a_later_attempt_succeed(board: BoardProcess) -> None:
    behaviours = agents.serves(agents.stalls_after(NEW[:12_000])), agents.serves(agents.sends(NEW))
    with Agent(*behaviours) as agent:
        answer = update(
            board, OLD, agent.address, attempts=5, read_s=1,
            network=[["received", 8192, False], ["failed", 3, True]],
        )  # fmt: skip
        assert agent.connections == 2
    assert answer["raised"] is None, answer["status"]["error"]
    assert answer["boots"] == "ota_1"
    assert answer["status"]["attempt"] == 4
    failed = [detail.split(":")[0] for name, detail in answer["events"] if name == "failed"]
    assert failed == ["network-down"] * 3


# -- the floor -----------------------------------------------------------------------------------


def test_an_image_below_the_secure_version_floor_is_refused_under_any_policy(
    board: BoardProcess,
) -> None:
    old = world.app("1.0.0", secure_version=3)
    older = serves(
        agents.sends(world.app("2.0.0", secure_version=2)), "secure-version", policy="any"
    )
    refused(board, older, old=old, new=world.app("2.0.0", secure_version=3))


# -- over HTTP ------------------------------------------------------------------------------------


def settled(http: httpx.Client, *states: str) -> dict[str, Any]:
    """Poll GET /update until its state is one of these."""
    end = time.monotonic() + ANSWER_S
    while time.monotonic() < end:
        status: dict[str, Any] = http.get("/update").json()
        if status["state"] in states:
            return status
    raise AssertionError(f"not {states} within {ANSWER_S} s: {status}")


def ticks_go_on(http: httpx.Client) -> None:
    before = int(http.get("/ticks").text)
    end = time.monotonic() + ANSWER_S
    while int(http.get("/ticks").text) <= before:
        assert time.monotonic() < end


def test_get_update_tells_why_it_failed_until_the_next_one_starts(board: BoardProcess) -> None:
    with (
        CERTIFICATES["of another CA"].agent() as stranger,
        Agent(agents.serves(agents.stalls_after(SMALL[:BLOCK])), agents.serves(agents.sends(b"")),
              agents.serves(agents.sends(SMALL))) as agent,
        serving(board, OLD, agent_port=agent.port, read_s=BRIEFLY_S) as served,
    ):  # fmt: skip
        http = served.http
        assert settled(http, "idle")["error"] is None
        for body, code in (
            (f"ip: {stranger.address}", "agent-unknown-issuer"),
            ("ip: 127.0.0.1", "timeout"),
            ("ip: 127.0.0.1\n", "attestation-refused"),
        ):
            answer = http.post("/update", content=body)
            assert answer.text == "Received update request: About to update (Secure)\n"
            ticks_go_on(http)
            status = settled(http, "failed")
            assert status["error"]["code"] == code
            require_one_line(status["error"]["message"])
            assert status["running"] == "ota_0"
        http.post("/update", content="ip: 127.0.0.1")
        assert settled(http, "rebooting")["error"] is None
    assert served.answer["boots"] == "ota_1"
    before, after = served.answer["before"], served.answer["after"]
    assert before["outside"] == after["outside"]


def test_the_endpoints_answer_while_the_agent_keeps_the_board_waiting(board: BoardProcess) -> None:
    with (
        Agent(agents.serves(agents.stalls_after(NEW[: 3 * BLOCK]))) as agent,
        serving(board, OLD) as served,
    ):
        http = served.http
        http.post("/update", content=f"ip: {agent.address}")
        status = settled(http, "receiving")
        assert status["error"] is None
        ticks_go_on(http)
        assert http.post("/update", content=f"ip: {agent.address}").status_code == 409
        assert http.delete("/update").status_code == 200
        assert settled(http, "failed")["error"]["code"] == "cancelled"
        ticks_go_on(http)
    assert served.answer["boots"] == "ota_0"
    assert served.answer["after"]["first"] == "ff" * 16
