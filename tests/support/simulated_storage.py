"""Databases of simulated servers: what was committed outlives a crash, what was not does not, and disks fail.

Real SQLite on a file, in this thread. As with the real drivers everything may happen while a statement runs or a
COMMIT is on its way: how long each takes is chance of the simulation's seed. Nothing is synced, since a crash of the
simulation is not one of the machine.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from homeserver.protocol.errors import Unavailable
from homeserver.storage import sqlite_connection
from homeserver.storage.batch import Group
from homeserver.storage.database import ForeignListener, InputOutputFailed, Job, Params, Row, T
from homeserver.storage.writer import Writer
from tests.support.virtual_loop import Process

GONE = "The process that asks is dead."


@dataclass
class DiskWeather:
    """How a disk behaves. `slow`: the chance that a statement takes a while; `full`, `broken`: that a COMMIT fails for
    want of space, or for good, until a restart."""

    slow: float = 0.05
    full: float = 0.0
    broken: float = 0.0


class Disk:
    """A database file, and the connections of the one process that has it open."""

    def __init__(self, path: Path, image: bytes, chance: random.Random) -> None:
        path.write_bytes(image)
        self.path = path
        self.chance = chance
        self.weather = DiskWeather()
        self.failures = 0
        self._connections: list[sqlite3.Connection] = []

    def open(self, process: Process) -> SimulatedDatabase:
        """The database, for a process that starts."""
        if not self._connections:  # they know nothing of the process before, and making them takes long
            self._connections = [self._connect(), self._connect()]
        return SimulatedDatabase(self, process, *self._connections)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=512)
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "foreign_keys = ON", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def cut(self) -> None:
        """The process is dead: what it did not commit is lost."""
        for connection in self._connections:
            sqlite_connection.rollback(connection)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []

    async def pause(self, process: Process) -> None:
        """Time that a disk takes."""
        if self.chance.random() < self.weather.slow:
            await asyncio.sleep(self.chance.choice((0.0, 0.0, 0.001, 0.02)))
        if not process.alive:
            raise Unavailable(GONE)


class SimulatedEngine:
    """`Engine` of the writer, which fails when the disk does."""

    def __init__(self, disk: Disk, process: Process, connection: sqlite3.Connection) -> None:
        self._disk = disk
        self._process = process
        self._connection = connection

    async def begin(self) -> int:
        await self._disk.pause(self._process)
        return sqlite_connection.begin(self._connection)

    async def fetch(self, sql: str, params: Params) -> list[Row]:
        await self._disk.pause(self._process)
        return sqlite_connection.fetch(self._connection, sql, params)

    async def execute(self, sql: str, params: Params) -> int:
        await self._disk.pause(self._process)
        return sqlite_connection.execute(self._connection, sql, params)

    async def run(self, groups: Sequence[Group]) -> None:
        await self._disk.pause(self._process)
        sqlite_connection.run(self._connection, groups)

    async def commit(self, groups: Sequence[Group], position: int) -> None:
        disk, chance = self._disk, self._disk.chance
        await asyncio.sleep(chance.random() * 0.01)
        await disk.pause(self._process)
        if chance.random() < disk.weather.full:
            disk.failures += 1
            sqlite_connection.rollback(self._connection)
            raise Unavailable("The disk that holds the database is full (in this simulation).")
        if chance.random() < disk.weather.broken:
            disk.failures += 1
            if chance.random() < 0.5:
                sqlite_connection.commit(self._connection, groups, position)  # it is there, and nobody is told
            sqlite_connection.rollback(self._connection)
            raise InputOutputFailed("The disk failed (in this simulation).")
        sqlite_connection.commit(self._connection, groups, position)
        await asyncio.sleep(chance.random() * 0.005)
        await disk.pause(self._process)

    async def rollback(self) -> None:
        if self._process.alive:
            sqlite_connection.rollback(self._connection)


class SimulatedDatabase:
    """`Database` of one process."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, disk: Disk, process: Process, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._disk = disk
        self._process = process
        self._reader = reader
        position = sqlite_connection.fetch(writer, sqlite_connection.READ_POSITION, ())[0][0]
        self._writer = Writer(SimulatedEngine(disk, process, writer), position)

    @property
    def position(self) -> int:
        return self._writer.position

    @property
    def is_broken(self) -> bool:
        """Whether nothing is written any more until a restart."""
        return self._writer._broken is not None

    async def write(self, job: Job[T]) -> T:
        if not self._process.alive:
            raise Unavailable(GONE)
        return await self._writer.write(job)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        await self._disk.pause(self._process)
        rows = sqlite_connection.fetch(self._reader, sql, params)
        await self._disk.pause(self._process)
        return rows

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        rows = await self.fetch_all(sql, params)
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, params: Params = ()) -> Any:
        row = await self.fetch_one(sql, params)
        return None if row is None else row[0]

    def on_foreign_position(self, listener: ForeignListener) -> None:
        self._writer.listen(listener)

    async def refresh_position(self) -> int:
        async with self._writer.between_batches():
            await self._writer.learn(await self.fetch_value(sqlite_connection.READ_POSITION))
        return self._writer.position

    async def close(self) -> None:
        await self._writer.close()
        self._disk.cut()
