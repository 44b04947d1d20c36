"""No secret stays in a buffer, or comes out in a text."""

import pytest

import dice
from dice import certificate, keys
from ota_crypto import hkdf, hmac, p256, wipe
from ota_crypto.hmac_drbg import HmacDrbg

UDS = bytes(range(100, 132))


def test_a_key_seed_is_overwritten_after_use(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    make = keys.private_key_from_seed

    def watched(seed: bytearray) -> int:
        assert any(seed)
        seeds.append(seed)
        return make(seed)

    monkeypatch.setattr(keys, "private_key_from_seed", watched)
    dice.device_certificate(UDS, bytes(64), bytes(64))
    assert len(seeds) == 2
    assert all(seed == bytearray(32) for seed in seeds)


def test_a_closed_hmac_holds_no_key() -> None:
    mac = hmac.Hmac(b"secret", "sha512")
    key = mac._key
    assert key == b"secret"
    mac.close()
    assert key == bytearray(6)


@pytest.mark.usefixtures("pure")
def test_no_hmac_key_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []
    start = hmac.Hmac.__init__

    def watched(self: hmac.Hmac, key: bytes, hash_name: str) -> None:
        start(self, key, hash_name)
        held.append(self._key)

    monkeypatch.setattr(hmac.Hmac, "__init__", watched)
    dice.device_certificate(UDS, bytes(64), bytes(64))
    assert len(held) > 10
    assert not any(any(key) for key in held)


def test_a_spent_generator_is_empty() -> None:
    drbg = HmacDrbg(b"secret")
    drbg.generate(32)
    drbg.close()
    assert drbg._value == b""
    assert drbg._mac._key == bytearray(64)


def test_wiping_reaches_a_view_into_a_buffer() -> None:
    buffer = bytearray(b"abcdef")
    wipe(memoryview(buffer)[1:3])
    assert buffer == b"a\x00\x00def"
    for size in (0, 1, 127, 128, 129, 300):
        buffer = bytearray(b"x" * size)
        wipe(buffer)
        assert buffer == bytearray(size)


def test_texts_carry_no_secret() -> None:
    seed = hkdf.derive(UDS, b"", b"", 32)
    private_key, _ = dice.key_pair(seed)
    texts = [
        repr(dice.InputValues(hidden=UDS * 2)),
        repr(certificate.parse(dice.root_certificate(UDS))),
        repr(HmacDrbg(UDS)),
        repr(hmac.Hmac(UDS, "sha512")),
    ]
    for call in (
        lambda: dice.root_certificate(UDS + b"x"),
        lambda: dice.main_flow(UDS, UDS + b"x", dice.InputValues()),
        lambda: p256.sign(private_key + p256.ORDER, bytes(32)),
        lambda: dice.key_pair(seed + b"x"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (its text is looked at below)
            call()
        texts.append(str(caught.value))
    for text in texts:
        for secret in (str(private_key), UDS.hex(), seed.hex(), repr(UDS)[2:20]):
            assert secret not in text
