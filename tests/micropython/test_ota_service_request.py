"""What POST /update may carry (protocol.md A), on both runtimes."""

from ota_service.errors import BadRequest
from ota_service.request import parse_update_request


def refused(body, content_type=None):
    try:
        parse_update_request(body, content_type)
    except BadRequest as error:
        assert error.message and "\n" not in error.message
        return error.status
    raise AssertionError("accepted %r" % body)


def test_the_originals_form_names_an_ipv4_agent():
    assert parse_update_request(b"ip: 192.168.1.20") == ("192.168.1.20", 4433)
    assert parse_update_request(b"ip: 10.0.0.1\n") == ("10.0.0.1", 4433)
    assert parse_update_request(b"ip: 10.0.0.1\r\n") == ("10.0.0.1", 4433)
    assert parse_update_request(b"ip: 10.0.0.1:8443") == ("10.0.0.1", 8443)


def test_the_json_form_takes_names_as_well():
    json = "application/json; charset=utf-8"
    assert parse_update_request(b'{"agent": "ota.example.com:4434"}', json) == (
        "ota.example.com",
        4434,
    )
    assert parse_update_request(b'{"agent": "10.1.2.3"}', json) == ("10.1.2.3", 4433)


def test_what_names_no_agent_is_refused_with_a_line():
    for body in (
        b"",
        b"10.0.0.1",
        b"ip:10.0.0.1",
        b"ip: ",
        b"ip: ota.example.com",
        b"ip: 10.0.0",
        b"ip: 10.0.0.256",
        b"ip: 10.0.0.01",
        b"ip: 10.0.0.1 ",
        b"ip: 10.0.0.1\n\n",
        b"ip: 10.0.0.1 10.0.0.2",
        b"ip: 10.0.0.1:0",
        b"ip: 10.0.0.1:-1",
        b"ip: 10.0.0.1:65536",
        b"ip: 10.0.0.1:99999999999999999999",
        b"ip: ::1",
        b"ip: 10.0.0.1\x00",
        b"\xff\xfe\x00\x01",
        b"ip: " + b"1" * 60,
    ):
        assert refused(body) == 400, body


def test_json_that_names_no_agent_is_refused():
    for body in (
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"agent": 7}',
        b'{"agent": ""}',
        b'{"agent": "-bad.example"}',
        b'{"agent": "a..b"}',
        b'{"agent": "1.2.3"}',
        b'{"agent": "host:http"}',
        b'{"agent": "user@host"}',
        b"[" * 200,
    ):
        assert refused(body, "application/json") == 400, body


def test_a_body_over_256_bytes_is_refused_as_too_large():
    assert refused(b"ip: 10.0.0.1" + b" " * 245) == 413
    assert refused(b"x" * 16384) == 413
