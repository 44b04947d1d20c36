"""What goes over a connection of protocol 2 before the firmware is asked for: challenge, evidence,
the agent's answer. Its code gives way to what receives.
"""

import asyncio
from hashlib import sha256

from . import compat
from .compat import const

_ANSWERS = const(
    (
        "ota_service.agent_answers",
        "ota_service.attest_answers",
        "ota_service.agent_refusals",
        "ota_service.http_response",
        "ota_service.connection",
        "ota_service.tls_mbedtls",
    )
)


async def connect(service, host, port, name):
    """(reader, writer, channel): SHA-256 of the agent's own certificate."""
    from . import connection
    from .attest_answers import challenge_request

    config, board = service.config, service.board
    reader, writer, leaf = await connection.connect(
        host, port, config, challenge_request(name), board
    )
    return reader, writer, sha256(leaf).digest()


async def prove(reader, writer, name, channel, update, service, patience):
    """Prove who this board is; the token that the firmware is asked for with.

    name: the agent's, for the Host header. channel: as `connect` gives it. update: whose session
    takes what it needs once the proof is made. Raises PeerError, OtaError.
    """
    config = service.config
    patience.expect("no challenge", config.first_byte_s)
    nonce = await _challenge(reader, writer, name)
    service.event("attesting", "challenge of %d bytes" % len(nonce))
    patience.expect("no evidence", config.deadline_s)
    evidence = await _evidence(service, nonce, channel)
    await asyncio.sleep(0)  # loading code takes its time too
    session = update.expect_image()
    await asyncio.sleep(0)
    session.make_room()
    await asyncio.sleep(0)
    service.event("attesting", "evidence of %d bytes" % len(evidence))
    patience.expect("no decision about this board", config.first_byte_s)
    token = await _attest(reader, writer, name, evidence, service)
    compat.let_go(*_ANSWERS)
    return token


async def _challenge(reader, writer, name):
    """The nonce. The code that reads answers gives way to what signs, and comes again after it."""
    from .agent_answers import Agent
    from .attest_answers import challenge

    nonce = await challenge(Agent(reader, writer, name))
    challenge = None  # else this frame would keep its module
    compat.let_go(*_ANSWERS, "ota_service.firmware_body")
    return nonce


async def _evidence(service, nonce, channel):
    await service.device_certificate()
    from .device_identity import evidence_steps

    evidence = await service.stepped(evidence_steps(service, nonce, channel))
    compat.let_go("dice", "ota_crypto", "ota_service.device_identity", "ota_service.uds")
    return evidence


async def _attest(reader, writer, name, evidence, service):
    """Have the agent accept the board; the token."""
    from .agent_answers import Agent
    from .attest_answers import attest

    token, service.verdict = await attest(Agent(reader, writer, name), evidence)
    return token
