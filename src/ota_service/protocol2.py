"""Protocol 2: challenge, evidence, then the firmware, framed and resumable.

protocol.md, section C. The order of things over one connection; what goes over it and comes back
is `agent_answers`'s and `firmware_body`'s part. Where memory is scarce the code of each step gives
way to the next one's: a step is a function, whose frame would keep what it used.
"""

import asyncio
from hashlib import sha256

from . import compat
from .compat import const

_ANSWERS = const(
    (
        "ota_service.agent_answers",
        "ota_service.agent_refusals",
        "ota_service.http_response",
        "ota_service.connection",
        "ota_service.tls_mbedtls",
    )
)
_READERS = const(
    (
        "esp_image.parser",
        "esp_image.segments",
        "esp_image.readback",
        "esp_image.header",
        "esp_image.chips",
        "esp_image.compat",
        "esp_image.checksum_viper",
    )
)


def session(board, slot, expected, trust):
    """A session that can be resumed."""
    # What read the running image; its turn comes again with the first byte of the new one.
    compat.let_go(*_READERS)
    from .progress import Progress
    from .resumable import ResumableSession

    return ResumableSession(slot, expected, trust, Progress(board, slot))


async def receive(session, service, patience, host, port):
    """One attempt: from connecting to the image's last byte. Raises PeerError, OtaError."""
    coroutine = _receive(session, service, patience, host, port)
    await patience.watch(coroutine, "no TLS connection", service.config.connect_s)


async def _receive(session, service, patience, host, port):
    config = service.config
    service.event("connecting", "%s:%d, attempt %d" % (host, port, session.attempt))
    service.verdict = None
    name = "%s:%d" % (config.agent_name, port)
    reader, writer, channel = await _connect(service, host, port, name)
    try:
        session.connected()
        patience.expect("no challenge", config.first_byte_s)
        nonce = await _challenge(reader, writer, name)
        service.event("attesting", "challenge of %d bytes" % len(nonce))
        patience.expect("no evidence", config.deadline_s)
        evidence = await _evidence(service, nonce, channel)
        await asyncio.sleep(0)  # loading code takes its time too
        session.make_room()
        await asyncio.sleep(0)
        first, length = await _attest(reader, writer, name, evidence, session, service, patience)
        evidence = None
        compat.let_go(*_ANSWERS)
        from . import firmware_body

        await firmware_body.receive(
            reader, first, length, session, patience, config.read_s, service.progress
        )
    finally:
        await compat.close_stream(writer)


async def _connect(service, host, port, name):
    """(reader, writer, channel): SHA-256 of the agent's own certificate."""
    from . import connection
    from .agent_answers import challenge_request

    config, board = service.config, service.board
    reader, writer, leaf = await connection.connect(
        host, port, config, challenge_request(name), board
    )
    return reader, writer, sha256(leaf).digest()


async def _challenge(reader, writer, name):
    """The nonce. The code that reads answers gives way to what signs, and comes again after it."""
    from .agent_answers import Agent

    nonce = await Agent(reader, writer, name).challenge()
    compat.let_go(*_ANSWERS, "ota_service.firmware_body")
    return nonce


async def _evidence(service, nonce, channel):
    await service.device_certificate()
    from .device_identity import evidence_steps

    evidence = await service.stepped(evidence_steps(service, nonce, channel))
    compat.let_go("dice", "ota_crypto", "ota_service.device_identity", "ota_service.uds")
    return evidence


async def _attest(reader, writer, name, evidence, session, service, patience):
    """Have the agent accept the board and ask it for the firmware; as Agent.open_firmware."""
    from .agent_answers import Agent

    config = service.config
    agent = Agent(reader, writer, name)
    service.event("attesting", "evidence of %d bytes" % len(evidence))
    patience.expect("no decision about this board", config.first_byte_s)
    token, service.verdict = await agent.attest(evidence)
    patience.expect("nothing read from flash", config.deadline_s)
    await service.stepped(session.resume_steps())
    if session.received:
        service.event("resuming", "at byte %d" % session.received)
    patience.expect("no firmware", config.first_byte_s)
    return await agent.open_firmware(token, session)
