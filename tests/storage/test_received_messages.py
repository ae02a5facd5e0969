"""Messages of other servers that came before, and who of other servers is there, on both engines."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction
from homeserver.storage.presence import PresenceStore, StoredPresence
from homeserver.storage.to_device import ToDeviceStore


async def test_message_is_new_once_for_each_server_until_it_is_old(database: Database) -> None:
    store = ToDeviceStore(database)

    async def receive(origin: str, message_id: str, now: int) -> bool:
        return await database.write(lambda txn: store.add_received(txn, origin, message_id, now))

    assert [await receive("far.test", "1", 5) for _ in range(2)] == [True, False]
    assert await receive("else.test", "1", 5)
    assert await receive("far.test", "消息", 9)
    await database.write(lambda txn: store.remove_received_before(txn, 9))
    assert await receive("far.test", "1", 10)
    assert not await receive("far.test", "消息", 10)


async def test_who_of_other_servers_is_there(database: Database) -> None:
    store = PresenceStore(database)

    async def job(txn: Transaction) -> None:
        for user_id, state in (("@a:far.test", "online"), ("@b:far.test", "offline"), ("@c:here.test", "online")):
            store.set_presence(txn, StoredPresence(user_id, state, None, 0, txn.next_position()))

    await database.write(job)
    assert await store.list_present("here.test") == ["@a:far.test"]
