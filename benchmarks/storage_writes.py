"""What a durable write costs: jobs of four rows and one position, by 1, 16 and 64 writers at once.

    python -m benchmarks.storage_writes [--seconds 3] [--engine sqlite|postgresql|synchronous] [--folder DIR]

This process keeps to one core (PostgreSQL, started here on a temporary directory, may use the others). CPU is this
process's own, all threads, per job; `machine` is one bare row per fsync, to compare: what the disk itself can do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

import uvloop

from homeserver.clock import SystemClock
from homeserver.storage.database import Database, Transaction
from homeserver.storage.opening import open_database
from homeserver.storage.synchronous import open_synchronous
from tests.support.postgresql import PostgresServer

TABLES = [
    "CREATE TABLE bench_events (position BIGINT PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, json TEXT NOT NULL)",
    "CREATE TABLE bench_edges (event_id TEXT NOT NULL, previous TEXT NOT NULL, PRIMARY KEY (event_id, previous))",
    "CREATE TABLE bench_senders (sender TEXT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (sender, position))",
    "CREATE TABLE bench_heads (room_id TEXT NOT NULL PRIMARY KEY, event_id TEXT NOT NULL)",
]
ADD_EVENT = "INSERT INTO bench_events (position, event_id, json) VALUES (?, ?, ?)"
ADD_EDGE = "INSERT INTO bench_edges (event_id, previous) VALUES (?, ?)"
ADD_SENDER = "INSERT INTO bench_senders (sender, position) VALUES (?, ?)"
SET_HEAD = """
    INSERT INTO bench_heads (room_id, event_id) VALUES (?, ?)
    ON CONFLICT (room_id) DO UPDATE SET event_id = excluded.event_id
"""
ROWS_PER_JOB = 4
JSON = "x" * 700


async def write_for(database: Database, writers: int, seconds: float) -> tuple[int, float, float, list[float]]:
    """Jobs done, seconds and CPU seconds they took, and how long each took."""
    done = 0
    waits: list[float] = []
    deadline = time.perf_counter() + seconds

    async def write_on(writer: int) -> None:
        nonlocal done

        async def job(txn: Transaction) -> int:
            position = txn.next_position()
            event_id = f"${position:040}"
            txn.add(ADD_EVENT, (position, event_id, JSON))
            txn.add(ADD_EDGE, (event_id, f"${position - 1:040}"))
            txn.add(ADD_SENDER, (f"@writer{writer}:example.org", position))
            txn.put(SET_HEAD, "!room:example.org", ("!room:example.org", event_id))
            return position

        while (started := time.perf_counter()) < deadline:
            await database.write(job)
            waits.append(time.perf_counter() - started)
            done += 1

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write_on(writer) for writer in range(writers)))
    return done, time.perf_counter() - started, time.process_time() - cpu, waits


async def measure(name: str, database: Database, seconds: float) -> None:
    async def create(txn: Transaction) -> None:
        for table in TABLES:
            await txn.execute(table)

    await database.write(create)
    await write_for(database, 16, 0.5)  # warm up
    for writers in (1, 16, 64):
        done, took, cpu, waits = await write_for(database, writers, seconds)
        waits.sort()
        median, most, worst = (waits[index] * 1000 for index in (len(waits) // 2, len(waits) * 99 // 100, -1))
        print(
            f"{name:<12}{writers:>8}{done / took:>12,.0f}{done * ROWS_PER_JOB / took:>12,.0f}"
            f"{cpu / done * 1e6:>12,.0f}{median:>10.2f}{most:>10.2f}{worst:>10.1f}",
            flush=True,
        )
    await database.close()


def bare_syncs(folder: str) -> float:
    """Appends of 4 KiB, each with an fdatasync, a second."""
    path = os.path.join(folder, "bare")
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < 1:
        os.write(descriptor, bytes(4096))
        os.fdatasync(descriptor)
        count += 1
    os.close(descriptor)
    os.unlink(path)
    return count


async def run(engines: list[str], folder: str, location: str | None, seconds: float) -> None:
    print(f"machine: {bare_syncs(folder):,.0f} appends with fdatasync a second")
    titles = ("writers", 8), ("jobs/s", 12), ("rows/s", 12), ("CPU us/job", 12), ("median ms", 10), ("p99 ms", 10)
    print(f"{'engine':<12}" + "".join(f"{title:>{width}}" for title, width in titles) + f"{'worst ms':>10}")
    clock = SystemClock()
    if "synchronous" in engines:
        await measure("synchronous", open_synchronous(os.path.join(folder, "synchronous.db"), clock), seconds)
    if "sqlite" in engines:
        await measure("sqlite", await open_database(os.path.join(folder, "sqlite.db"), clock), seconds)
    if location is not None:
        await measure("postgresql", await open_database(location, clock), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--engine", action="append", choices=["sqlite", "postgresql", "synchronous"])
    parser.add_argument("--folder", type=Path, help="where the SQLite files go (default: the temporary directory)")
    arguments = parser.parse_args()
    engines = arguments.engine or ["sqlite", "postgresql"]
    server = PostgresServer() if "postgresql" in engines else None
    try:
        if server is not None:
            server.start()
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            uvloop.run(run(engines, folder, server.url() if server is not None else None, arguments.seconds))
    finally:
        if server is not None:
            server.remove()


if __name__ == "__main__":
    main()
