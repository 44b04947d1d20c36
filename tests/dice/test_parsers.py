"""Whatever bytes arrive, the parsers answer or refuse with their own error."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import dice
from dice import cbor, certificate, der, der_writer, evidence
from tests.micropython import test_dice

CERTIFICATE = test_dice.make_certificate()
EVIDENCE = test_dice.make_evidence()


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """A few bytes replaced, a piece cut out or put in."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        length = draw(st.sampled_from([0, 1, 1, 2, 20]))
        data[at : at + length] = draw(st.binary(max_size=4))
    return bytes(data)


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.binary(max_size=200), damaged(CERTIFICATE)))
@example(b"\x30\x00")
def test_no_bytes_make_the_certificate_parser_fail_otherwise(data: bytes) -> None:
    try:
        parsed = certificate.parse(data)
    except dice.CertificateError:
        return
    assert parsed.der == data
    assert certificate.total_length(data) == len(data)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=100), damaged(certificate.to_pem(CERTIFICATE).encode())))
def test_no_bytes_make_the_pem_reader_fail_otherwise(data: bytes) -> None:
    try:
        found = certificate.from_pem(data)
    except dice.CertificateError:
        return
    assert certificate.from_pem(certificate.to_pem(found)) == found


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.binary(max_size=100), damaged(EVIDENCE)))
def test_no_bytes_make_the_evidence_reader_fail_otherwise(data: bytes) -> None:
    try:
        evidence.decode(data)
    except dice.EvidenceError:
        return


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=40))
def test_cbor_that_is_taken_is_the_only_encoding_of_its_value(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except dice.EvidenceError:
        return
    assert cbor.encode(value) == data


@settings(deadline=None)
@given(st.integers(0, 2**256 - 1), st.integers(0, 2**256 - 1))
def test_signatures_come_back_from_der(r: int, s: int) -> None:
    assert der.decode_ecdsa_signature(der_writer.encode_ecdsa_signature(r, s)) == (r, s)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3006020101020101" + "00",  # a byte behind it
        "3007020101020101" + "00",  # a byte inside behind it
        "30070202000102" + "0101",  # r with a leading zero
        "3006020181020101",  # r negative
        "30050200020101",  # r empty
        "308106020101020101",  # long form of a short length
        "3080020101020101" + "0000",  # indefinite length
        "3106020101020101",  # a SET
        "3003020101",  # s missing
        "3006030101020101",  # a BIT STRING as r
    ],
)
def test_a_signature_that_is_not_canonical_der_is_refused(text: str) -> None:
    with pytest.raises(dice.CertificateError):
        der.decode_ecdsa_signature(bytes.fromhex(text))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(CERTIFICATE)), st.binary(max_size=5))
def test_a_stream_tells_where_its_certificate_ends(cut: int, behind: bytes) -> None:
    total = certificate.total_length((CERTIFICATE + behind)[:cut])
    assert total == (None if cut < 4 else len(CERTIFICATE))
