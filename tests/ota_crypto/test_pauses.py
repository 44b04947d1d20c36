"""Long operations pause at least every 100 modular products, so that a board keeps answering."""

from collections.abc import Generator
from typing import Any

import pytest

from ota_crypto import p256, p256_comb, p256_curve, p256_pure, p256_verify, sha256

pytestmark = pytest.mark.usefixtures("pure")

KEY = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721


class CountingModulus(int):
    """A modulus that counts the reductions made with it."""

    count = 0

    def __rmod__(self, left: int) -> int:
        CountingModulus.count += 1
        return int(left) % int(self)


def counting_pow(base: int, exponent: int, modulus: int) -> int:
    # square and multiply, as MicroPython's pow does it
    CountingModulus.count += exponent.bit_length() + exponent.bit_count()
    return pow(base, exponent, int(modulus))


def most_products_between_pauses(work: Generator[Any, Any, Any]) -> int:
    most = CountingModulus.count = 0
    while True:
        try:
            next(work)
        except StopIteration:
            return max(most, CountingModulus.count)
        most = max(most, CountingModulus.count)
        CountingModulus.count = 0


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    prime, order = CountingModulus(p256_curve.PRIME), CountingModulus(p256.ORDER)
    for module in (p256_curve, p256_pure, p256_verify):
        monkeypatch.setattr(module, "PRIME", prime)
    for module in (p256, p256_comb, p256_pure, p256_verify):
        monkeypatch.setattr(module, "ORDER", order)
    monkeypatch.setattr(p256_curve, "pow", counting_pow, raising=False)


@pytest.mark.parametrize("operation", ["public key", "sign", "verify", "verify compressed"])
def test_no_operation_keeps_a_board_busy_for_100_products(operation: str) -> None:
    public_key = p256.public_key(KEY)
    digest = sha256(b"sample").digest()
    r, s = p256.sign(KEY, digest)
    work: Generator[Any, Any, Any] = {
        "public key": lambda: p256.public_key_steps(KEY),
        "sign": lambda: p256.sign_steps(KEY, digest),
        "verify": lambda: p256.verify_steps(public_key, digest, r, s),
        "verify compressed": lambda: p256.verify_steps(p256.compress(public_key), digest, r, s),
    }[operation]()
    assert 0 < most_products_between_pauses(work) <= 100
