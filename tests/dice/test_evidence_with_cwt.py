"""The same evidence by an independent COSE and CBOR library: same bytes, and it verifies ours."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

import dice
from dice import cbor, certificate, evidence
from tests.micropython import test_dice

cbor2 = pytest.importorskip("cbor2", reason="cbor2 is not installed")
cwt = pytest.importorskip("cwt", reason="cwt is not installed")


def _cose_key(public_key: bytes) -> object:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return cwt.COSEKey.from_pem(pem.decode(), alg="ES256")


def test_cwt_verifies_our_evidence() -> None:
    data = test_dice.make_evidence()
    public_key = certificate.parse(test_dice.make_certificate()).public_key
    payload = cwt.COSE.new(verify_kid=False).decode(data, _cose_key(public_key))
    claims = test_dice.make_claims()
    assert cbor2.loads(payload) == {
        10: claims.nonce,
        256: claims.ueid,
        259: b"esp32s3",
        270: "thermo",
        271: ["0.2.0"],
        -70001: claims.channel,
        -70002: claims.image_digest,
    }


def test_cwt_refuses_our_evidence_under_another_key() -> None:
    root = certificate.parse(dice.root_certificate(test_dice.UDS))
    with pytest.raises(cwt.VerifyError):
        cwt.COSE.new().decode(test_dice.make_evidence(), _cose_key(root.public_key))


def test_cbor2_writes_the_same_bytes() -> None:
    data = test_dice.make_evidence()
    again = cbor2.loads(data)
    assert again.tag == 18
    assert cbor2.dumps(again, canonical=True) == data
    payload = again.value[2]
    assert cbor2.dumps(cbor2.loads(payload), canonical=True) == payload


def test_evidence_that_cwt_signs_is_accepted() -> None:
    private_key = ec.generate_private_key(ec.SECP256R1())
    public_key = private_key.public_key().public_bytes(
        Encoding.X962, PublicFormat.UncompressedPoint
    )
    ours = cbor2.loads(test_dice.make_evidence())
    numbers = private_key.private_numbers()
    key = cwt.COSEKey.new(
        {
            1: 2,
            3: -7,
            -1: 1,
            -2: numbers.public_numbers.x.to_bytes(32, "big"),
            -3: numbers.public_numbers.y.to_bytes(32, "big"),
            -4: numbers.private_value.to_bytes(32, "big"),
        }
    )
    data = cwt.COSE.new().encode_and_sign(
        ours.value[2], key, protected={1: -7}, unprotected={33: b"certificate"}
    )
    decoded = evidence.decode(data)
    assert decoded.is_signed_by(public_key)
    assert decoded.claims.application == "thermo"


VALUES = st.recursive(
    st.one_of(st.integers(-(2**64), 2**64 - 1), st.binary(max_size=300), st.text(max_size=30)),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.dictionaries(st.one_of(st.integers(-300, 300), st.text(max_size=3)), children),
    ),
    max_leaves=6,
)


@given(VALUES)
def test_any_value_gets_the_bytes_that_cbor2_gives_it(value: object) -> None:
    encoded = cbor.encode(value)
    # RFC 8949, 4.2.1 sorts keys bytewise; cbor2's canonical form is RFC 7049's, shorter first
    assert cbor2.loads(encoded) == value
    assert len(encoded) == len(cbor2.dumps(value, canonical=True))
    if _depth(value) > 4:
        with pytest.raises(dice.EvidenceError, match="nested deeper"):
            cbor.decode(encoded)
    else:
        assert cbor.decode(encoded) == value


def _depth(value: object) -> int:
    """How many arrays and maps are around the innermost value."""
    if isinstance(value, dict):
        return max(map(_depth, value.values())) + 1 if value else 0
    if isinstance(value, list):
        return max(map(_depth, value)) + 1 if value else 0
    return 0
