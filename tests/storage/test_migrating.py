"""Migrations: one text for both engines, applied once and whole, and never on a database that is newer."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from homeserver.clock import SystemClock
from homeserver.storage import sqlite_connection
from homeserver.storage.database import Database, StatementRefused
from homeserver.storage.migrating import (
    Migration,
    MigrationRefused,
    list_migrations,
    list_pending,
    migrate_sqlite,
    split_statements,
)
from homeserver.storage.opening import open_database
from homeserver.storage.sqlite import open_sqlite
from tests.support.clock import START_MS, FakeClock
from tests.support.databases import ON_ALL_DRIVERS, ONLY_POSTGRESQL, ONLY_SQLITE

STREAM = next(migration for migration in list_migrations() if migration.number == 1)
NOTES = Migration(9001, "notes", "CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, data {BYTES});")


def test_migrations_are_numbered_without_two_of_a_kind_and_start_with_the_stream() -> None:
    migrations = list_migrations()
    numbers = [migration.number for migration in migrations]
    assert numbers == sorted(set(numbers))
    assert str(migrations[0]) == "0001_stream"


def test_every_migration_can_be_written_for_both_engines() -> None:
    for migration in list_migrations():
        for dialect in ("sqlite", "postgresql"):
            script = migration.script(dialect)
            assert "{" not in script, f"{migration} has a token that is not known"
            assert split_statements(script) or dialect == "postgresql"


def test_tokens_and_parts_are_chosen_by_engine() -> None:
    text = "a {BYTES};\n-- sqlite:\nb {POSITION};\n  -- postgresql:  \nc {POSITION};\n-- both:\nd;\n-- plain: comment"
    migration = Migration(1, "x", text)
    assert migration.script("sqlite") == "a BLOB;\nb INTEGER;\nd;\n-- plain: comment"
    assert migration.script("postgresql") == "a BYTEA;\nc BIGINT;\nd;\n-- plain: comment"


def test_statements_are_split_outside_quotes_comments_and_triggers() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM b;\n  DELETE FROM c;\nEND;\n"
    insert = "INSERT INTO a VALUES ('one; two');\n"
    assert split_statements(f"-- first; second\n{insert}\n{trigger}\n-- end\n") == [
        f"-- first; second\n{insert}",
        f"\n{trigger}",
    ]
    with pytest.raises(ValueError, match="ends within a statement"):
        split_statements("SELECT 1")


def test_two_files_with_one_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "migrations").mkdir()
    for name in ("0001_stream.sql", "0001_notes.sql"):
        (tmp_path / "migrations" / name).write_text("SELECT 1;")
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="same number"):
        list_migrations()
    (tmp_path / "migrations" / "0001_notes.sql").rename(tmp_path / "migrations" / "2notes.sql")
    with pytest.raises(ValueError, match="not named NNNN_noun"):
        list_migrations()


def test_a_newer_database_is_refused_with_what_and_what_to_do() -> None:
    with pytest.raises(MigrationRefused) as refused:
        list_pending([(1, "stream"), (9001, "notes")], [STREAM])
    assert "9001_notes" in str(refused.value)
    assert "newer version" in str(refused.value)
    assert "restore a backup" in str(refused.value)
    assert list_pending([(1, "stream")], [STREAM, NOTES]) == [NOTES]


@ON_ALL_DRIVERS
async def test_every_migration_is_recorded_with_its_time(database: Database) -> None:
    rows = await database.fetch_all("SELECT number, name FROM migrations ORDER BY number")
    assert rows == [(migration.number, migration.name) for migration in list_migrations()]
    assert await database.fetch_value("SELECT MIN(applied_at_ms) FROM migrations") > START_MS


async def test_opening_a_newer_database_is_refused_and_changes_nothing(
    database: Database, database_location: str
) -> None:
    async def add_newer(txn: Any) -> None:
        await txn.execute("INSERT INTO migrations (number, name, applied_at_ms) VALUES (?, ?, ?)", (9999, "future", 1))

    await database.write(add_newer)
    with pytest.raises(MigrationRefused, match="9999_future"):
        await open_database(database_location, SystemClock())
    assert await database.fetch_value("SELECT COUNT(*) FROM migrations") == len(list_migrations()) + 1


async def test_a_migration_that_fails_in_the_middle_leaves_the_old_version(
    database: Database, database_location: str
) -> None:
    known = list_migrations()
    broken = Migration(9001, "broken", "CREATE TABLE half (id BIGINT);\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(StatementRefused, match="nowhere"):
        await _open(database_location, [*known, broken])
    assert await database.fetch_value("SELECT COUNT(*) FROM migrations") == len(known)
    repaired = Migration(9001, "repaired", "CREATE TABLE half (id BIGINT);")
    await (await _open(database_location, [*known, repaired])).close()
    assert await database.fetch_all("SELECT id FROM half") == []


async def test_many_that_start_at_once_apply_each_migration_once(database: Database, database_location: str) -> None:
    migrations = [*list_migrations(), NOTES]
    opened = await asyncio.gather(*(_open(database_location, migrations) for _ in range(5)))
    for each in opened:
        await each.close()
    assert await database.fetch_value("SELECT COUNT(*) FROM migrations WHERE number = 9001") == 1


@ONLY_SQLITE
async def test_the_time_of_a_migration_is_the_clocks(database_engine: str, tmp_path: Path) -> None:
    database = await open_sqlite(str(tmp_path / "new.db"), FakeClock(), [STREAM, NOTES])
    assert await database.fetch_value("SELECT applied_at_ms FROM migrations WHERE number = 9001") == START_MS
    await database.close()


def test_a_migration_killed_in_the_middle_is_as_if_it_never_began(tmp_path: Path) -> None:
    """The process ends within the transaction: the next one finds the old version and goes on."""
    path = str(tmp_path / "halfdoor.db")
    connection = sqlite_connection.connect(path)
    migrate_sqlite(connection, 1, [STREAM])
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("CREATE TABLE half (id BIGINT)")
    connection.execute("INSERT INTO migrations VALUES (9000, 'half', 1)")
    copies = {}
    for end in ("", "-wal"):  # what a power cut would leave
        file = tmp_path / f"halfdoor.db{end}"
        copies[end] = file.read_bytes()
    connection.close()
    for end, content in copies.items():
        (tmp_path / f"copy.db{end}").write_bytes(content)
    after = sqlite3.connect(tmp_path / "copy.db", isolation_level=None)
    migrate_sqlite(after, 2, [STREAM, NOTES])
    assert after.execute("SELECT number FROM migrations ORDER BY number").fetchall() == [(1,), (9001,)]
    assert after.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    after.close()


@ONLY_POSTGRESQL
async def test_a_database_of_another_encoding_is_refused(database_engine: str, postgres_server: Any) -> None:
    administrator = await asyncpg.connect(postgres_server.url())
    await administrator.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    await administrator.close()
    with pytest.raises(MigrationRefused, match="needs UTF8"):
        await open_database(postgres_server.url("latin"), SystemClock())


async def _open(location: str, migrations: list[Migration]) -> Database:
    if location.startswith("postgresql"):
        from homeserver.storage.postgresql import open_postgresql

        return await open_postgresql(location, SystemClock(), migrations)
    return await open_sqlite(location, SystemClock(), migrations)
