"""Our own code gives what `cryptography` and hashlib give: 10,000 cases."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from ota_crypto import (
    backend,
    hkdf,
    p256,
    p256_native,
    p256_pure,
    p256_verify,
    rsa_native,
    rsa_pss,
    steps,
)
from ota_crypto.sha512_pure import Sha384, Sha512

# scalars near the ends and around the comb's spacing, and any others
_EDGES = [1, 2, 3, 1 << 26, 1 << 52, (1 << 208) - 1, p256.ORDER - 2, p256.ORDER - 1]
PRIVATE_KEYS = st.one_of(st.sampled_from(_EDGES), st.integers(1, p256.ORDER - 1))
DIGESTS = st.one_of(st.binary(min_size=n, max_size=n) for n in (32, 48, 64))
HASH_NAMES = {32: "sha256", 48: "sha384", 64: "sha512"}


@settings(max_examples=2500, deadline=None)
@given(PRIVATE_KEYS)
def test_public_keys_are_the_same(private_key: int) -> None:
    expected = steps.run(p256_native.public_key_steps(private_key))
    assert steps.run(p256_pure.public_key_steps(private_key)) == expected


@settings(max_examples=2500, deadline=None)
@given(PRIVATE_KEYS, DIGESTS)
def test_signatures_are_the_same(private_key: int, digest: bytes) -> None:
    name = HASH_NAMES[len(digest)]
    expected = steps.run(p256_native.sign_steps(private_key, digest, name))
    assert steps.run(p256_pure.sign_steps(private_key, digest, name)) == expected


@st.composite
def signatures(draw: st.DrawFn) -> tuple[bytes, bytes, int, int]:
    """A key, a digest and a signature, most of them with something changed."""
    private_key, digest = draw(PRIVATE_KEYS), draw(DIGESTS)
    public_key = p256.public_key(private_key)
    if draw(st.booleans()):
        public_key = p256.compress(public_key)
    r, s = p256.sign(private_key, digest)
    change = draw(st.integers(0, 7))
    if change == 1:
        r = draw(st.integers(1, p256.ORDER - 1))
    elif change == 2:
        s = draw(st.integers(1, p256.ORDER - 1))
    elif change == 3:
        s = p256.ORDER - s
    elif change == 4:
        digest = bytes([digest[0] ^ 1]) + digest[1:]
    elif change == 5:
        at = draw(st.integers(0, len(public_key) - 1))
        changed = bytearray(public_key)
        changed[at] ^= 1 << draw(st.integers(0, 7))
        public_key = bytes(changed)
    elif change == 6:
        public_key = draw(st.binary(max_size=70))
    return public_key, digest, r, s


@settings(max_examples=2500, deadline=None)
@given(signatures())
def test_verdicts_are_the_same(case: tuple[bytes, bytes, int, int]) -> None:
    expected = p256_native.verify(*case)
    assert steps.run(p256_verify.verify_steps(*case)) == expected


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=4))
def test_sha_2_is_the_same_however_it_is_fed(parts: list[bytes]) -> None:
    for ours, theirs in ((Sha512(), hashlib.sha512()), (Sha384(), hashlib.sha384())):
        for part in parts:
            ours.update(part)
            theirs.update(part)
        assert ours.digest() == theirs.digest()


@settings(max_examples=1000, deadline=None)
@given(
    st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=50), st.integers(1, 200)
)
def test_hkdf_is_that_of_cryptography(ikm: bytes, salt: bytes, info: bytes, length: int) -> None:
    expected = HKDF(hashes.SHA512(), length, salt, info).derive(ikm)
    before = backend.select(backend.PURE)
    try:
        assert hkdf.derive(ikm, salt, info, length) == expected
    finally:
        backend.select(before)


@pytest.mark.parametrize("bits", [2048, 2049, 3072, 3079, 4096])
def test_rsa_signatures_of_any_size_verify_alike(bits: int) -> None:
    private = rsa.generate_private_key(65537, bits)
    n = private.public_key().public_numbers().n
    for name, algorithm, salt in (("sha256", hashes.SHA256(), 32), ("sha384", hashes.SHA384(), 0)):
        digest = hashlib.new(name, b"image").digest()
        signature = private.sign(
            digest, padding.PSS(padding.MGF1(algorithm), salt), Prehashed(algorithm)
        )
        wrong = signature[:-1] + bytes((signature[-1] ^ 1,))
        for changed, expected in ((signature, True), (wrong, False)):
            before = backend.select(backend.PURE)
            try:
                assert rsa_pss.verify(n, 65537, digest, changed, name, salt) is expected
            finally:
                backend.select(before)
            assert rsa_native.verify_pss(n, 65537, digest, changed, name, salt) is expected


@pytest.mark.usefixtures("pure")
@pytest.mark.parametrize("flaw", ["trailer", "padding", "separator", "top bits"])
def test_an_encoding_with_one_flaw_is_no_pss_signature(flaw: str) -> None:
    """Signed with the private key, so that only the encoding is wrong (RFC 8017, 9.1.2)."""
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.private_numbers()
    n, d = numbers.public_numbers.n, numbers.d
    digest = hashlib.sha256(b"image").digest()
    separator = 256 - 32 - 1 - 32 - 1
    at, mask = {
        "trailer": (255, 0x01),
        "padding": (5, 0x01),
        "separator": (separator, 0x02),
        "top bits": (0, 0x80),
    }[flaw]
    value = n
    # another salt each time, until the flawed encoding is a number below the modulus
    while value >= n:
        good = private.sign(
            digest, padding.PSS(padding.MGF1(hashes.SHA256()), 32), Prehashed(hashes.SHA256())
        )
        encoded = bytearray(pow(int.from_bytes(good, "big"), 65537, n).to_bytes(256, "big"))
        encoded[at] ^= mask
        value = int.from_bytes(encoded, "big")
    assert rsa_pss.verify(n, 65537, digest, good)
    assert not rsa_pss.verify(n, 65537, digest, pow(value, d, n).to_bytes(256, "big"))


@pytest.mark.usefixtures("pure")
def test_r_may_stand_for_an_x_coordinate_above_the_order() -> None:
    """x of R can be r + n: made by choosing R first, then the key that fits (FIPS 186-5, 6.4.2)."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    r = 0
    while True:
        r += 1
        if _is_on_curve(r + p256.ORDER, prime):
            break
    point = p256.decompress(b"\x02" + (r + p256.ORDER).to_bytes(32, "big"))
    # with e = 0 and s = r, u2 = 1: the key is R itself
    assert p256.verify(point, bytes(32), r, r)
    assert p256_native.verify(point, bytes(32), r, r)


def _is_on_curve(x: int, prime: int) -> bool:
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    return pow((x**3 - 3 * x + b) % prime, (prime - 1) // 2, prime) == 1


def test_there_is_no_third_backend() -> None:
    with pytest.raises(ValueError, match="no backend 'fast'"):
        backend.select("fast")
    assert backend.current() == backend.NATIVE
