"""ota_crypto against published vectors, on CPython and MicroPython."""

import binascii

from ota_crypto import hkdf, hmac, p256, rsa_pss, sha256, sha384, sha512, sha512_plain, steps
from ota_crypto.hmac_drbg import HmacDrbg

_unhex = binascii.unhexlify


def _int(text):
    return int(text, 16)


def test_sha512_gives_the_hashes_of_fips_180_4():
    assert sha512(b"abc").digest() == _unhex(
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    assert sha384(b"abc").digest() == _unhex(
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
        "8086072ba1e7cc2358baeca134c825a7"
    )


def test_sha512_of_a_message_does_not_depend_on_how_it_is_fed():
    message = bytes([i * 7 & 255 for i in range(300)])
    whole = sha512(message).digest()
    for size in (1, 63, 111, 112, 127, 128, 129, 255):
        hashed = sha512()
        for at in range(0, len(message), size):
            hashed.update(memoryview(message)[at : at + size])
        assert hashed.digest() == whole, size


def test_a_copied_sha512_goes_its_own_way():
    first = sha512(b"a" * 130)
    second = first.copy()
    first.update(b"b")
    second.update(b"c")
    assert first.digest() == sha512(b"a" * 130 + b"b").digest()
    assert second.digest() == sha512(b"a" * 130 + b"c").digest()


def test_machine_code_and_plain_python_compress_alike():
    from ota_crypto import compat
    from ota_crypto.sha512_pure import _INITIAL_512, _ROUND_CONSTANTS

    compress = compat.sha512_compress()
    states = bytearray(_INITIAL_512), bytearray(_INITIAL_512)
    schedule = bytearray(128)
    block = bytes([255 - i for i in range(128)])
    for _ in range(50):
        compress(states[0], block, bytearray(_ROUND_CONSTANTS), schedule)
        sha512_plain.compress(states[1], block, _ROUND_CONSTANTS, schedule)
        assert states[0] == states[1]
        block = bytes(states[0]) + bytes(block[:64])


def test_hmac_gives_the_codes_of_rfc_4231():
    # cases 1 and 6: a key longer than the block in the second
    assert hmac.digest(b"\x0b" * 20, b"Hi There", "sha256") == _unhex(
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    )
    message = b"Test Using Larger Than Block-Size Key - Hash Key First"
    assert hmac.digest(b"\xaa" * 131, message, "sha512") == _unhex(
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
        "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"
    )


def test_one_hmac_key_serves_many_messages():
    for name in ("sha256", "sha384", "sha512"):
        mac = hmac.Hmac(b"key", name)
        for message in (b"one", b"two"):
            assert mac.digest(message[:1], message[1:]) == hmac.digest(b"key", message, name)


def test_codes_are_compared_whole():
    assert hmac.is_equal(b"abc", b"abc")
    assert not hmac.is_equal(b"abc", b"abd")
    assert not hmac.is_equal(b"abc", b"ab")


def test_hkdf_gives_the_keys_of_rfc_5869():
    # A.1 and A.3
    okm = hkdf.derive(
        b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42, hash_name="sha256"
    )
    assert okm == _unhex(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert hkdf.derive(b"\x0b" * 22, b"", b"", 42, "sha256") == _unhex(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_hmac_drbg_goes_on_where_it_stopped():
    whole = HmacDrbg(b"seed")
    first, second = whole.generate(64), whole.generate(64)
    again = HmacDrbg(b"seed")
    assert again.generate(64) == first and again.generate(64) == second and first != second


_KEY = _int("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
_PUBLIC = _unhex(
    "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
# RFC 6979, A.2.5
_SIGNATURES = (
    (
        sha256,
        b"sample",
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    ),
    (
        sha384,
        b"sample",
        "0EAFEA039B20E9B42309FB1D89E213057CBF973DC0CFC8F129EDDDC800EF7719",
        "4861F0491E6998B9455193E34E7B0D284DDD7149A74B95B9261F13ABDE940954",
    ),
    (
        sha512,
        b"sample",
        "8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00",
        "2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE",
    ),
    (
        sha256,
        b"test",
        "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
        "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
    ),
    (
        sha512,
        b"test",
        "461D93F31B6540894788FD206C07CFA0CC35F46FA3C91816FFF1040AD1581A04",
        "39AF9F15DE0DB8D97E72719C74820D304CE5226E32DEDAE67519E840D1194E55",
    ),
)


def test_signatures_are_those_of_rfc_6979():
    assert p256.public_key(_KEY) == _PUBLIC
    for new, message, r, s in _SIGNATURES:
        digest = new(message).digest()
        assert p256.sign(_KEY, digest) == (_int(r), _int(s)), message
        assert p256.verify(_PUBLIC, digest, _int(r), _int(s))
        assert p256.verify(p256.compress(_PUBLIC), digest, _int(r), _int(s))


def test_a_signature_of_something_else_is_refused():
    new, message, r, s = _SIGNATURES[0]
    digest, r, s = new(message).digest(), _int(r), _int(s)
    other = p256.public_key(_KEY + 1)
    assert not p256.verify(_PUBLIC, sha256(b"other").digest(), r, s)
    assert not p256.verify(other, digest, r, s)
    assert not p256.verify(_PUBLIC, digest, r, s ^ 1)
    assert not p256.verify(_PUBLIC, digest, s, r)


def test_numbers_out_of_range_are_no_signature():
    new, message, r, s = _SIGNATURES[0]
    digest, r, s = new(message).digest(), _int(r), _int(s)
    n = p256.ORDER
    for bad in (0, n, n + 1, -1, 1 << 256):
        assert not p256.verify(_PUBLIC, digest, bad, s)
        assert not p256.verify(_PUBLIC, digest, r, bad)
    assert not p256.verify(_PUBLIC, digest, r + n, s)


def test_bytes_that_are_no_point_verify_nothing():
    new, message, r, s = _SIGNATURES[0]
    digest, r, s = new(message).digest(), _int(r), _int(s)
    prime = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
    off_curve = _PUBLIC[:64] + bytes([_PUBLIC[64] ^ 1])
    for point in (
        b"",
        b"\x00",
        b"\x00" + bytes(64),
        b"\x04" + bytes(64),
        off_curve,
        _PUBLIC[:64],
        _PUBLIC + b"\x00",
        b"\x06" + _PUBLIC[1:],
        b"\x04" + prime.to_bytes(32, "big") + _PUBLIC[33:],
        b"\x02" + b"\xff" * 32,
        b"\x02" + bytes(31) + b"\x01",
    ):
        assert not p256.verify(point, digest, r, s), point


def test_small_and_large_private_keys_have_their_public_keys():
    # k G and (n - k) G differ in the sign of y only
    prime = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
    for k in (1, 2, 3, 4, 5, 1 << 52, (1 << 26) + 1, p256.ORDER // 2):
        one, other = p256.public_key(k), p256.public_key(p256.ORDER - k)
        assert one[:33] == other[:33]
        y = int.from_bytes(one[33:], "big") + int.from_bytes(other[33:], "big")
        assert y == prime
        assert p256.decompress(p256.compress(one)) == one


def test_a_signature_with_an_all_zero_digest_verifies():
    for digest in (bytes(32), b"\xff" * 32, bytes(64)):
        r, s = p256.sign(_KEY, digest)
        assert p256.verify(_PUBLIC, digest, r, s)


def test_the_callers_mistakes_are_value_errors():
    for call in (
        lambda: p256.public_key(0),
        lambda: p256.public_key(p256.ORDER),
        lambda: p256.sign(_KEY, bytes(20)),
        lambda: p256.verify(_PUBLIC, bytes(20), 1, 1),
        lambda: p256.decompress(bytes(33)),
        lambda: p256.compress(bytes(33)),
        lambda: hkdf.derive(b"k", b"", b"", 0),
        lambda: hmac.digest(b"k", b"", "md5"),
        lambda: rsa_pss.verify(_int(_MODULUS), 65537, bytes(20), _unhex(_SIGNATURE)),
    ):
        try:
            call()
        except ValueError as error:
            # an error never carries the private key
            assert str(_KEY) not in str(error)
        else:
            raise AssertionError("no ValueError")


_MODULUS = (
    "ab1993e7592d2e7f51b3f05d5f5582a2acdfc4c3c6b6c51919c9ddd3dc4e3cafd741d32895ed5870d7f00c36"
    "a286ac80a226245a523fd9e1788e096b447fcb2982ea771e12c195aca188b60de14a3a1a8a6f5e6262d8f190"
    "f3a68a1a82442e4d3cbd325c613b2aa5b0924a7c0ed8949f2172ebc5ad05f7eab6a5fb46426bc4e4a2e8ca62"
    "e3c35072c0135d2fc743b9da62b7c3427538583ae7011787eafa6a15aac710500662baf8c64624691a0bf5c2"
    "a1fc5c4a2f8d171b0f1829b4c4d05a8f957fe5f222a7bf38fd935af7aa671a92c414af86c49e3328fa30f5b9"
    "efea0c9e9a13e86a94cd9435a745014ec3f265b31908a479700b4b3e330e0495ef78328e2823d7514bbe2abe"
    "cb49d0802e9dca66751d47892495d332e3cbd88e5f765b2a5c809a2ba821f45156614fcc203872449dbab9ea"
    "dc114b876d8f4474141853943d7e3b5d8bf0f96c74d64ae10b3eba39f6bccb9ac86f35965b543930182b75b8"
    "880dff4b1a79e2022e1b8f9f9bd351933e71f3e19ed1797090ab1118f0ba8c7d"
)
_SIGNATURE = (
    "6621c65a3127dd47417b8b9e9528b759d5b32602eb38e8b07924fa09056cc1dabda3112a905b2e7ceec69213"
    "ff6757cd3d09ab0a8082deb2196111a1ead113ed88180489b0785d24126a36defb470538e08e3e68fb29c4fd"
    "2c4b7d754bb3bc9574304cb6ff101df24d9854efe654099bf60da40f67363b4f44a6df9dea65170ac45763a6"
    "c33a1a966c8e0fdd4e9eaeef7143837b892104d3dc4b175b1f3226fcf0e98757016340c4b532f9abb4ccb2d4"
    "f489ae629c6680f7aa6805cc65b36e854b04f3a4a31244bc320651a974fbb006367b37e9b9e40dc22630af0a"
    "11840751ac9c7ce31f5105625aaa30de4b3acd9d5235dc30dab0c0a388289fba1ed4a6c2a1f1013a1464dcea"
    "00bb7326a7cb11eccc5061e3be95270367591b2c5245c4559f9d78041ff3df13bad60679c7ccb15b328074a1"
    "7dc3859107f621c1b41edb60fbbb3d738dcc96112b65705506b3d11b8dbdbe131152cf6be813e4529951c93f"
    "cb066d559e7b8a379ca0e46cea6bd17fce5bf2ec9c6762d2b8d3c3f2984cbc82"
)


def test_an_rsa_3072_pss_signature_verifies():
    digest, signature = sha256(b"firmware").digest(), _unhex(_SIGNATURE)
    assert rsa_pss.verify(_int(_MODULUS), 65537, digest, signature)


def test_a_changed_rsa_signature_key_or_digest_is_refused():
    n, digest, signature = _int(_MODULUS), sha256(b"firmware").digest(), _unhex(_SIGNATURE)
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for key, exponent, what, by in (
        (n, 65537, sha256(b"malware").digest(), signature),
        (n, 65537, digest, flipped),
        (n, 65537, digest, signature[:-1]),
        (n, 65537, digest, signature + b"\x00"),
        (n, 65537, digest, b"\xff" * 384),
        (n, 65537, digest, bytes(384)),
        (n, 3, digest, signature),
        (n, 1, digest, signature),
        (n, 65536, digest, signature),
        (n + 2, 65537, digest, signature),
        (n - 1, 65537, digest, signature),
        (n >> 2048, 65537, digest, signature[256:]),
    ):
        assert not rsa_pss.verify(key, exponent, what, by)
    assert not rsa_pss.verify(n, 65537, digest, signature, salt_bytes=31)


def test_long_operations_can_be_run_step_by_step():
    digest = sha256(b"sample").digest()
    for make, expected in (
        (lambda: p256.public_key_steps(_KEY), _PUBLIC),
        (lambda: p256.sign_steps(_KEY, digest), p256.sign(_KEY, digest)),
        (lambda: p256.verify_steps(_PUBLIC, digest, 1, 1), False),
        (
            lambda: rsa_pss.verify_steps(
                _int(_MODULUS), 65537, sha256(b"firmware").digest(), _unhex(_SIGNATURE)
            ),
            True,
        ),
    ):
        assert steps.run(make()) == expected


def test_a_hash_stays_a_function_after_its_first_use():
    import ota_crypto

    for name in ("sha256", "sha384", "sha512"):
        getattr(ota_crypto, name)(b"")
        assert getattr(ota_crypto, name)(b"").digest()
