"""What the attestation server may answer; anything else lets no board in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent.attestation import Reply
from ota_agent.verdict import AnswerError, read_failed_check, read_nonce, read_verdict
from tests.ota_agent.attested_scene import VERDICT

JSON = b"application/json"
PROBLEM = b"application/problem+json"


def of(members: object, kind: bytes = JSON) -> Reply:
    return Reply(200, "", kind, json.dumps(members).encode())


def test_an_affirming_verdict_is_read() -> None:
    found = read_verdict(of({**VERDICT, "more": [1], "image_digest": "ab" * 32}, JSON + b"; x=y"))
    assert (found.device, found.hwmodel) == (VERDICT["device"], "esp32")
    assert (found.application, found.version, found.claims) == ("thermo", "1.0.0", "self-asserted")
    assert found.image_digest == "ab" * 32


def test_firmware_without_names_has_a_verdict_too() -> None:
    found = read_verdict(of({**VERDICT, "application": "", "version": ""}))
    assert (found.application, found.version, found.image_digest) == ("", "", None)


ODD = {
    "not affirming": {**VERDICT, "verdict": "contraindicated"},
    "affirming in capitals": {**VERDICT, "verdict": "AFFIRMING"},
    "true": {**VERDICT, "verdict": True},
    "a list": {**VERDICT, "verdict": ["affirming"]},
    "no verdict": {**VERDICT, "verdict": None},
    "no device": {**VERDICT, "device": ""},
    "device is a number": {**VERDICT, "device": 1},
    "no chip": {**VERDICT, "hwmodel": None},
    "a long name": {**VERDICT, "application": "a" * 129},
    "no claims": {**VERDICT, "claims": None},
    "a digest that is none": {**VERDICT, "image_digest": "xy"},
    "nothing": {},
    "a string": "affirming",
    "a list of verdicts": [VERDICT],
    "protocol 1's answer": {"status": "Certificate OK"},
}


@pytest.mark.parametrize("name", ODD)
def test_anything_but_an_affirming_verdict_is_none(name: str) -> None:
    with pytest.raises(AnswerError):
        read_verdict(of(ODD[name]))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"affirming", b"{", b"\xff" * 10, b"[" * 16_000, b"NaN",
        json.dumps(VERDICT).encode() + b"x", json.dumps(VERDICT).encode() * 2,
        b'{"verdict": "refused", ' + json.dumps(VERDICT).encode()[1:],
        json.dumps({**VERDICT, "more": "x" * 17_000}).encode(),
    ],
)  # fmt: skip
def test_a_body_that_is_no_plain_json_object_is_no_verdict(body: bytes) -> None:
    with pytest.raises(AnswerError):
        read_verdict(Reply(200, "", JSON, body))


@pytest.mark.parametrize("kind", [b"", b"text/html", b"application/json, text/html",
                                  b"application/jsonx", PROBLEM])  # fmt: skip
def test_a_verdict_says_that_it_is_json(kind: bytes) -> None:
    with pytest.raises(AnswerError):
        read_verdict(of(VERDICT, kind))


@given(st.binary(max_size=200))
def test_any_body_is_a_verdict_or_an_error(body: bytes) -> None:
    with pytest.raises(AnswerError):
        read_verdict(Reply(200, "", JSON, body))


def test_a_nonce_is_32_bytes() -> None:
    kind = b"application/octet-stream"
    assert read_nonce(Reply(200, "", kind, bytes(32))) == bytes(32)
    for body in (b"", bytes(31), bytes(33)):
        with pytest.raises(AnswerError):
            read_nonce(Reply(200, "", kind, body))
    with pytest.raises(AnswerError):
        read_nonce(Reply(200, "", b"text/html", bytes(32)))


@pytest.mark.parametrize(
    ("members", "check"),
    [
        ({"check": "nonce"}, "nonce"),
        ({"check": "reference-values"}, "reference-values"),
        ({"check": "a" * 65}, ""),
        ({"check": "two words"}, ""),
        ({"check": "x\r\nSet-Cookie: y"}, ""),
        ({"check": 3}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_of_a_refusal_only_the_name_of_the_check_is_taken(members: object, check: str) -> None:
    assert read_failed_check(of(members, PROBLEM)) == check
    assert read_failed_check(of(members)) == ""
