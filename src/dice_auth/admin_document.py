"""The OpenAPI document of the admin API: what FastAPI writes by itself, and what it cannot know,
because it happens before it (`admin_gate`) or in a way of ours (problems, entity tags)."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from dice_auth.admin_models import Problem

Responses = dict[int | str, dict[str, Any]]

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RETRY = {
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
ETAG = {
    "ETag": {
        "description": "The board's revision, for If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{32}"$'},
    }
}
LOCATION = {
    "Location": {
        "description": "The path of the board.",
        "required": True,
        "schema": {"type": "string"},
    }
}
_WHY = {
    400: "`malformed`: the path, the cursor, If-Match or the JSON cannot be read.",
    401: "`token`: there is no bearer token, or it is none that counts.",
    403: "`scope`: the token may read, not write. `transport`: neither HTTPS nor loopback.",
    404: "`not-enrolled`: no board has this id.",
    409: "`already-enrolled`: the id has another root, application or labels, or the root is"
    " enrolled under another id. `revoked`: the root is revoked.",
    412: "`precondition`: the board's revision is none of those in If-Match.",
    413: "`too-large`: the body is.",
    415: "`media-type`: the body is not JSON.",
    422: "`content`: a member or parameter is not what it should be; `errors` says which.",
    428: "`precondition-required`: there is no If-Match.",
    429: "`rate`: too many requests with this token; or, from this address, without one.",
    503: "`registry`: the registry does not answer now, or others keep writing to this board.",
}
_ALWAYS = (400, 401, 403, 422, 429, 503)
OF_BODIES = (413, 415)
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "Entity tags: the change is made only if the board's revision is among them,"
    " and in the same step. `*`: whatever it is. A weak tag never matches.",
    "schema": {
        "type": "string",
        "pattern": r'^(\*|"[0-9a-f]{32}"(, ?"[0-9a-f]{32}")*)$',
        "examples": ["*", '"0f343b0931126a20f133d67c2b018a3b"'],
    },
}
_DESCRIPTION = """\
The registry of boards. Ids are percent-encoded in paths: `lab/7` is `/api/v1/boards/lab%2F7`.

Every error is a problem document (RFC 9457); `check` is its name for programs.
"""


def refusals(*statuses: int, **why: str) -> Responses:
    """Those that every request may meet, and these. why: `_409="..."`, another text for one."""
    texts = _WHY | {int(name[1:]): text for name, text in why.items()}
    return {
        status: {
            "description": texts[status],
            "content": _PROBLEM,
            **({"headers": _RETRY} if status in (429, 503) else {}),
        }
        for status in sorted({*_ALWAYS, *statuses})
    }


def document_of(
    application: FastAPI, conditional: Iterable[tuple[str, str, bool]]
) -> dict[str, Any]:
    """conditional: method and path of operations that know If-Match, and whether they need it."""
    document = application.openapi()
    document["info"]["description"] = _DESCRIPTION
    document["servers"] = [{"url": "/"}]
    components = document["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["schemas"].update(schema.pop("$defs", {}))
    components["schemas"]["Problem"] = schema
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `ota-service attest token --scope read|write`. Roles:"
            " `read` for GET, `write` for everything.",
        }
    }
    for operations in document["paths"].values():
        for method, operation in operations.items():
            role = "read" if method == "get" else "write"
            operation["security"] = [{"bearer": [role]}]
            operation["responses"]["401"]["headers"] = {
                "WWW-Authenticate": {"required": True, "schema": {"type": "string"}}
            }
            operation["responses"] = dict(sorted(operation["responses"].items()))
    for method, path, is_needed in conditional:
        operation = document["paths"][path][method]
        operation.setdefault("parameters", []).append({**_IF_MATCH, "required": is_needed})
    patch = document["paths"]["/api/v1/boards/{board_id}"]["patch"]["requestBody"]["content"]
    patch["application/merge-patch+json"] = patch["application/json"]
    document["paths"]["/api/v1/openapi.json"] = {"get": _OWN_OPERATION}
    return document


_OWN_OPERATION = {
    "summary": "This document",
    "operationId": "read_document",
    "tags": ["document"],
    "security": [],
    "responses": {
        "200": {
            "description": "OpenAPI 3.1",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "403": {"description": "`transport`: neither HTTPS nor loopback.", "content": _PROBLEM},
    },
}
