"""Protocol 2: challenge, evidence, then the firmware, framed and resumable.

protocol.md, section C. The order of things over one connection; what goes over it and comes back
is `proof`'s and `firmware_body`'s part. Where memory is scarce the code of each step gives way to
the next one's: a step is a function, whose frame would keep what it used.
"""

import asyncio

from . import compat
from .compat import const

_READERS = const(
    (
        "esp_image.parser",
        "esp_image.segments",
        "esp_image.readback",
        "esp_image.header",
        "esp_image.chips",
        "esp_image.chip_table",
        "esp_image.compat",
        "esp_image.checksum_viper",
    )
)
_ANSWERS = const(
    (
        "ota_service.agent_answers",
        "ota_service.attest_answers",
        "ota_service.firmware_answers",
        "ota_service.agent_refusals",
        "ota_service.http_response",
    )
)


def session(board, slot, expected, trust):
    """The session of an update as it begins."""
    # What read the running image; its turn comes again with the first byte of the new one.
    compat.let_go(*_READERS)
    from .pending import PendingSession

    return PendingSession(board, slot, expected, trust)


async def receive(update, service, patience, host, port):
    """One attempt: from connecting to the image's last byte. Raises PeerError, OtaError.

    update: whose `session` this goes on with.
    """
    coroutine = _receive(update, service, patience, host, port)
    await patience.watch(coroutine, "no TLS connection", service.config.connect_s)


async def _receive(update, service, patience, host, port):
    config = service.config
    service.event("connecting", "%s:%d, attempt %d" % (host, port, update.session.attempt))
    service.verdict = None
    name = "%s:%d" % (config.agent_name, port)
    from . import proof

    reader, writer, channel = await proof.connect(service, host, port, name)
    try:
        update.session.connected()
        token = await proof.prove(reader, writer, name, channel, update, service, patience)
        proof = None  # else this frame would keep it
        compat.let_go("ota_service.proof")
        await _resume(update.session, service, patience)
        first, length = await _ask_firmware(reader, writer, name, token, update.session)
        compat.let_go(*_ANSWERS)
        from . import firmware_body

        receiving = firmware_body.receive(
            reader, first, length, update.session, patience, config.read_s, service.progress
        )
        first = None
        await receiving
    finally:
        await compat.close_stream(writer)


async def _resume(session, service, patience):
    """Take up what has come before; then the firmware has to come."""
    patience.expect("nothing read from flash", service.config.deadline_s)
    await service.stepped(session.resume_steps())
    compat.let_go("ota_service.taking_up")
    if session.received:
        service.event("resuming", "at byte %d" % session.received)
    patience.expect("no firmware", service.config.first_byte_s)


async def _ask_firmware(reader, writer, name, token, session):
    """As firmware_answers.open_firmware. What reads answers comes once more, and goes again."""
    await asyncio.sleep(0)  # loading code takes its time
    from .agent_answers import Agent
    from .firmware_answers import open_firmware

    return await open_firmware(Agent(reader, writer, name), token, session)
