"""The admin API: boards are listed, enrolled, changed, removed and revoked over HTTP.

Imported only by a server that has one: FastAPI takes its time to load. Who may ask, how often, and
the log are `admin_gate`'s; that nothing is lost between two who write is the registry's, which
compares revisions in the step in which it writes. Long requests go on in small steps, since
verdicts wait for the same event loop.
"""

import asyncio
import json
import time
import urllib.parse
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from dice import certificate
from dice_auth.admin_document import ETAG, LOCATION, OF_BODIES, document_of, refusals
from dice_auth.admin_gate import BATCHES_PATH, PREFIX, AdminGate, entry_of
from dice_auth.admin_models import (
    BatchResult,
    Board,
    BoardChange,
    BoardId,
    BoardPage,
    BoardQuery,
    NewBoard,
    NewBoards,
    NewRevocation,
)
from dice_auth.admin_models import Revocation as ShownRevocation
from dice_auth.admin_refusals import Refused, add_handlers
from dice_auth.admin_requests import (
    ID_IN_PATH,
    cursor_of,
    place_of,
    revisions_of,
    selects,
)
from dice_auth.batch_file import parse_root
from dice_auth.enrolment import Enrolment, check_texts, parse_mac, root_certificate_for_mac
from dice_auth.metrics import Metrics
from dice_auth.record_fields import fields_of, time_text
from dice_auth.registry import BoardRecord, Registry, Revocation
from dice_auth.settings import SettingsInUse

_BOARDS = PREFIX + "/boards"
_BOARD = f"{_BOARDS}/{{board_id:{ID_IN_PATH}}}"
_REVOCATION = _BOARD + "/revocation"
# Of one request for a list: how many boards are read in a step (a millisecond), how many steps.
_STEP_BOARDS = 25
_MOST_STEPS = 80


