"""Brings a database to the version of this code: numbered files, each applied once, in a transaction of its own.

A migration is `migrations/NNNN_noun.sql`, written once for both engines: `{BYTES}` stands for the type of bytes,
`{POSITION}` for the type of a whole number that is the primary key alone (on SQLite the row's own number, so that
rows lie in its order), and a line `-- sqlite:` or `-- postgresql:` starts a part for that engine alone, until the next
such line or `-- both:`. What is applied is recorded in the table `migrations`. A released file never changes; a change
is a new file.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any, Literal, NamedTuple

from homeserver.protocol.errors import MatrixError

Dialect = Literal["sqlite", "postgresql"]

FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
PART = re.compile(r"--\s*(sqlite|postgresql|both):\s*")
TOKENS: dict[Dialect, dict[str, str]] = {
    "sqlite": {"{BYTES}": "BLOB", "{POSITION}": "INTEGER"},
    "postgresql": {"{BYTES}": "BYTEA", "{POSITION}": "BIGINT"},
}

RECORD_TABLE = """
    CREATE TABLE IF NOT EXISTS migrations (
        number BIGINT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        applied_at_ms BIGINT NOT NULL
    )
"""
LIST_APPLIED = "SELECT number, name FROM migrations ORDER BY number"

ADVISORY_LOCK = 0x68616C66646F6F72  # "halfdoor": what processes that start together queue for


class MigrationRefused(MatrixError):
    """The database and this version of Halfdoor do not fit; nothing was changed."""


class Migration(NamedTuple):
    number: int
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.number:04}_{self.name}"

    def script(self, dialect: Dialect) -> str:
        """The SQL for one engine."""
        part = "both"
        lines = []
        for line in self.text.splitlines():
            marker = PART.fullmatch(line.strip())
            if marker:
                part = marker[1]
            elif part in ("both", dialect):
                lines.append(line)
        script = "\n".join(lines)
        for token, text in TOKENS[dialect].items():
            script = script.replace(token, text)
        return script


def list_migrations() -> list[Migration]:
    """All migrations of this code, by number. Raises ValueError when two files claim one number."""
    folder = resources.files("homeserver.storage") / "migrations"
    found: dict[int, Migration] = {}
    for file in folder.iterdir():
        matched = FILE_NAME.fullmatch(file.name)
        if matched:
            migration = Migration(int(matched[1]), matched[2], file.read_text(encoding="utf-8"))
            other = found.setdefault(migration.number, migration)
            if other is not migration:
                raise ValueError(f"Two migrations have the same number: {other} and {migration}. Renumber one.")
        elif file.name.endswith(".sql"):
            raise ValueError(f"The migration {file.name} is not named NNNN_noun.sql.")
    return [found[number] for number in sorted(found)]


def list_pending(applied: Iterable[tuple[int, str]], migrations: Sequence[Migration]) -> list[Migration]:
    """What is still to be applied. Raises MigrationRefused when the database has a migration that the code has not."""
    known = {migration.number: migration for migration in migrations}
    done = set()
    for number, name in applied:
        migration = known.get(number)
        if migration is None or migration.name != name:
            raise MigrationRefused(
                f"The database has the migration {number:04}_{name}, which this version of Halfdoor does not know: "
                "it was written by a newer version. Install that version or a later one, or restore a backup that "
                "was made before the upgrade."
            )
        done.add(number)
    return [migration for migration in migrations if migration.number not in done]


def split_statements(script: str) -> list[str]:
    """The statements of a script for SQLite, which runs one at a time (triggers have semicolons within)."""
    statements = []
    gathered = ""
    for line in script.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            statements.append(gathered)
            gathered = ""
    if _has_sql(gathered):
        raise ValueError(f"A migration ends within a statement: {gathered.strip()[:200]!r}")
    return [statement for statement in statements if _has_sql(statement)]


def migrate_sqlite(connection: sqlite3.Connection, now_ms: int, migrations: Sequence[Migration] | None = None) -> None:
    """Bring a SQLite database up to date. The connection is in autocommit mode (isolation_level None)."""
    migrations = list_migrations() if migrations is None else migrations
    while True:
        connection.execute("BEGIN EXCLUSIVE")  # a second process that starts now waits here, then finds it done
        try:
            connection.execute(RECORD_TABLE)
            pending = list_pending(connection.execute(LIST_APPLIED).fetchall(), migrations)
            if pending:
                for statement in split_statements(pending[0].script("sqlite")):
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO migrations (number, name, applied_at_ms) VALUES (?, ?, ?)",
                    (pending[0].number, pending[0].name, now_ms),
                )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if len(pending) <= 1:
            return


async def migrate_postgresql(connection: Any, now_ms: int, migrations: Sequence[Migration] | None = None) -> None:
    """Bring a PostgreSQL database up to date over an asyncpg connection."""
    migrations = list_migrations() if migrations is None else migrations
    await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
    try:
        await connection.execute(RECORD_TABLE)
        applied = [tuple(row) for row in await connection.fetch(LIST_APPLIED)]
        for migration in list_pending(applied, migrations):
            async with connection.transaction():
                await connection.execute(migration.script("postgresql"))
                await connection.execute(
                    "INSERT INTO migrations (number, name, applied_at_ms) VALUES ($1, $2, $3)",
                    migration.number,
                    migration.name,
                    now_ms,
                )
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)


def _has_sql(text: str) -> bool:
    """Whether there is more than white space and comment lines."""
    return any(line.strip() and not line.strip().startswith("--") for line in text.splitlines())
