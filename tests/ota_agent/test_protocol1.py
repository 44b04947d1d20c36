"""The reader is tested whole, byte by byte, in random pieces, and with what is none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota_agent.errors import PeerError
from ota_agent.protocol1 import MAX_CERTIFICATE_BYTES, CertificateReader


def der(content_bytes: int) -> bytes:
    """A SEQUENCE with this many bytes in it."""
    if content_bytes < 0x80:
        header = bytes([0x30, content_bytes])
    elif content_bytes < 0x100:
        header = bytes([0x30, 0x81, content_bytes])
    else:
        header = b"\x30\x82" + content_bytes.to_bytes(2, "big")
    return header + b"\xa5" * content_bytes


def read(stream: bytes, piece_bytes: int) -> bytes:
    """The certificate, with as much of the stream as one piece may hold."""
    reader = CertificateReader()
    at = 0
    while not reader.is_whole:
        piece = stream[at : at + min(piece_bytes, reader.most)]
        reader.feed(piece)
        at += len(piece)
    return reader.certificate


@given(st.integers(0, MAX_CERTIFICATE_BYTES - 4), st.integers(1, 5000))
def test_a_certificate_is_read_whatever_the_pieces(content_bytes: int, piece_bytes: int) -> None:
    assert read(der(content_bytes), piece_bytes) == der(content_bytes)


@given(st.integers(0, MAX_CERTIFICATE_BYTES - 4), st.binary(min_size=1, max_size=20))
def test_what_follows_a_certificate_in_the_same_piece_is_refused(
    content_bytes: int, rest: bytes
) -> None:
    with pytest.raises(PeerError) as raised:
        CertificateReader().feed(der(content_bytes) + rest)
    assert raised.value.outcome == "bad-certificate"


@given(st.binary(min_size=1, max_size=200), st.integers(1, 50))
def test_any_bytes_end_in_a_certificate_or_a_refusal(stream: bytes, piece_bytes: int) -> None:
    found = b""
    with suppress(PeerError):
        found = read(stream, piece_bytes)
    assert stream.startswith(found)


@pytest.mark.parametrize("first", [0x00, 0x16, 0x31, ord("G"), ord("P"), 0xFF])
def test_the_first_byte_decides(first: int) -> None:
    with pytest.raises(PeerError) as raised:
        CertificateReader().feed(bytes([first]))
    assert raised.value.outcome == "unknown-protocol"


def test_4096_bytes_are_taken_and_4097_are_not() -> None:
    assert len(read(der(4092), 4096)) == 4096
    with pytest.raises(PeerError) as raised:
        read(der(4093), 4096)
    assert raised.value.outcome == "bad-certificate"


def test_an_unfinished_certificate_is_not_given_out() -> None:
    reader = CertificateReader()
    reader.feed(b"\x30")
    with pytest.raises(ValueError, match="not whole"):
        _ = reader.certificate
