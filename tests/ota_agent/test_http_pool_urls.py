"""The attestation server's URL, and the request that is made of it."""

from pathlib import Path

import pytest
from hypothesis import given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ota_agent.errors import SettingsError
from ota_agent.http_pool import target_of
from ota_agent.settings import Settings

SEED = 8


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("http://auth", b"POST / HTTP/1.1", b"auth"),
        ("http://auth:80/", b"POST / HTTP/1.1", b"auth"),
        ("http://auth:8000/a/b?c=d#e", b"POST /a/b?c=d HTTP/1.1", b"auth:8000"),
        ("http://auth?c=d", b"POST /?c=d HTTP/1.1", b"auth"),
        ("http://[::1]:8000/x", b"POST /x HTTP/1.1", b"[::1]:8000"),
        ("https://auth:443", b"POST / HTTP/1.1", b"auth"),
        ("https://auth:80", b"POST / HTTP/1.1", b"auth:80"),
    ],
)
def test_the_request_names_path_and_host(url: str, line: bytes, host: bytes) -> None:
    lines = target_of(url).head.split(b"\r\n")
    assert lines[0] == line
    assert lines[1] == b"Host: " + host


INJECTIONS = [" ", "\r\n", "\n", "\r", "\t", "\0", "\x0b", "\x7f", "\x85", "\u2028", "\xa0", "é"]


@pytest.mark.parametrize("what", INJECTIONS)
@pytest.mark.parametrize("place", ["http://a%sb/", "http://a/b%sc", "http://a/?b%sc", "http://a%s"])
def test_a_url_that_could_end_a_line_of_the_request_is_refused(what: str, place: str) -> None:
    with pytest.raises(SettingsError):
        settings_with(place % what)
    with pytest.raises(SettingsError):
        settings_with(place % f"{what}X-Header: y{what}")


@seed(SEED)
@hypothesis_settings(max_examples=500, deadline=None, database=None)
@given(st.text(st.characters(max_codepoint=0x2100), max_size=30))
def test_whatever_url_is_taken_the_request_has_the_lines_it_should(rest: str) -> None:
    try:
        settings_with(f"http://h{rest}")
    except SettingsError:
        return
    head = target_of(f"http://h{rest}").head
    lines = head.split(b"\r\n")
    assert len(lines) == 5
    assert [line.split(b" ")[0] for line in lines[1:]] == [
        b"Host:", b"User-Agent:", b"Content-Type:", b"Content-Length:",
    ]  # fmt: skip
    assert len(lines[0].split(b" ")) == 3
    assert all(byte in b"\r\n" or 0x20 <= byte < 0x7F for byte in head)


def settings_with(url: str) -> Settings:
    return Settings(firmware=Path("f"), certificate=Path("c"), key=Path("k"), dice_auth_url=url)
