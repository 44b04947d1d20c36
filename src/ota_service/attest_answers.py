"""Challenge and evidence: what a board asks of an agent for its proof, and what that answers."""

import json

from .agent_answers import request_bytes
from .compat import const
from .http_response import consists_of

_NONCE_BYTES = const(32)
_MAX_SHOWN = const(120)
_CHALLENGE = const("GET /v2/challenge")
_ATTEST = const("POST /v2/attest")


def challenge_request(host):
    """The first request, which goes with the handshake. host: for the Host header."""
    return request_bytes(_CHALLENGE, host)


async def challenge(agent):
    """The nonce, 32 bytes; `challenge_request` has been sent."""
    response = await agent.response(_CHALLENGE)
    await agent.require(response, (200,))
    nonce = await agent.body(response)
    if len(nonce) != _NONCE_BYTES:
        raise response.bad("a nonce of %d bytes, expected %d" % (len(nonce), _NONCE_BYTES))
    return nonce


async def attest(agent, evidence):
    """(token, verdict) for this evidence; the verdict is None where the agent tells none."""
    headers = "Content-Type: application/eat+cwt\r\nContent-Length: %d\r\n" % len(evidence)
    response = await agent.ask(_ATTEST, headers, evidence)
    await agent.require(response, (200,))
    answer = json_object(await agent.body(response))
    token, verdict = answer.get("token"), answer.get("verdict")
    if not (isinstance(token, str) and _is_token68(token)):
        raise response.bad("no token")
    return token, shown(verdict) if isinstance(verdict, str) else None


def json_object(body):
    """The dict that a body is, an empty one if it is none."""
    try:
        value = json.loads(body.decode())
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        return {}
    return value if isinstance(value, dict) else {}


def shown(text):
    """A stranger's text: one line that is not too long."""
    line = bytearray()
    for byte in text[:_MAX_SHOWN].encode("utf-8", "replace"):
        if byte & 0xC0 != 0x80:  # else a character goes on
            line.append(byte if 0x20 <= byte < 0x7F else 0x3F)
    return line.decode()


def _is_token68(text):
    """RFC 9110, 11.2; what goes into a header of ours."""
    return 0 < len(text) <= 256 and consists_of(text, b"-._~+/=")
