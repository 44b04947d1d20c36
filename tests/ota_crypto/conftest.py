"""The two backends of ota_crypto on CPython."""

from collections.abc import Iterator

import pytest

from ota_crypto import backend


@pytest.fixture
def pure() -> Iterator[None]:
    """Our own code instead of hashlib and `cryptography`."""
    before = backend.select(backend.PURE)
    yield
    backend.select(before)
