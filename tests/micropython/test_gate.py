"""Who may trigger an update: trigger key, allow-list, pause after failures; on both runtimes."""

import os
from binascii import hexlify

from ota_crypto import hmac
from ota_service import allow_list, gate
from ota_service.config import Config
from ota_service.errors import BadRequest

KEY = bytes(range(32))


class Request:
    def __init__(self, body=b"ip: 127.0.0.1", nonce=None, mac=None):
        self.body = body
        self.headers = {}
        if nonce is not None:
            self.headers["OTA-Nonce"] = nonce
        if mac is not None:
            self.headers["OTA-MAC"] = mac


def made(**settings):
    return gate.Gate(Config(settings), os.urandom)


def signed(nonce, method="POST", body=b"ip: 127.0.0.1", key=KEY):
    mac = hmac.digest(key, nonce.encode() + method.encode() + body, "sha256")
    return Request(body, nonce, hexlify(mac).decode())


def status_of(call, *arguments):
    try:
        call(*arguments)
    except BadRequest as error:
        assert len(error.message.splitlines()) == 1
        return error.status
    return None


def test_without_a_trigger_key_there_is_no_nonce_and_anybody_may():
    open_gate = made()
    assert open_gate.nonce is None
    assert status_of(open_gate.require_key, Request(), "POST") is None


def test_a_proof_serves_once_for_its_method_and_body():
    keyed = made(trigger_key=KEY)
    nonce = keyed.nonce
    assert len(nonce) == 32
    right = signed(nonce)
    for wrong in (
        Request(),
        Request(nonce=nonce),
        Request(mac=right.headers["OTA-MAC"]),
        signed(nonce, "DELETE"),
        signed(nonce, key=bytes(32)),
        signed("0" * 32),
        signed(nonce, body=b"ip: 127.0.0.2"),
        Request(b"ip: 10.0.0.1", nonce, right.headers["OTA-MAC"]),
        Request(nonce=nonce, mac=right.headers["OTA-MAC"][:-1]),
        Request(nonce=nonce, mac="\u00e9" * 64),
    ):
        if wrong.body == b"ip: 127.0.0.2":
            wrong.body = b"ip: 127.0.0.1"
        assert status_of(keyed.require_key, wrong, "POST") == 401
        assert keyed.nonce == nonce  # a wrong proof does not use it up
    assert status_of(keyed.require_key, right, "POST") is None
    assert keyed.nonce != nonce
    assert status_of(keyed.require_key, right, "POST") == 401


def test_the_mac_may_be_in_capitals():
    keyed = made(trigger_key=KEY)
    request = signed(keyed.nonce)
    request.headers["OTA-MAC"] = request.headers["OTA-MAC"].upper()
    assert status_of(keyed.require_key, request, "POST") is None


def test_the_allow_list_covers_addresses_networks_and_names():
    some = made(allowed_agents=["10.1.2.3", "192.168.0.0/16", "Agent.Example", "172.16.0.128/25"])
    for host in ("10.1.2.3", "192.168.255.1", "agent.example", "AGENT.example", "172.16.0.200"):
        assert status_of(some.require_allowed, host) is None, host
    for host in ("10.1.2.4", "192.169.0.1", "example", "x.agent.example", "172.16.0.127"):
        assert status_of(some.require_allowed, host) == 403, host
    assert status_of(made().require_allowed, "10.9.9.9") is None
    assert status_of(made(allowed_agents=["0.0.0.0/0"]).require_allowed, "10.9.9.9") is None


def test_entries_that_cannot_be_are_refused():
    for text in (
        "10.1.2.3/33",
        "10.1.2.3/",
        "10.1.2.3/8",
        "10.1.2",
        "a b",
        "",
        "10.1.2.3/x",
        "::1",
    ):
        try:
            allow_list.parse_entry(text)
        except ValueError:
            continue
        raise AssertionError(text)


def test_after_failures_in_a_row_comes_a_pause_that_grows_and_ends():
    now = [0]
    real, gate.ticks_ms = gate.ticks_ms, lambda: now[0]
    try:
        paused = made(pause_after=3, pause_s=30)
        for _ in range(2):
            paused.note_failure()
            assert paused.pause_left_s() == 0
        for expected in (30, 60, 120, 240, 480, 600, 600):
            paused.note_failure()
            assert paused.pause_left_s() == expected
            assert status_of(paused.require_no_pause) == 429
            now[0] += expected * 1000 - 1
            assert paused.pause_left_s() == 1
            now[0] += 1
            assert paused.pause_left_s() == 0
            assert status_of(paused.require_no_pause) is None
        paused.note_failure()
        paused.note_success()
        assert paused.pause_left_s() == 0
        paused.note_failure()
        assert paused.pause_left_s() == 0
    finally:
        gate.ticks_ms = real


def test_a_pause_long_past_does_not_come_back_when_ticks_wrap():
    now = [0]
    real = gate.ticks_ms, gate.ticks_diff
    gate.ticks_ms = lambda: now[0]
    gate.ticks_diff = lambda a, b: (a - b + (1 << 29)) % (1 << 30) - (1 << 29)  # as on the ESP32
    try:
        paused = made(pause_after=1, pause_s=30)
        paused.note_failure()
        now[0] = (1 << 29) + 60000
        assert paused.pause_left_s() == 0
    finally:
        gate.ticks_ms, gate.ticks_diff = real


def test_no_pause_where_none_is_configured():
    never = made(pause_after=0)
    for _ in range(50):
        never.note_failure()
    assert never.pause_left_s() == 0


def test_what_a_gate_remembers_the_next_one_knows():
    """Its code comes with a request and goes."""
    config = Config({"trigger_key": KEY, "pause_after": 1, "pause_s": 30})
    memory = gate.new_memory(config, os.urandom)
    first = gate.Gate(config, os.urandom, memory)
    nonce = first.nonce
    assert status_of(first.require_key, signed(nonce), "POST") is None
    first.note_failure()
    second = gate.Gate(config, os.urandom, memory)
    assert second.nonce == first.nonce != nonce
    assert status_of(second.require_key, signed(nonce), "POST") == 401
    assert status_of(second.require_no_pause) == 429
    second.note_success()
    assert gate.Gate(config, os.urandom, memory).pause_left_s() == 0
