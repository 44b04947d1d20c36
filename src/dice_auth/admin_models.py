"""What goes over the admin API: the shapes of requests and answers, as its document shows them.

What pydantic cannot know is `enrolment`'s to check: whether a root certificate is one.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# What `str.isprintable` means by printable.
_PRINTABLE = r"^[\p{L}\p{M}\p{N}\p{P}\p{S} ]*$"
# Of our own, since no pattern tells a certificate: RFC 5280, its shape as DICE makes it.
ROOT_FORMAT = "dice-root-certificate"
_MAC = "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"
MOST_PAGE_BOARDS = 200
MOST_BATCH_BOARDS = 500
_MOST_ROOT_CHARS = 8192
_EXAMPLE_ID = "24:0a:c4:12:34:56"
_EXAMPLE_KEY_ID = "b2d5b7aa8b1a3f0d4b2f1f5a4e0d6c1f9a7c3e51"
_EXAMPLE_TIME = "2026-06-01T12:00:00Z"

BoardId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="As it was enrolled, usually the MAC address.",
        examples=[_EXAMPLE_ID],
    ),
]


def _show_names(schema: dict[str, Any]) -> None:
    """Of a dictionary whose names have a pattern: pydantic writes a schema that leaves other names
    free, though it refuses them."""
    for pattern, value in schema.pop("patternProperties", {}).items():
        schema["propertyNames"] = {"pattern": pattern, "minLength": 1, "maxLength": 64}
        schema["additionalProperties"] = value
    for each in schema.get("anyOf", ()):
        _show_names(each)


Text = Annotated[str, Field(max_length=64, pattern=_PRINTABLE)]
LabelName = Annotated[str, Field(min_length=1, max_length=64, pattern=_PRINTABLE)]
Labels = Annotated[
    dict[LabelName, Text],
    Field(
        max_length=16,
        examples=[{"site": "lab", "line": "3"}],
        json_schema_extra=_show_names,
    ),
]
Root = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_MOST_ROOT_CHARS,
        description="The board's DICE root certificate: PEM, or base64 of DER.",
        json_schema_extra={"format": ROOT_FORMAT},
    ),
]
Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=_PRINTABLE,
        description="Why, in one line.",
        examples=["stolen on site"],
    ),
]
_Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=[_EXAMPLE_TIME])]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewBoard(_Request):
    """A board to enrol: with its root certificate, or by a MAC address, which has one derived."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["root"], "properties": {"root": {"type": "string"}}},
                {"properties": {"id": {"pattern": _MAC}}},
            ]
        }
    )

    id: BoardId
    root: Annotated[
        Root | None,
        Field(
            description="Left out: derived from the id, which is then a MAC address. That is"
            " public: such a board is labelled, not proved.",
        ),
    ] = None
    application: Annotated[
        Text | None, Field(description="Left out: empty, or what an enrolled board has.")
    ] = None
    labels: Annotated[
        Labels | None, Field(description="Left out: none, or what an enrolled board has.")
    ] = None


class NewBoards(_Request):
    """Boards to enrol, all of them or none."""

    boards: Annotated[list[NewBoard], Field(min_length=1, max_length=MOST_BATCH_BOARDS)]


def _as_root(schema: dict[str, Any]) -> None:
    schema["format"] = ROOT_FORMAT
    schema.pop("default", None)  # it is never used: whether it was given is asked before


class BoardChange(_Request):
    """What is to be another: a merge patch (RFC 7396). What is left out stays."""

    root: str = Field(
        default="",
        min_length=1,
        max_length=_MOST_ROOT_CHARS,
        description="Another root certificate, of a board that was given a new secret.",
        json_schema_extra=_as_root,
    )
    application: Annotated[Text | None, Field(description="null: empty.")] = None
    labels: Annotated[
        dict[LabelName, Text | None] | None,
        Field(
            max_length=32,
            description="null: none. Of the labels, each with a value is set, each null is taken"
            " away, the others stay.",
            examples=[{"site": "hall 2", "line": None}],
            json_schema_extra=_show_names,
        ),
    ] = None


class NewRevocation(_Request):
    """A revocation to be."""

    reason: Reason


class Revocation(BaseModel):
    """Why a board's root is no longer accepted, and since when."""

    reason: str
    revoked_at: _Time


class BoardSummary(BaseModel):
    """A board as a list shows it."""

    id: BoardId
    key_id: Annotated[
        str,
        Field(
            pattern="^[0-9a-f]{40}$",
            description="The root's subject key identifier.",
            examples=[_EXAMPLE_KEY_ID],
        ),
    ]
    state: Literal["active", "revoked"]
    revoked_at: _Time | None
    reason: Annotated[str | None, Field(description="Of the revocation.")]
    application: str
    labels: dict[str, str]
    enrolled_at: Annotated[_Time | None, Field(description="null: by the C `submit`.")]
    first_seen: Annotated[_Time | None, Field(description="When it was first accepted.")]
    last_seen: Annotated[_Time | None, Field(description="When it was last accepted.")]
    last_verdict: Annotated[
        str | None,
        Field(description="`accepted`, or `refused` and the checks.", examples=["accepted"]),
    ]
    last_version: Annotated[
        str | None,
        Field(description="Of its firmware, as its evidence claimed.", examples=["1.2.3"]),
    ]
    revision: Annotated[
        str,
        Field(
            pattern="^[0-9a-f]{32}$",
            description="What the entity tag (ETag, If-Match) says. It stands for what operators"
            " write of the board, and does not change with what is seen of it: first_seen and the"
            " three after it.",
        ),
    ]


class Board(BoardSummary):
    """All that is known of a board."""

    root: Annotated[str, Field(description="The DICE root certificate, PEM.")]


class BoardPage(BaseModel):
    """Some of the boards."""

    boards: list[BoardSummary]
    next: Annotated[
        str | None,
        Field(description="The cursor of the following page; null after the last one."),
    ]


class BatchResult(BaseModel):
    """What a batch came to."""

    enrolled: Annotated[int, Field(ge=0, examples=[12])]
    unchanged: Annotated[int, Field(ge=0, description="Enrolled before, just so.", examples=[0])]


class ProblemPart(BaseModel):
    """One thing that is wrong with a request."""

    at: Annotated[str, Field(description="Where.", examples=["body.labels.site"])]
    detail: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: Annotated[str, Field(description="For a person.")]
    check: Annotated[str, Field(description="For a program: the name of what failed.")]
    errors: list[ProblemPart] | None = None


class BoardQuery(BaseModel):
    """Which boards a list has."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_PAGE_BOARDS,
            description="The most boards of a page. It may have fewer, or none, where more follow.",
        ),
    ] = 50
    cursor: Annotated[
        str | None, Field(max_length=2048, description="`next` of the page before.")
    ] = None
    state: Annotated[
        Literal["active", "revoked"] | None, Field(description="Only boards in this state.")
    ] = None
    application: Annotated[Text | None, Field(description="Only boards of this application.")] = (
        None
    )
    label: Annotated[
        str | None,
        Field(
            max_length=129,
            pattern="^[^=]+=",
            description="Only boards with this label, NAME=VALUE.",
            examples=["site=lab"],
        ),
    ] = None
