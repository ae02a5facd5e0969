"""A process that writes as fast as it can and prints what was acknowledged, until it is killed: see test_crashes.py."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop

from homeserver.clock import SystemClock
from homeserver.storage.database import Transaction
from homeserver.storage.opening import open_database

ADD = "INSERT INTO ledger (position, writer, number) VALUES (?, ?, ?)"
SET = """
    INSERT INTO latest (writer, number) VALUES (?, ?)
    ON CONFLICT (writer) DO UPDATE SET number = excluded.number
"""


async def main(location: str, name: str) -> None:
    database = await open_database(location, SystemClock())

    async def write_on(writer: str) -> None:
        number = 0
        while True:
            number += 1

            async def job(txn: Transaction, number: int = number) -> int:
                position = txn.next_position()
                txn.add(ADD, (position, writer, number))
                txn.put(SET, writer, (writer, number))
                return position

            position = await database.write(job)
            os.write(1, f"{position} {writer} {number}\n".encode())

    await asyncio.gather(*(write_on(f"{name}-{each}") for each in range(8)))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
