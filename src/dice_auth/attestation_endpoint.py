"""`GET /challenge` and `POST /attest`: protocol 2 as an OTA agent asks for it (protocol.md, C).

Every refusal is a problem document that names what failed first; all that failed stands in the
log. Not here: whether evidence is good (`appraisal`), who may ask (`agent_access`).
"""

import json
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from dice.evidence import Claims
from dice_auth.agent_access import AgentAccess
from dice_auth.appraisal import MAX_EVIDENCE_BYTES, Appraisal, appraise
from dice_auth.asgi import (
    BodyTooLargeError,
    Headers,
    Receive,
    Scope,
    Send,
    peer_of,
    read_body,
    send_answer,
)
from dice_auth.metrics import Metrics
from dice_auth.policy import Policy
from dice_auth.problem import CONTENT_TYPE as PROBLEM_TYPE
from dice_auth.problem import problem
from dice_auth.registry import Registry
from dice_auth.structured_log import log_event
from dice_auth.verification import Verdict

PATHS: Final = {"/challenge": b"GET", "/attest": b"POST"}
NONCE_BYTES = 32
# What the claims about the firmware are worth: the DICE key lives in the application's code.
CLAIMS_WORTH = "self-asserted"
_EVIDENCE_TYPE = b"application/eat+cwt"
_CHANNEL = re.compile(rb"[0-9a-f]{64}")
# As long as boards of a crowd may need to answer what they have been asked.
_RETRY_CHALLENGE_S = 10

_NO_STORE = ((b"Cache-Control", b"no-store"),)


class AttestationEndpoint:
    """observe(verdict, time, version): told of every verdict. policy: the one that holds now."""

    def __init__(
        self,
        registry: Registry,
        metrics: Metrics,
        observe: Callable[[Verdict, int, str | None], None],
        access: AgentAccess,
        policy: Callable[[], Policy],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._observe = observe
        self._access = access
        self._policy = policy
        self._now = now

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request for one of PATHS. Raises RegistryError, ClientGoneError."""
        refusal = self._access.refusal(scope)
        allowed = PATHS[scope["path"]]
        if refusal is not None:
            self._metrics.count_refused_agent()
            log_event("agent-refused", peer=peer_of(scope), reason=refusal.detail)
            await self._refuse(send, refusal.status, refusal.detail, "agent", refusal.headers)
        elif scope["method"].encode() != allowed:
            detail = f"{scope['path']} is for {allowed.decode()}"
            await self._refuse(send, 405, detail, extra=((b"Allow", allowed),))
        elif scope["path"] == "/challenge":
            await self._challenge(scope, send)
        else:
            await self._attest(scope, receive, send)

    async def _challenge(self, scope: Scope, send: Send) -> None:
        nonce = secrets.token_bytes(NONCE_BYTES)
        if not await self._registry.issue_nonce(nonce):
            log_event("too-many-challenges", peer=peer_of(scope))
            retry = ((b"Retry-After", b"%d" % _RETRY_CHALLENGE_S),)
            # Not 503: an agent must not take it for a server that is down, and refuse others.
            await self._refuse(send, 429, "too many challenges are outstanding", extra=retry)
            return
        self._metrics.count_challenge()
        await self._answer(send, 200, b"application/octet-stream", nonce, _NO_STORE)

    async def _attest(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, MAX_EVIDENCE_BYTES)
        except BodyTooLargeError:
            detail = f"evidence has at most {MAX_EVIDENCE_BYTES} bytes"
            await self._refuse(send, 413, detail, extra=((b"Connection", b"close"),))
            return
        channel = _only(scope, b"ota-channel")
        if _media_type(scope) != _EVIDENCE_TYPE or _is_coded(scope):
            await self._refuse(send, 415, "expected evidence, application/eat+cwt")
        elif channel is None or not _CHANNEL.fullmatch(channel):
            detail = "expected one OTA-Channel, 64 hex digits in lower case"
            await self._refuse(send, 400, detail)
        elif not body:
            await self._refuse(send, 400, "no evidence")
        else:
            await self._appraise(scope, send, body, bytes.fromhex(channel.decode()))

    async def _appraise(self, scope: Scope, send: Send, body: bytes, channel: bytes) -> None:
        now = self._now()
        found = await appraise(body, channel, self._registry, self._policy(), now)
        verdict, claims = found.verdict, found.claims
        version = claims.version if verdict.accepted and claims is not None else None
        self._metrics.count_appraisal(verdict.failed)
        self._observe(verdict, int(now.timestamp()), version)
        log_event(
            "attested" if verdict.accepted else "attestation-refused",
            peer=peer_of(scope),
            agent=_agent(scope),
            board=verdict.board_id,
            application=claims.application if claims else None,
            version=claims.version if claims else None,
            image_digest=claims.image_digest.hex() if claims else None,
            failed=list(verdict.failed),
            detail=verdict.detail,
        )
        if verdict.accepted and claims is not None:
            body = _affirmation(found, claims)
            await self._answer(send, 200, b"application/json", body, _NO_STORE)
        else:
            check = verdict.failed[0]
            detail = f"attestation failed: {check}"
            if verdict.detail:
                detail += f" ({verdict.detail})"
            await self._refuse(send, found.status, detail, check)

    async def _refuse(
        self, send: Send, status: int, detail: str, check: str = "", extra: Headers = ()
    ) -> None:
        await self._answer(send, status, PROBLEM_TYPE, problem(status, detail, check), extra)

    async def _answer(
        self, send: Send, status: int, content_type: bytes, body: bytes, extra: Headers
    ) -> None:
        self._metrics.count_answer(status)
        await send_answer(send, status, content_type, body, extra)


def _affirmation(found: Appraisal, claims: Claims) -> bytes:
    return json.dumps(
        {
            "device": found.verdict.board_id,
            "hwmodel": claims.hwmodel,
            "application": claims.application,
            "version": claims.version,
            "image_digest": claims.image_digest.hex(),
            "verdict": "affirming",
            "claims": CLAIMS_WORTH,
        }
    ).encode()


def _agent(scope: Scope) -> str | None:
    """The subject of the client's certificate, if it has shown one."""
    name: str | None = scope.get("extensions", {}).get("tls", {}).get("client_cert_name")
    return name


def _media_type(scope: Scope) -> bytes:
    value = _only(scope, b"content-type") or b""
    return value.partition(b";")[0].strip().lower()


def _is_coded(scope: Scope) -> bool:
    return any(name == b"content-encoding" for name, _ in scope["headers"])


def _only(scope: Scope, name: bytes) -> bytes | None:
    """The header's value if it is there once."""
    values: list[bytes] = [value for each, value in scope["headers"] if each == name]
    return values[0] if len(values) == 1 else None
