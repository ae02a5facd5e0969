"""A full disk under SQLite: writes are refused with a sentence, reads go on, and space is all that recovery needs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.clock import SystemClock
from homeserver.protocol.errors import Unavailable
from homeserver.storage.database import InputOutputFailed, Job, Transaction
from homeserver.storage.opening import open_database


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let us mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def adding(size: int) -> Job[int]:
    async def job(txn: Transaction) -> int:
        position = txn.next_position()
        txn.add("INSERT INTO blobs (id, data) VALUES (?, ?)", (position, bytes(size)))
        return position

    return job


async def test_a_full_disk_refuses_writes_and_space_is_all_that_is_needed(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    path = small_disk / "halfdoor.db"
    database = await open_database(str(path), SystemClock())

    async def create(txn: Transaction) -> None:
        await txn.execute("CREATE TABLE blobs (id BIGINT PRIMARY KEY, data BLOB)")

    await database.write(create)
    acknowledged = 0
    refused: Unavailable | None = None
    while refused is None:
        try:
            acknowledged = await database.write(adding(50_000))
        except Unavailable as error:
            refused = error
    assert "The disk that holds the database is full" in str(refused)
    assert not isinstance(refused, InputOutputFailed)
    for _ in range(3):
        with pytest.raises(Unavailable, match="full"):
            await database.write(adding(200_000))
    assert await database.fetch_value("SELECT COUNT(*) FROM blobs") == acknowledged > 10
    assert database.position == acknowledged
    ballast.unlink()
    for number in range(10):
        assert await database.write(adding(50_000)) == acknowledged + number + 1
    await database.close()
    again = await open_database(str(path), SystemClock())
    assert await again.fetch_value("SELECT COUNT(*) FROM blobs") == again.position == acknowledged + 10
    assert await again.fetch_value("PRAGMA integrity_check") == "ok"
    await again.close()
