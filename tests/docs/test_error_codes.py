"""docs/reference/error-codes.md has every code in the source, and none that is not."""

import re

import pytest

from dice_auth.appraisal import APPRAISAL_CHECKS
from tests.docs.codes_in_source import Source, stale
from tests.docs.pages import section, table_rows

PAGE = "reference/error-codes.md"
BOARD = Source("ota_service", "esp32_akri", "dice", "virtual_esp32")
IMAGES = Source("esp_image")
PARTITIONS = Source("esp_partition")
AGENT = Source("ota_agent")
ATTESTATION = Source("dice_auth")
EVENTS = Source("ota_agent", "dice_auth", sinks=frozenset(("event",)))
SECTIONS = {
    "The board": BOARD,
    "Images": IMAGES,
    "Partition tables and otadata": PARTITIONS,
    "The OTA agent": AGENT,
    "The attestation server": ATTESTATION,
    "Events in the servers' logs": EVENTS,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_code_in_the_source_is_on_the_page_and_the_other_way_round(heading: str) -> None:
    documented = [row[0].strip("`") for row in table_rows(section(PAGE, heading))]
    assert len(documented) == len(set(documented)), "a code twice"
    found = set(SECTIONS[heading].codes)
    if heading == "The board":  # those that judge the image have a section of their own
        found -= set(IMAGES.codes) - {"truncated", "trailing-data"}
    assert sorted(documented) == sorted(found)


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_code_has_a_cause_and_a_cure(heading: str) -> None:
    for row in table_rows(section(PAGE, heading)):
        assert all(row), row


def test_nothing_that_could_be_a_code_is_left_unread() -> None:
    assert [line for source in SECTIONS.values() for line in source.unreadable] == []
    assert stale(*SECTIONS.values()) == set()


def test_the_attestation_servers_own_list_is_found() -> None:
    assert set(APPRAISAL_CHECKS) <= set(ATTESTATION.codes)


def test_the_codes_that_docstrings_announce_are_codes() -> None:
    """`Raises OtaError("code")`: the docstrings are not wrong either."""
    every = {code for source in SECTIONS.values() for code in source.codes}
    for source in (BOARD, IMAGES, PARTITIONS, AGENT):
        for code in re.findall(r'Raises \w+Error\("([a-z0-9-]+)"\)', source.text()):
            assert code in every, code
