"""Device lists of other servers' users, on both engines."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction
from homeserver.storage.remote_devices import RemoteDevice, RemoteDeviceStore, RemoteList
from homeserver.storage.rooms import Membership, RoomStore

ANNE, BOB, CAROL = "@anne:far.test", "@bob:far.test", "@carol:here.test"


async def join(database: Database, room_id: str, user_id: str, membership: str = "join") -> int:
    """A membership; its position."""

    async def job(txn: Transaction) -> int:
        position = txn.next_position()
        RoomStore(database).set_membership(
            txn, Membership(room_id, user_id, membership, f"$e{position}", user_id, position, False)
        )
        return position

    return await database.write(job)


async def follow(store: RemoteDeviceStore, database: Database, *lists: RemoteList) -> None:
    async def job(txn: Transaction) -> None:
        for known in lists:
            await store.set_list(txn, known)

    await database.write(job)


async def test_list_is_kept_replaced_and_forgotten(database: Database) -> None:
    store = RemoteDeviceStore(database)
    fresh = RemoteList(ANNE, 7, is_stale=False, master_key='{"x": "钥匙"}')
    assert not await store.has_lists()
    await follow(store, database, RemoteList(BOB), fresh)
    await follow(store, database, RemoteList(BOB, 3, failures=2, retry_at_ts=2**40))
    assert await store.has_lists()
    assert await store.find_list(ANNE) == fresh
    assert await store.list_stale() == [RemoteList(BOB, 3, failures=2, retry_at_ts=2**40)]
    assert set(await store.list_lists([ANNE, BOB, CAROL])) == {ANNE, BOB}

    async def devices(txn: Transaction) -> tuple[tuple[int, int], tuple[int, int]]:
        await store.set_devices(txn, ANNE, [RemoteDevice(ANNE, "A", "{}", None), RemoteDevice(ANNE, "B", "{}", "电话")])
        await store.set_device(txn, RemoteDevice(ANNE, "A", '{"new": 1}', None))
        await store.set_device(txn, RemoteDevice(BOB, "C", "{}", None))
        await store.remove_device(txn, ANNE, "none")
        return await store.measure(ANNE, txn), await store.measure(ANNE, txn, but="A")

    assert await database.write(devices) == ((2, 12), (1, 2))
    assert await store.list_devices([ANNE, BOB]) == [
        RemoteDevice(ANNE, "A", '{"new": 1}', None),
        RemoteDevice(ANNE, "B", "{}", "电话"),
        RemoteDevice(BOB, "C", "{}", None),
    ]
    await database.write(lambda txn: store.remove_lists(txn, [ANNE]))
    assert await store.find_list(ANNE) is None
    assert [device.user_id for device in await store.list_devices([ANNE, BOB])] == [BOB]


async def test_who_shares_a_room_and_who_no_longer(database: Database) -> None:
    store = RemoteDeviceStore(database)
    await follow(store, database, RemoteList(ANNE), RemoteList(BOB))
    await join(database, "!one:here.test", ANNE)
    await join(database, "!two:far.test", BOB)
    await join(database, "!two:far.test", CAROL, "invite")
    await join(database, "!one:here.test", CAROL)
    assert await store.list_sharing_any("here.test", [ANNE, BOB, "@x:y"]) == {ANNE}
    assert await store.list_unshared("here.test") == [BOB]
    left_at = await join(database, "!one:here.test", CAROL, "leave")
    assert await store.list_followed_where_left(CAROL, left_at) == [ANNE]
    assert await store.list_followed_where_left(CAROL, left_at + 1) == []
    assert sorted(await store.list_unshared("here.test")) == [ANNE, BOB]
    assert await RoomStore(database).list_joins([ANNE, BOB, CAROL], 0) != []
    assert await RoomStore(database).list_joins([CAROL], 0) == []
