"""What has to be known before an update can begin: whether the board is fit for one, into which
slot it goes, whose signature counts, and what image is expected. Its code goes again after that.
"""

import asyncio

from . import compat, secure_version, trust
from .errors import OtaError


async def new_session(service):
    """The session of an update, of the configured protocol. Raises OtaError for what no attempt
    can help."""
    board, config = service.board, service.config
    _require_fit(board)
    await asyncio.sleep(0)  # loading all this took its time
    slot = _spare_slot(board.running_partition())
    steps = trust.find_trust_steps(board, config.trusted_keys, config.allow_unsigned)
    found = compat.values_of(await service.stepped(steps))
    # Their turn comes again when the image is there.
    compat.let_go(
        "ota_crypto", "esp_image.signature", "esp_image.signature_block", "esp_image.readback"
    )
    expected = _expected(service, slot)
    if config.protocol == 2 and not config.insecure:
        from . import pending

        return pending.new_session(board, slot, expected, found)
    from .session import Session

    return Session(slot, expected, found)


def _require_fit(board):
    from . import confirmation

    if confirmation.read_entries(board) is None:
        raise OtaError("no-otadata", "the partition table has no otadata")
    if confirmation.is_pending(board):
        raise OtaError("not-confirmed", "the running firmware has not confirmed itself yet")
    confirmation = None  # else this frame would keep it
    compat.let_go("ota_service.confirmation", "esp_partition")


def _spare_slot(running):
    try:
        slot = running.get_next_update()
    except OSError as error:
        raise OtaError("no-spare-slot", "the partition table has no OTA slots: %s" % error)
    if slot.info()[2] == running.info()[2]:
        raise OtaError("no-spare-slot", "the partition table has no slot beside the running one")
    return slot


def _expected(service, slot):
    from esp_image.expected import Expected

    board, config, descriptor = service.board, service.config, service.descriptor
    return Expected(
        chip_id=board.chip_id,
        chip_revision=board.chip_revision,
        secure_version_floor=secure_version.floor(board, descriptor),
        project_name=config.project,
        policy=config.policy,
        running=descriptor,
        max_bytes=slot.info()[3],
    )
