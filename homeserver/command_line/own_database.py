"""Work on a configuration's database from a command of its own, without the server's listeners."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import config
from homeserver.clock import SystemClock
from homeserver.command_line.failure import CommandFailed
from homeserver.protocol.errors import MatrixError
from homeserver.storage.database import Database

T = TypeVar("T")


def with_database(settings: config.Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    """What `work` gives. The database is made and migrated when it has to be; CommandFailed says what was wrong."""

    async def run() -> T:
        from homeserver.storage.opening import open_database

        url = settings.database.url
        location = str(settings.database.sqlite_file) if url is None else url.reveal()
        database = await open_database(location, SystemClock())
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except MatrixError as error:
        raise CommandFailed(error.message) from None
    except OSError as error:
        raise CommandFailed(f"the database cannot be opened: {error}") from None


def add_account(settings: config.Settings, localpart: str, password: str, *, admin: bool) -> str:
    """Make an account while the server does not run; its user id."""

    async def work(database: Database) -> str:
        from homeserver.composition import build
        from homeserver.configured import server_settings
        from homeserver.users.registration import RegistrationWish

        homeserver = build(database, SystemClock(), server_settings(settings))
        try:
            done = await homeserver.users.registration.register_by_operator(
                RegistrationWish(localpart, password, None), display_name=None, is_admin=admin, user_type=None
            )
        finally:
            await homeserver.close()
        return str(done.user_id)

    return with_database(settings, work)
