"""What the admin API answers when it does not do what it was asked: problem documents alone."""

import logging
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from dice_auth.admin_gate import entry_of
from dice_auth.application import RETRY_AFTER_S
from dice_auth.entity_tags import if_match_of
from dice_auth.errors import (
    AlreadyEnrolledError,
    DiceAuthError,
    EnrolmentError,
    RegistryError,
    RevokedError,
    StaleRevisionError,
)
from dice_auth.metrics import Metrics
from dice_auth.problem import CONTENT_TYPE, problem
from dice_auth.structured_log import log_event

_MOST_ERRORS = 20
_ANSWERS: tuple[tuple[type[DiceAuthError], int, str], ...] = (
    (EnrolmentError, 422, "content"),
    (AlreadyEnrolledError, 409, "already-enrolled"),
    (RevokedError, 409, "revoked"),
    (StaleRevisionError, 412, "precondition"),
    (RegistryError, 503, "registry"),
)


class Refused(Exception):
    """An answer. detail: one line. check: its name for programs."""

    def __init__(self, status: int, check: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.check, self.detail = status, check, detail


def add_handlers(application: FastAPI, metrics: Metrics) -> None:
    """Answer everything that is raised."""

    async def refused(request: Request, error: Exception) -> Response:
        error = cast(Refused, error)
        return _answer(request, error.status, error.check, error.detail)

    async def failed(request: Request, error: Exception) -> Response:
        status, check = next((s, c) for kind, s, c in _ANSWERS if isinstance(error, kind))
        headers = {}
        if isinstance(error, RegistryError):
            metrics.count_registry_fault()
            log_event("registry-fault", level=logging.ERROR, reason=str(error))
            headers["Retry-After"] = str(RETRY_AFTER_S)
        detail = _stale(request, error) if isinstance(error, StaleRevisionError) else str(error)
        return _answer(request, status, check, detail, headers)

    application.add_exception_handler(Refused, refused)
    for kind, _, _ in _ANSWERS:
        application.add_exception_handler(kind, failed)
    application.add_exception_handler(RequestValidationError, _invalid)
    application.add_exception_handler(HTTPException, _of_framework)
    application.add_exception_handler(Exception, _internal)


def _stale(request: Request, error: StaleRevisionError) -> str:
    """A weak tag may be that of the very revision: nobody else has written then."""
    condition = if_match_of(request)
    if condition is None or not condition.has_weak:
        return str(error)
    never = 'If-Match: weak entity tags, as W/"0f34...", never match (RFC 9110, section 13.1.1)'
    return f"{error}; {never}" if condition.strong else never


async def _invalid(request: Request, error: Exception) -> Response:
    found = cast(RequestValidationError, error).errors()
    if any(each["type"] == "json_invalid" for each in found):
        return _answer(request, 400, "malformed", "the body is no JSON")
    errors = [
        {"at": ".".join(map(str, each["loc"])), "detail": each["msg"]}
        for each in found[:_MOST_ERRORS]
    ]
    first = errors[0]
    return _answer(request, 422, "content", f"{first['at']}: {first['detail']}", errors=errors)


async def _of_framework(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    if error.status_code == 404:
        return _answer(request, 404, "not-found", "there is no such path")
    if error.status_code == 405:
        allowed = _allowed(request)
        detail = f"this path is for {allowed}"
        return _answer(request, 405, "method", detail, {"Allow": allowed})
    return _answer(request, 400, "malformed", "the request cannot be read")


async def _internal(request: Request, error: Exception) -> Response:
    """The gate logs it: it is raised again after this answer."""
    return _answer(request, 500, "internal", "internal error")


def _allowed(request: Request) -> str:
    """The methods of this path: the framework knows those of one of its functions only."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _answer(
    request: Request,
    status: int,
    check: str,
    detail: str,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    entry_of(request.scope).result = check
    body = problem(status, detail, check, errors or ())
    return Response(body, status, headers, CONTENT_TYPE.decode())
