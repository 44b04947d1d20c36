"""A board's record as JSON shows it, on the command line and in the admin API."""

from datetime import UTC, datetime
from typing import Any

from dice_auth.registry import BoardRecord


def fields_of(record: BoardRecord) -> dict[str, Any]:
    """All but the root certificate."""
    revocation = record.revocation
    return {
        "id": record.board_id,
        "key_id": record.key_id.hex(),
        "state": record.state,
        "revoked_at": None if revocation is None else time_text(revocation.at),
        "reason": None if revocation is None else revocation.reason,
        "application": record.application,
        "labels": dict(record.labels),
        "enrolled_at": time_text(record.enrolled_at),
        "first_seen": time_text(record.first_seen),
        "last_seen": time_text(record.last_seen),
        "last_verdict": record.last_verdict,
        "last_version": record.last_version,
    }


def time_text(seconds: int | None) -> str | None:
    """RFC 3339, UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