def open_admin_api(
    registry: Registry, metrics: Metrics, settings: SettingsInUse, host: str
) -> AdminGate:
    """Of a server that listens on this address."""
    application = FastAPI(
        title="dice-auth admin API",
        version="1",
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    _Boards(registry).add_to(application)
    add_handlers(application, metrics)
    conditional = [
        ("patch", f"{_BOARDS}/{{board_id}}", True),
        ("delete", f"{_BOARDS}/{{board_id}}", False),
        ("put", f"{_BOARDS}/{{board_id}}/revocation", False),
        ("delete", f"{_BOARDS}/{{board_id}}/revocation", False),
    ]
    return AdminGate(
        application,
        json.dumps(document_of(application, conditional)).encode(),
        settings.admin_tokens,
        metrics,
        rate=settings.admin_rate,
        closed=settings.admin_closed(host),
    )


class _Boards:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def add_to(self, application: FastAPI) -> None:
        add = application.add_api_route
        with_etag: dict[str, Any] = {"headers": ETAG}
        add(_BOARDS, self.list_boards, methods=["GET"], summary="List boards",
            response_model=BoardPage, responses=refusals())  # fmt: skip
        add(_BOARDS, self.enrol, methods=["POST"], summary="Enrol a board",
            response_model=Board, status_code=201,
            responses={
                200: {"description": "It was enrolled before, just so.", "model": Board,
                      "headers": ETAG | LOCATION},
                201: {"description": "It is enrolled.", "headers": ETAG | LOCATION},
                **refusals(409, *OF_BODIES),
            })  # fmt: skip
        add(BATCHES_PATH, self.enrol_batch, methods=["POST"], response_model=BatchResult,
            summary="Enrol boards, all of them or none",
            responses=refusals(409, *OF_BODIES))  # fmt: skip
        add(_BOARD, self.read, methods=["GET"], response_model=Board, summary="Show a board",
            responses={200: with_etag, **refusals(404)})  # fmt: skip
        add(_BOARD, self.change, methods=["PATCH"], response_model=Board,
            summary="Change a board's root certificate, application or labels",
            responses={200: with_etag, **refusals(404, 409, 412, 428, *OF_BODIES)})  # fmt: skip
        add(_BOARD, self.remove, methods=["DELETE"], status_code=204, response_class=Response,
            summary="Remove a board",
            description="A revocation of its root stays. Revoke a board that was stolen.",
            responses=refusals(404, 412))  # fmt: skip
        add(_REVOCATION, self.revoke, methods=["PUT"], response_model=ShownRevocation,
            summary="Revoke a board",
            description="Of its root's key: it stays refused if it is enrolled again.",
            status_code=201,
            responses={
                200: {"description": "It was revoked before, for this reason.",
                      "model": ShownRevocation},
                201: {"description": "It is revoked."},
                **refusals(404, 409, 412, *OF_BODIES,
                           _409="`already-revoked`: for another reason, which stays."),
            })  # fmt: skip
        add(_REVOCATION, self.reinstate, methods=["DELETE"], status_code=204,
            response_class=Response, summary="Take a revocation back",
            description="Of the root that the board has. Of a board that was removed since, the"
            " newest one that is kept under its id: older ones, of other roots that it had, stay.",
            responses=refusals(404, 412,
                               _404="`not-revoked`: there is no such revocation."))  # fmt: skip

    async def list_boards(self, query: Annotated[BoardQuery, Query()]) -> Response:
        found: list[str] = []
        start = place_of(query.cursor)
        for _ in range(_MOST_STEPS):
            started = time.process_time()
            try:
                page = await self._registry.page(start, min(query.limit - len(found), _STEP_BOARDS))
            except ValueError:
                raise Refused(400, "malformed", "cursor: expected `next` of a page") from None
            found += [json.dumps(_summary(each)) for each in page.boards if selects(query, each)]
            start = page.next
            if not start or len(found) == query.limit:
                break
            # A verdict takes several turns of the event loop: for as long as a step took, they are
            # all for verdicts.
            await asyncio.sleep(time.process_time() - started)
        text = f'{{"boards":[{",".join(found)}],"next":{json.dumps(cursor_of(start))}}}'
        return Response(text, media_type="application/json")

    async def enrol(self, request: Request, board: NewBoard) -> Response:
        entry = entry_of(request.scope)
        entry.action, entry.board = "enrol", board.id
        new = _enrolment(board)
        entry.is_change = bool(await self._registry.enrol_all([new], update=False))
        entry.result = "enrolled" if entry.is_change else "unchanged"
        # Somebody may have removed it meanwhile; it was enrolled all the same.
        record = await self._registry.get(board.id) or BoardRecord(
            new.board_id, new.root, new.key_id, new.application or "", new.labels or {},
            enrolled_at=int(time.time()),
        )  # fmt: skip
        location = f"{_BOARDS}/{_quoted(board.id)}"
        status = 201 if entry.is_change else 200
        return _shown(record, status, {"Location": location})

    async def enrol_batch(self, request: Request, batch: NewBoards) -> Response:
        entry = entry_of(request.scope)
        entry.action, entry.board = "enrol-batch", [board.id for board in batch.boards]
        boards = []
        for board in batch.boards:
            boards.append(_enrolment(board))
            await asyncio.sleep(0)
        changed = await self._registry.enrol_all(boards, update=False)
        entry.is_change, entry.result = changed > 0, f"{changed} enrolled"
        return JSONResponse({"enrolled": changed, "unchanged": len(boards) - changed})

    async def read(self, board_id: BoardId) -> Response:
        record = await self._registry.get(board_id)
        if record is None:
            raise _not_enrolled(board_id)
        return _shown(record)

    async def change(self, request: Request, board_id: BoardId, change: BoardChange) -> Response:
        entry = entry_of(request.scope)
        entry.action, entry.board = "change", board_id
        revisions = revisions_of(request, is_needed=True)
        given = change.model_fields_set
        new = _with_root(board_id, change.root) if "root" in given else None

        def edit(old: BoardRecord) -> Enrolment:
            application = change.application or "" if "application" in given else old.application
            labels = _merged(old, change) if "labels" in given else dict(old.labels)
            check_texts(application, labels)
            root, key_id = (new.root, new.key_id) if new else (old.root, old.key_id)
            return Enrolment(board_id, root, key_id, application, labels)

        record = await self._registry.change(board_id, edit, revisions=revisions)
        if record is None:
            raise _not_enrolled(board_id)
        entry.is_change, entry.result = True, "changed"
        return _shown(record)

    async def remove(self, request: Request, board_id: BoardId) -> Response:
        entry = entry_of(request.scope)
        entry.action, entry.board = "remove", board_id
        if not await self._registry.remove(board_id, revisions=revisions_of(request)):
            raise _not_enrolled(board_id)
        entry.is_change, entry.result = True, "removed"
        return Response(status_code=204)

    async def revoke(
        self, request: Request, board_id: BoardId, revocation: NewRevocation
    ) -> Response:
        entry = entry_of(request.scope)
        entry.action, entry.board = "revoke", board_id
        if not revocation.reason.isprintable():
            raise Refused(422, "content", "reason: expected printable characters")
        wanted = Revocation(revocation.reason, int(time.time()))
        holds = await self._registry.revoke(board_id, wanted, revisions=revisions_of(request))
        if holds is None:
            raise _not_enrolled(board_id)
        if holds.reason != wanted.reason:
            raise Refused(409, "already-revoked", f"{board_id} is revoked already: {holds.reason}")
        # The registry answers with the very one it was given, if that holds now.
        entry.is_change = holds is wanted
        entry.result = "revoked" if entry.is_change else "unchanged"
        shown = {"reason": holds.reason, "revoked_at": time_text(holds.at)}
        return JSONResponse(shown, 201 if entry.is_change else 200)

    async def reinstate(self, request: Request, board_id: BoardId) -> Response:
        entry = entry_of(request.scope)
        entry.action, entry.board = "reinstate", board_id
        if not await self._registry.reinstate(board_id, revisions=revisions_of(request)):
            raise Refused(404, "not-revoked", f"{board_id} is not revoked")
        entry.is_change, entry.result = True, "reinstated"
        return Response(status_code=204)


def _enrolment(board: NewBoard) -> Enrolment:
    return _with_root(board.id, board.root, application=board.application, labels=board.labels)


def _with_root(
    board_id: str,
    root: str | None,
    *,
    application: str | None = None,
    labels: dict[str, str] | None = None,
) -> Enrolment:
    """Raises EnrolmentError."""
    if root is None:
        der = root_certificate_for_mac(parse_mac(board_id))
    else:
        der = parse_root(root.encode())
    return Enrolment.of(board_id, der, application=application, labels=labels)


def _merged(old: BoardRecord, change: BoardChange) -> dict[str, str]:
    if change.labels is None:
        return {}
    labels = dict(old.labels)
    for name, value in change.labels.items():
        if value is None:
            labels.pop(name, None)
        else:
            labels[name] = value
    return labels


def _summary(record: BoardRecord) -> dict[str, Any]:
    return fields_of(record) | {"revision": record.revision}


def _shown(
    record: BoardRecord, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    board = _summary(record) | {"root": certificate.to_pem(record.root)}
    return JSONResponse(board, status, {"ETag": f'"{record.revision}"'} | (headers or {}))


def _quoted(board_id: str) -> str:
    """As it stands in a path; of dots alone, clients would make another path."""
    quoted = urllib.parse.quote(board_id, safe=":")
    return quoted.replace(".", "%2E") if board_id in (".", "..") else quoted


def _not_enrolled(board_id: str) -> Refused:
    return Refused(404, "not-enrolled", f"{board_id} is not enrolled")
