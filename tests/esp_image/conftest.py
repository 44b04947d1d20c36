"""Keys for a whole test session, made when first asked for."""

import pytest

from tests.esp_image import signing
from tests.micropython_port import SHARED


@pytest.fixture(scope="session")
def keys():
    """`keys("rsa", 1)`: the second RSA key of this session; kinds as signing.make_key's."""
    made = {}

    def key(kind, number=0):
        if (kind, number) not in made:
            made[kind, number] = signing.make_key(kind)
        return made[kind, number]

    return key


@pytest.fixture(scope="session")
def real_images():
    """The folder of Espressif's images."""
    folder = SHARED / "images"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder
