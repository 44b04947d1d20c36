"""The request for the firmware, and what an agent answers to it before the image comes."""

from binascii import a2b_base64, hexlify, unhexlify

from .compat import const
from .errors import OtaError

_DIGEST_BYTES = const(32)
_FIRMWARE = const("GET /v2/firmware")


async def open_firmware(agent, token, session):
    """Ask for the firmware from where the session stands, or whole. Returns (first bytes,
    length) of the response's body: what came with its head, at most 512 bytes, and how long it
    is with them. Raises OtaError("up-to-date") where there is nothing newer."""
    response = await _ask(agent, token, session)
    if response.status == 416 and session.received:
        await agent.body(response)
        session.restart()
        response = await _ask(agent, token, session)
    await agent.require(response, (200, 204, 206))
    if response.status == 204:
        session.up_to_date()
        error = OtaError("up-to-date", "the agent has nothing newer for this board")
        error.pause_s = None
        raise error
    digest = _etag(response)
    if digest is None or digest != _repr_digest(response):
        raise response.bad("ETag and Repr-Digest: expected the same SHA-256 in both")
    offset = 0
    if response.status == 206:
        offset = session.received
        if not offset or digest != session.digest:
            session.restart()  # else every later update would ask for the same and get the same
            raise response.bad("206 for another image, or without having been asked for")
        _require_range(response, session)
    length = response.body_left
    first = agent.first_bytes(response)
    session.announced(digest, offset, offset + length)
    return first, length


async def _ask(agent, token, session):
    headers = "Authorization: Bearer %s\r\n" % token
    if session.received:
        digest = hexlify(session.digest).decode()
        headers += 'Range: bytes=%d-\r\nIf-Range: "%s"\r\n' % (session.received, digest)
    return await agent.ask(_FIRMWARE, headers)


def _require_range(response, session):
    offset = session.received
    total = offset + response.body_left
    expected = "bytes %d-%d/%d" % (offset, total - 1, total)
    if response.headers.get("content-range") != expected:
        session.restart()
        raise response.bad("Content-Range: expected %s" % expected)


def _etag(response):
    """The SHA-256 that the ETag is, None if it is none."""
    etag = response.headers.get("etag", "")
    if len(etag) != 2 * _DIGEST_BYTES + 2 or not (etag.startswith('"') and etag.endswith('"')):
        return None
    try:
        return unhexlify(etag[1:-1])
    except ValueError:
        return None


def _repr_digest(response):
    """The SHA-256 of a Repr-Digest header (RFC 9530, 3), None without one."""
    for member in response.headers.get("repr-digest", "").split(","):
        name, _, value = member.strip(" \t").partition("=")
        if name == "sha-256" and value[:1] == ":" and value[-1:] == ":":
            try:
                return a2b_base64(value[1:-1])
            except ValueError:
                return None
    return None
