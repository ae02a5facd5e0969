"""The store of a bridge when whoever uses it is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridges.kit.store import Store, StoreUnavailable


@pytest.mark.parametrize("turns", range(8))
async def test_a_caller_who_is_cancelled_at_any_moment_leaves_no_transaction_open(turns: int, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "bridge.db"))
    await store.open()

    async def write() -> None:
        async with store.transaction() as txn:
            await txn.execute("INSERT INTO transactions (txn_id, received_ms) VALUES ('cancelled', 0)")
            await asyncio.Event().wait()

    for _ in range(20):
        task = asyncio.create_task(write())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with store.transaction() as txn:
            assert await txn.rows("SELECT * FROM transactions") == []
    await store.close()


async def test_a_store_that_is_closed_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "bridge.db"))
    await store.open()
    await store.close()
    with pytest.raises(StoreUnavailable, match="stopping"):
        async with store.transaction():
            pass
