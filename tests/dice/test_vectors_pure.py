"""The C code's vectors and the certificate tests, with the board's own cryptography on CPython."""

from collections.abc import Callable

import pytest

from ota_crypto import backend
from tests.micropython import test_dice, test_dice_vectors

TESTS = [
    getattr(module, name)
    for module in (test_dice_vectors, test_dice)
    for name in dir(module)
    if name.startswith("test_")
]


@pytest.mark.usefixtures("pure")
@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_the_boards_own_code_passes_too(test: Callable[[], None]) -> None:
    assert backend.current() == backend.PURE
    test()
