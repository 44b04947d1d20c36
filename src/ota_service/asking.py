"""The firmware is asked for, once the board is accepted: what an earlier attempt has left is taken
up before. Loaded for that, and gone when the image comes.
"""

import asyncio

from . import compat


async def ask(reader, writer, name, token, session, service, patience):
    """(first bytes, length) of the image, or of what is left of it: firmware_answers.open_firmware.

    name: the agent's, for the Host header. token: as proof.prove gives it. Raises PeerError,
    OtaError.
    """
    patience.expect("nothing read from flash", service.config.deadline_s)
    await service.stepped(session.resume_steps())
    compat.let_go("ota_service.taking_up")
    if session.received:
        service.event("resuming", "at byte %d" % session.received)
    patience.expect("no firmware", service.config.first_byte_s)
    await asyncio.sleep(0)  # loading code takes its time
    from .agent_answers import Agent
    from .firmware_answers import open_firmware

    return await open_firmware(Agent(reader, writer, name), token, session)
