"""Opens the database that a configuration names, whichever engine it is."""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.storage.database import Database

POSTGRESQL = ("postgresql://", "postgres://")
SQLITE = "sqlite:///"


async def open_database(location: str, clock: Clock) -> Database:
    """Open and migrate: `postgresql://user@host/name`, or the path of a SQLite file (or `sqlite:///path`).

    Raises MigrationRefused when the database is newer than this code, Unavailable when it cannot be reached.
    """
    if location.startswith(POSTGRESQL):
        from homeserver.storage.postgresql import open_postgresql  # asyncpg costs memory that SQLite users keep

        return await open_postgresql(location, clock)
    from homeserver.storage.sqlite import open_sqlite

    return await open_sqlite(location.removeprefix(SQLITE), clock)
