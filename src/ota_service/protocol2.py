"""Protocol 2: challenge, evidence, then the firmware, framed and resumable.

protocol.md, section C. The order of things over one connection; what goes over it and comes back
is the part of `proof`, `asking` and `firmware_body`. Where memory is scarce the code of each step
gives way to the next one's: a step is a function, whose frame would keep what it used.
"""

from . import compat
from .compat import const

_ANSWERS = const(
    (
        "ota_service.asking",
        "ota_service.agent_answers",
        "ota_service.attest_answers",
        "ota_service.firmware_answers",
        "ota_service.agent_refusals",
        "ota_service.http_response",
    )
)


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
        from . import asking

        session = update.session
        first, length = await asking.ask(reader, writer, name, token, session, service, patience)
        asking = None
        compat.let_go(*_ANSWERS)
        from . import firmware_body

        receiving = firmware_body.receive(
            reader, first, length, session, patience, config.read_s, service.progress
        )
        first = None
        await receiving
    finally:
        await compat.close_stream(writer)
