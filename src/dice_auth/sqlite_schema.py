"""The tables of the SQLite registry, and how older files are brought to them.

The application's `user_version` of a file is the number of migrations that have run on it.
"""

import sqlite3

# Append only: files of every earlier version are out there.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE boards (
            id TEXT PRIMARY KEY,
            key_id BLOB NOT NULL UNIQUE,
            root BLOB NOT NULL
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE boards ADD COLUMN application TEXT NOT NULL DEFAULT ''",
        # A JSON object of strings, or empty for none.
        "ALTER TABLE boards ADD COLUMN labels TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE boards ADD COLUMN enrolled_at INTEGER",
        # By the root's key and not by the board: removing and enrolling again lifts nothing.
        """
        CREATE TABLE revocations (
            key_id BLOB PRIMARY KEY,
            board_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            revoked_at INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        # Apart from `boards`, because these rows are written all the time.
        """
        CREATE TABLE observations (
            board_id TEXT PRIMARY KEY,
            first_seen INTEGER,
            last_seen INTEGER,
            last_verdict TEXT NOT NULL
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE observations ADD COLUMN last_version TEXT",
        # Challenges that wait for their evidence. expires_at: milliseconds since 1970.
        """
        CREATE TABLE nonces (
            nonce BLOB PRIMARY KEY,
            expires_at INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX nonces_by_expiry ON nonces (expires_at)",
    ),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to today's tables. Raises sqlite3.Error, also for a file of a later version.

    connection: one in autocommit mode.
    """
    if _user_version(connection) == len(_MIGRATIONS):
        return
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _user_version(connection)
        if version > len(_MIGRATIONS):
            raise sqlite3.DatabaseError(
                f"schema version {version}, this program knows up to {len(_MIGRATIONS)}"
            )
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
