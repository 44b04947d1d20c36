"""Codes about a board: its endpoints, its settings, its flash."""

from ota_cli.doctor.catalogue.entry import Entry, fine, problem, warning

BOARD: dict[str, Entry] = {
    "board-ok": fine("the board answers, and is ready for an update"),
    "board-not-http": problem(
        "what answers there does not speak HTTP, or not in time",
        "give the board's HTTP address; ports 4433 and 3333 are not its",
    ),
    "board-not-ota": problem(
        "an HTTP server without the endpoints of an OTA board",
        "give the board's own address; its application has to register /info and /update",
    ),
    "board-no-status": warning(
        "the board does not report its updates (GET /update)",
        "register `ota_service.ota_status_handler`; the C originals have none",
    ),
    "board-no-version": warning(
        "the board's firmware has no version or application name",
        "stamp the next image: `ota-service image stamp FILE --version V --project NAME -o NEW`",
    ),
    "board-not-confirmed": problem(
        "the running firmware has not confirmed itself: no update is taken, and the next reset goes"
        " back to the old one",
        "call `ota_service.confirm()` once the endpoints are served; its self-test may be failing",
    ),
    "board-updating": warning(
        "an update is under way",
        "wait for its end, or `ota-service update URL --cancel`",
    ),
    "board-update-failed": problem(
        "the last update failed; the message has the board's own error code",
        "by that code: docs/doctor.md, By a board's own error code",
    ),
}

SETTINGS: dict[str, Entry] = {
    "board-config-ok": fine("the board's settings can be read"),
    "board-config-invalid": problem(
        "the board's settings would not be taken",
        "correct the setting that is named: docs/updates.md, Settings",
    ),
    "board-no-agent-ca": problem(
        "the settings name no CA, and without one every update is refused",
        'put ca.der on the board, and "agent_ca": "ca.der" into its settings',
    ),
    "board-agent-not-allowed": problem(
        "the agent is not on the board's allow-list",
        "add the agent, as boards are asked for it, to `allowed_agents`",
    ),
    "board-insecure": warning(
        "the settings take security away (`insecure`, `allow_unsigned`)",
        "take the setting out, and sign the firmware: `ota-service image sign`",
    ),
    "board-attestation-impossible": problem(
        "the settings require attestation and also protocol 1 or insecure mode: every update is"
        " refused",
        'set "identity": "provisioned" (protocol 2), or take `require_attestation` out',
    ),
}

FLASH: dict[str, Entry] = {
    "flash-ok": fine("flash file or partition table can be updated"),
    "flash-unreadable": problem(
        "the flash file cannot be read as a board's",
        "give a file that `ota-service board create` or `board adopt` made, its .efuse.json beside",
    ),
    "flash-not-bootable": problem(
        "the flash file holds nothing that boots",
        "flash a whole firmware: `ota-service board create FLASH --app FILE`",
    ),
    "partitions-invalid": problem(
        "the partition table cannot be used",
        "correct the row that is named; MicroPython's partitions-4MiB-ota.csv is a right one",
    ),
    "partitions-no-second-slot": problem(
        "no slot beside the running one, so there is nowhere to write an update to",
        "two OTA slots, ota_0 and ota_1: flash with an OTA partition table (`idf.py erase-flash`"
        " first)",
    ),
    "partitions-no-otadata": problem(
        "no otadata partition, so a new slot can never be chosen",
        "add `otadata,data,ota,,0x2000` to the partition table",
    ),
    "flash-no-trusted-key": problem(
        "the board trusts no key: Secure Boot off, none configured, running firmware unsigned",
        "set `trusted_keys`, or flash signed firmware once by cable",
    ),
    "flash-not-confirmed": problem(
        "the firmware in the flash file has not confirmed itself: no update is taken",
        "let it run until it has; it has to call `ota_service.confirm()`",
    ),
}
