"""The HTTP resources of the attestation server, as a bare ASGI application.

The compatible endpoint answers on every path but those named here: protocol.md, section D. A
fault of the registry is 503, never a verdict. Sockets and HTTP framing are the server's
(`server`).
"""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from dice_auth import attestation_endpoint
from dice_auth.admin_gate import PREFIX, AdminGate
from dice_auth.asgi import (
    CLOSE,
    BodyTooLargeError,
    ClientGoneError,
    Headers,
    Receive,
    Scope,
    Send,
    peer_of,
    read_body,
    send_answer,
)
from dice_auth.attestation_endpoint import AttestationEndpoint
from dice_auth.errors import RegistryError
from dice_auth.metrics import CONTENT_TYPE, Metrics
from dice_auth.problem import CONTENT_TYPE as PROBLEM_TYPE
from dice_auth.problem import problem
from dice_auth.registry import Registry
from dice_auth.structured_log import log_event
from dice_auth.verdict_queue import VerdictQueue
from dice_auth.verification import Verdict

MAX_BODY_BYTES = 16 * 1024
RETRY_AFTER_S = 5

_JSON = b"application/json"
_TEXT = b"text/plain"
_PROBLEM = problem(503, "the registry does not answer")
# Not the compatible endpoint, whether or not this version serves them.
_ADMIN_PATHS = PREFIX + "/"
_OWN_PATHS = ("/challenge", "/attest", "/metrics", "/healthz", "/api")


class Application:
    """registry: where boards are looked up. metrics: where answers are counted. observe(verdict,
    time): told of every verdict. agents, admin: answer OTA agents and operators; None: they are not
    served. now: the clock, for tests."""

    def __init__(
        self,
        registry: Registry,
        metrics: Metrics,
        observe: Callable[[Verdict, int], None],
        agents: AttestationEndpoint | None = None,
        admin: AdminGate | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._registry = registry
        self._verdicts = VerdictQueue(registry)
        self._metrics = metrics
        self._observe = observe
        self._agents = agents
        self._admin = admin
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._serve(scope, receive, send)
        except Exception as error:
            # A bug of ours: named in the log, and no verdict.
            reason = f"{type(error).__name__}: {error}"
            log_event("internal-error", level=logging.ERROR, peer=peer_of(scope), reason=reason)
            await self._answer(send, 500, _TEXT, b"Internal error", CLOSE)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            await self._serve_reading(method, send, self._health)
        elif path == "/metrics":
            await self._serve_reading(method, send, self._exposition)
        elif path.startswith(_OWN_PATHS) and _is_own(path):
            if self._agents is not None and path in attestation_endpoint.PATHS:
                await self._serve_agent(self._agents, scope, receive, send)
            elif self._admin is not None and path.startswith(_ADMIN_PATHS):
                with suppress(ClientGoneError):
                    await self._admin.serve(scope, receive, send)
            else:
                await self._answer(send, 404, _TEXT, b"Not found")
        elif method != "POST":
            await self._answer(send, 405, _TEXT, b"Only POST method allowed", _ALLOW_POST)
        else:
            await self._attest(scope, receive, send)

    async def _attest(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, MAX_BODY_BYTES)
            started = time.perf_counter()
            now = self._now()
            verdict = await self._verdicts.verify(body, now)
        except ClientGoneError:
            return
        except BodyTooLargeError:
            log_event("refused", peer=peer_of(scope), board=None, failed=["body-too-large"])
            await self._answer(send, 413, _TEXT, b"Request body too large", CLOSE)
            return
        except RegistryError as error:
            await self._unavailable(send, peer_of(scope), error)
            return
        self._metrics.count_verdict(verdict.failed, time.perf_counter() - started)
        self._observe(verdict, int(now.timestamp()))
        if verdict.accepted:
            await self._answer(send, 200, _JSON, b'{"status": "Certificate OK"}')
            return
        log_event(
            "refused",
            peer=peer_of(scope),
            board=verdict.board_id,
            failed=list(verdict.failed),
            detail=verdict.detail,
        )
        await self._answer(send, 401, _JSON, b'{"status": "Certificate Invalid"}')

    async def _serve_agent(
        self, agents: AttestationEndpoint, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            await agents.serve(scope, receive, send)
        except ClientGoneError:
            return
        except RegistryError as error:
            await self._unavailable(send, peer_of(scope), error, PROBLEM_TYPE, _PROBLEM)

    async def _serve_reading(
        self, method: str, send: Send, serve: Callable[[Send], Awaitable[None]]
    ) -> None:
        if method in ("GET", "HEAD"):
            await serve(send)
        else:
            await self._answer(send, 405, _TEXT, b"Only GET method allowed", _ALLOW_GET)

    async def _health(self, send: Send) -> None:
        try:
            await self._registry.check()
        except RegistryError as error:
            await self._unavailable(send, None, error)
            return
        await self._answer(send, 200, _JSON, b'{"status": "ok"}')

    async def _exposition(self, send: Send) -> None:
        await self._answer(send, 200, CONTENT_TYPE.encode(), self._metrics.exposition())

    async def _unavailable(
        self,
        send: Send,
        peer: str | None,
        error: RegistryError,
        content_type: bytes = _JSON,
        body: bytes = b'{"status": "Registry unavailable"}',
    ) -> None:
        self._metrics.count_registry_fault()
        log_event("registry-fault", level=logging.ERROR, peer=peer, reason=str(error))
        await self._answer(send, 503, content_type, body, _RETRY_AFTER)

    async def _answer(
        self,
        send: Send,
        status: int,
        content_type: bytes,
        body: bytes,
        extra: Headers = (),
    ) -> None:
        self._metrics.count_answer(status)
        await send_answer(send, status, content_type, body, extra)


_ALLOW_POST = ((b"Allow", b"POST"),)
_ALLOW_GET = ((b"Allow", b"GET, HEAD"),)
_RETRY_AFTER = ((b"Retry-After", b"%d" % RETRY_AFTER_S),)


def _is_own(path: str) -> bool:
    return any(path == own or path.startswith(own + "/") for own in _OWN_PATHS)
