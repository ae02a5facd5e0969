"""Keys of other servers, on both engines."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction
from homeserver.storage.server_keys import ServerKey, ServerKeyStore


async def test_B08_a_key_is_never_replaced_by_another_under_its_id(database: Database) -> None:
    store = ServerKeyStore(database)
    true = ServerKey("far.test", "ed25519:a", "A", 10, False)
    await database.write(lambda txn: store.set_keys(txn, [true]))
    await database.write(lambda txn: store.set_keys(txn, [ServerKey("far.test", "ed25519:a", "B", 99, False)]))
    assert await store.list_keys("far.test") == [true]
    old = ServerKey("far.test", "ed25519:a", "A", 20, True)
    await database.write(lambda txn: store.set_keys(txn, [old]))
    assert await store.list_keys("far.test") == [old]


async def test_B08_of_servers_that_are_named_only_the_newest_are_kept(database: Database) -> None:
    store = ServerKeyStore(database)
    for number in range(12):
        name, now = f"s{number}.test", number

        async def keep(txn: Transaction, name: str = name, now: int = now) -> None:
            await store.set_published(txn, name, '{"x": "说"}', now, keep=10)

        await database.write(keep)
    kept = [await store.find_published(f"s{number}.test") for number in range(12)]
    assert kept == [None] * 2 + ['{"x": "说"}'] * 10
