"""Every code the doctor knows: its level, what it means, and the cure. docs/doctor.md holds the
same table (a test compares them)."""

from ota_cli.doctor.catalogue import agent, attestation, board, firmware, ports
from ota_cli.doctor.catalogue.entry import OK, PROBLEM, WARNING, Entry

__all__ = ["CATALOGUE", "OK", "PROBLEM", "SECTIONS", "WARNING", "Entry"]

# title -> codes, in the order of the documentation
SECTIONS: dict[str, dict[str, Entry]] = {
    "Ports": ports.ENTRIES,
    "The agent": agent.SERVICE,
    "The agent's certificate": agent.CERTIFICATE,
    "The agent's admin port": agent.ADMIN,
    "The board": board.BOARD,
    "The board's settings": board.SETTINGS,
    "The board's flash": board.FLASH,
    "Firmware": firmware.FIRMWARE,
    "Firmware for this board": firmware.FITTING,
    "The attestation server": attestation.SERVER,
    "Enrolment": attestation.ENROLMENT,
    "The clock": attestation.CLOCK,
}

CATALOGUE: dict[str, Entry] = {
    code: entry for entries in SECTIONS.values() for code, entry in entries.items()
}
