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


def read(stream: bytes, piece_bytes: int) -> tuple[bytes, bytes]:
    """The certificate and what was left in the stream."""
    reader = CertificateReader()
    at = 0
    while reader.wanted:
        piece = stream[at : at + min(piece_bytes, reader.wanted)]
        reader.feed(piece)
        at += len(piece)
    return reader.certificate, stream[at:]


@given(st.integers(0, MAX_CERTIFICATE_BYTES - 4), st.integers(1, 5000), st.binary(max_size=20))
def test_exactly_one_certificate_is_read_whatever_the_pieces(
    content_bytes: int, piece_bytes: int, rest: bytes
) -> None:
    assert read(der(content_bytes) + rest, piece_bytes) == (der(content_bytes), rest)


@given(st.binary(min_size=1, max_size=200), st.integers(1, 50))
def test_any_bytes_end_in_a_certificate_or_a_refusal(stream: bytes, piece_bytes: int) -> None:
    found = rest = b""
    with suppress(PeerError):
        found, rest = read(stream, piece_bytes)
    assert found + rest in (b"", stream)


@pytest.mark.parametrize("first", [0x00, 0x16, 0x31, ord("G"), ord("P"), 0xFF])
def test_the_first_byte_decides(first: int) -> None:
    with pytest.raises(PeerError) as raised:
        CertificateReader().feed(bytes([first]))
    assert raised.value.outcome == "unknown-protocol"


def test_4096_bytes_are_taken_and_4097_are_not() -> None:
    assert len(read(der(4092), 4096)[0]) == 4096
    with pytest.raises(PeerError) as raised:
        read(der(4093), 4096)
    assert raised.value.outcome == "bad-certificate"


def test_an_unfinished_certificate_is_not_given_out() -> None:
    reader = CertificateReader()
    reader.feed(b"\x30")
    with pytest.raises(ValueError, match="not whole"):
        _ = reader.certificate
