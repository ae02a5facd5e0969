"""Databases for tests: each test gets a fresh, migrated one, on SQLite and on PostgreSQL.

`database` runs a test once per engine; `@ONLY_SYNCHRONOUS` (fast, deterministic, SQLite in memory) and
`@ON_ALL_DRIVERS` choose differently. `database_location` is what `open_database` wants, for tests that open themselves.
The fixtures are imported by `tests/conftest.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path

import pytest

from homeserver.clock import SystemClock
from homeserver.storage import sqlite_connection
from homeserver.storage.database import Database
from homeserver.storage.migrating import migrate_sqlite
from homeserver.storage.opening import open_database
from homeserver.storage.synchronous import SynchronousDatabase
from tests.support.in_flight import in_flight
from tests.support.postgresql import PostgresServer
from tests.support.postgresql_databases import PostgresDatabases

ENGINES = ["sqlite", "postgresql"]

ONLY_SYNCHRONOUS = pytest.mark.parametrize("database_engine", ["synchronous"], indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("database_engine", ["sqlite"], indirect=True)
ONLY_POSTGRESQL = pytest.mark.parametrize("database_engine", ["postgresql"], indirect=True)
ON_ALL_DRIVERS = pytest.mark.parametrize("database_engine", [*ENGINES, "synchronous"], indirect=True)


def open_in_memory() -> SynchronousDatabase:
    """A fresh, migrated database on the synchronous driver; the caller closes it."""
    connection = sqlite_connection.connect(":memory:")
    connection.deserialize(_migrated_image())
    return SynchronousDatabase(connection)


@cache
def _migrated_image() -> bytes:
    """Migrated once: a copy takes a fraction of the time."""
    connection = sqlite_connection.connect(":memory:")
    migrate_sqlite(connection, SystemClock().now_ms())
    image = connection.serialize()
    connection.close()
    return image


@pytest.fixture(params=ENGINES)
def database_engine(request: pytest.FixtureRequest) -> str:
    engine: str = request.param
    return engine


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The one PostgreSQL of this test process."""
    server = PostgresServer(is_hasty=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: PostgresServer) -> Iterator[PostgresDatabases]:
    """Its databases."""
    databases = PostgresDatabases(postgres_server)
    yield databases
    databases.close()


@pytest.fixture
async def database_location(database_engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Where a fresh, migrated database is: a path, a URL, or ":memory:" for the synchronous driver."""
    if database_engine == "synchronous":
        yield ":memory:"
    elif database_engine == "sqlite":
        path = tmp_path / "halfdoor.db"
        path.write_bytes(_migrated_image())
        yield str(path)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
        name = await databases.lend()
        yield server.url(name)
        await databases.take_back(name)


@pytest.fixture
async def database(database_engine: str, database_location: str) -> AsyncIterator[Database]:
    """A fresh, migrated database of each engine."""
    opened: Database
    if database_engine == "synchronous":
        opened = open_in_memory()
    else:
        opened = await open_database(database_location, SystemClock())
        in_flight.watch(opened)
    yield opened
    await opened.close()
