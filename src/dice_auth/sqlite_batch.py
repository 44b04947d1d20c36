"""Enrolling in SQLite: boards are collected in a table of their own, which may take minutes and
locks nothing, then taken over in one transaction.

A process that dies before the commit has enrolled nothing, and leaves nothing: the collected
boards live in a temporary file that SQLite has already unlinked.
"""

import json
import sqlite3
import time
from collections.abc import Iterable

from dice_auth.enrolment import Enrolment
from dice_auth.errors import AlreadyEnrolledError, RevokedError
from dice_auth.registry import BoardRecord, Progress

_PROGRESS_EVERY = 100

_COLLECT = """
    INSERT INTO batch.boards (id, key_id, root, application, labels) VALUES (?, ?, ?, ?, ?)
"""
_CONFLICTING_ID = """
    SELECT new.id FROM batch.boards AS new JOIN main.boards AS old USING (id)
    WHERE old.root != new.root LIMIT 1
"""
_CONFLICTING_TEXT = """
    SELECT new.id FROM batch.boards AS new JOIN main.boards AS old USING (id)
    WHERE old.root = new.root AND (
        old.application != coalesce(new.application, old.application)
        OR sorted_labels(old.labels) != sorted_labels(coalesce(new.labels, old.labels))
    ) LIMIT 1
"""
_CONFLICTING_ROOT = """
    SELECT new.id, old.id FROM batch.boards AS new JOIN main.boards AS old USING (key_id)
    WHERE old.id != new.id LIMIT 1
"""
_REVOKED = """
    SELECT new.id, old.board_id, old.reason
    FROM batch.boards AS new JOIN main.revocations AS old USING (key_id) LIMIT 1
"""
_UPDATE = """
    UPDATE main.boards AS old SET
        key_id = new.key_id,
        root = new.root,
        enrolled_at = CASE WHEN old.root != new.root THEN ?1 ELSE old.enrolled_at END,
        application = coalesce(new.application, old.application),
        labels = coalesce(new.labels, old.labels)
    FROM batch.boards AS new WHERE old.id = new.id AND (
        old.root != new.root
        OR old.application != coalesce(new.application, old.application)
        OR old.labels != coalesce(new.labels, old.labels)
    )
"""
# In the order of the ids, the order of the table: pages are filled one after the other.
_INSERT = """
    INSERT INTO main.boards (id, key_id, root, application, labels, enrolled_at)
    SELECT id, key_id, root, coalesce(application, ''), coalesce(labels, ''), ?1
    FROM batch.boards AS new
    WHERE NOT EXISTS (SELECT 1 FROM main.boards AS old WHERE old.id = new.id)
    ORDER BY id
"""


def collect(
    connection: sqlite3.Connection, boards: Iterable[Enrolment], progress: Progress
) -> None:
    """Read all the boards into a temporary table. Raises AlreadyEnrolledError for one that is
    among them twice, sqlite3.Error, and what the iterable raises."""
    connection.execute("ATTACH '' AS batch")
    connection.execute(
        "CREATE TABLE batch.boards (id TEXT PRIMARY KEY, key_id BLOB NOT NULL UNIQUE,"
        " root BLOB NOT NULL, application TEXT, labels TEXT) WITHOUT ROWID"
    )
    connection.execute("BEGIN")
    count = 0
    for board in boards:
        try:
            connection.execute(_COLLECT, _values(board))
        except sqlite3.IntegrityError:
            raise AlreadyEnrolledError(_twice(connection, board)) from None
        count += 1
        if count % _PROGRESS_EVERY == 0:
            progress(count)
    connection.commit()
    progress(count)


def take_over(connection: sqlite3.Connection, replace: bool, update: bool = True) -> int:
    """Enrol what was collected, inside the caller's transaction; returns how many changed.

    Raises AlreadyEnrolledError, RevokedError, sqlite3.Error.
    """
    if not replace and (found := connection.execute(_CONFLICTING_ID).fetchone()):
        raise AlreadyEnrolledError(f"{found[0]} is already enrolled, with another root certificate")
    connection.create_function("sorted_labels", 1, _sorted_labels, deterministic=True)
    if not update and (found := connection.execute(_CONFLICTING_TEXT).fetchone()):
        raise AlreadyEnrolledError(
            f"{found[0]} is already enrolled, with another application or other labels"
        )
    if found := connection.execute(_CONFLICTING_ROOT).fetchone():
        raise AlreadyEnrolledError(_enrolled_as(*found))
    if found := connection.execute(_REVOKED).fetchone():
        raise RevokedError(_revoked(*found))
    now = int(time.time())
    # What is neither replaced nor updated is as it was: that has just been looked at.
    updated = connection.execute(_UPDATE, (now,)).rowcount if replace or update else 0
    return updated + connection.execute(_INSERT, (now,)).rowcount


def _values(board: Enrolment) -> tuple[str, bytes, bytes, str | None, str | None]:
    return board.board_id, board.key_id, board.root, board.application, board.labels_as_json


def change(connection: sqlite3.Connection, old: BoardRecord, new: Enrolment) -> None:
    """Give one board other values, inside the caller's transaction. Raises as `take_over`."""
    if new.root != old.root:
        _check_new_root(connection, old.board_id, new.key_id)
    connection.execute(
        "UPDATE boards SET key_id = ?, root = ?, application = coalesce(?, application),"
        " labels = coalesce(?, labels), enrolled_at = ? WHERE id = ?",
        (
            new.key_id,
            new.root,
            new.application,
            new.labels_as_json,
            old.enrolled_at if new.root == old.root else int(time.time()),
            old.board_id,
        ),
    )


def _check_new_root(connection: sqlite3.Connection, board_id: str, key_id: bytes) -> None:
    if found := connection.execute(
        "SELECT id FROM boards WHERE key_id = ? AND id != ?", (key_id, board_id)
    ).fetchone():
        raise AlreadyEnrolledError(_enrolled_as(board_id, found[0]))
    if found := connection.execute(
        "SELECT board_id, reason FROM revocations WHERE key_id = ?", (key_id,)
    ).fetchone():
        raise RevokedError(_revoked(board_id, *found))


def _enrolled_as(board_id: str, other: str) -> str:
    return f"the root certificate of {board_id} is already enrolled, as {other}"


def _revoked(board_id: str, revoked_as: str, reason: str) -> str:
    return f"the root certificate of {board_id} is revoked (as {revoked_as}: {reason})"


def _sorted_labels(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True) if text else ""


def _twice(connection: sqlite3.Connection, board: Enrolment) -> str:
    (earlier,) = connection.execute(
        "SELECT id FROM batch.boards WHERE id = ? OR key_id = ? LIMIT 1",
        (board.board_id, board.key_id),
    ).fetchone()
    if earlier == board.board_id:
        return f"{earlier} is in the batch twice"
    return f"{earlier} and {board.board_id} have the same root certificate"
