"""Attacked boards run under both runtimes, as those of tests/ota_service."""

from tests.ota_service.conftest import board as board
