"""Real programs that tests use as second opinions; where one is missing its tests skip."""

import shutil

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
