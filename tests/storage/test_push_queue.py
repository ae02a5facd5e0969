"""What waits for pushers, on both engines."""

from __future__ import annotations

from dataclasses import replace

from homeserver.storage.database import Database, Transaction
from homeserver.storage.push_queue import PusherKey, PushProgress, PushQueue, QueuedPush
from homeserver.storage.pushers import Pusher, PusherStore

KEY = PusherKey("@alice:test", "org.example", "key")
OTHER = PusherKey("@bob:test", "org.example", "key")


def push(position: int, *, queued_ts: int = 1000) -> QueuedPush:
    return QueuedPush(position, "!room", f"${position}", '["notify"]', queued_ts)


def pusher(key: PusherKey, **changes: object) -> Pusher:
    made = Pusher(*key, "http", "App", "Phone", "", "en", "{}", "DEVICE", 1)
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_what_waits_is_kept_in_order_and_once(database: Database) -> None:
    queue = PushQueue(database)
    rows = [(KEY, push(3)), (KEY, push(1)), (OTHER, push(2)), (KEY, push(2))]
    for _ in range(2):
        await database.write(lambda txn: queue.add_pushes(txn, rows))
    assert await queue.list_pushes(KEY, 10) == [push(1), push(2), push(3)]
    assert await queue.list_pushes(KEY, 2) == [push(1), push(2)]
    assert set(await queue.list_waiting()) == {KEY, OTHER}
    assert await queue.count_pushes() == 4
    await database.write(lambda txn: queue.remove_pushes(txn, KEY, [1, 3, 9]))
    assert await queue.list_pushes(KEY, 10) == [push(2)]
    await database.write(lambda txn: queue.remove_all_pushes(txn, KEY))
    assert await queue.list_waiting() == [OTHER]


async def test_old_and_too_many_are_dropped(database: Database) -> None:
    queue = PushQueue(database)
    rows = [(KEY, push(position, queued_ts=position * 10)) for position in range(1, 11)] + [(OTHER, push(1))]
    await database.write(lambda txn: queue.add_pushes(txn, rows))
    assert await database.write(lambda txn: queue.trim(txn, KEY, before_ts=30, newest=100)) == 2
    assert await database.write(lambda txn: queue.trim(txn, KEY, before_ts=0, newest=3)) == 5
    assert [one.position for one in await queue.list_pushes(KEY, 100)] == [8, 9, 10]
    assert await database.write(lambda txn: queue.trim(txn, KEY, before_ts=0, newest=3)) == 0
    assert len(await queue.list_pushes(OTHER, 100)) == 1


async def test_place_moves_only_from_where_one_thinks_it_is(database: Database) -> None:
    queue = PushQueue(database)
    assert await queue.find_place() is None
    for position in (5, 9):
        await database.write(lambda txn, at=position: queue.start_at(txn, at))  # type: ignore[misc]
    assert await queue.find_place() == 5
    assert not await database.write(lambda txn: queue.move_place(txn, 4, 8))
    assert await database.write(lambda txn: queue.move_place(txn, 5, 8))
    assert await queue.find_place() == 8


async def test_progress_is_kept_until_the_pusher_goes_somewhere_else(database: Database) -> None:
    queue, store = PushQueue(database), PusherStore(database)
    assert await queue.find_progress(KEY) == PushProgress()
    for progress in (PushProgress(2, 1000, None, 0, 0), PushProgress(3, 2000, 7, 5, 60)):
        await database.write(lambda txn, kept=progress: queue.set_progress(txn, KEY, kept))  # type: ignore[misc]
        assert await queue.find_progress(KEY) == progress
    await database.write(lambda txn: store.forget_failures(txn, *KEY))
    assert await queue.find_progress(KEY) == PushProgress(0, 0, 7, 5, 60)


async def test_with_a_pusher_goes_what_waits_for_it(database: Database) -> None:
    queue, store = PushQueue(database), PusherStore(database)

    async def fill(txn: Transaction) -> None:
        for key in (KEY, OTHER):
            await store.set_pusher(txn, pusher(key))
            await queue.set_progress(txn, key, PushProgress(1))
        await queue.add_pushes(txn, [(KEY, push(1)), (OTHER, push(1))])

    await database.write(fill)
    assert await database.write(lambda txn: store.remove_pushers_of_others(txn, *KEY)) == [OTHER.user_id]
    assert await queue.list_waiting() == [KEY]
    assert await queue.find_progress(OTHER) == PushProgress()
    await database.write(lambda txn: store.remove_pushers_of_device(txn, KEY.user_id, "ELSEWHERE"))
    assert await queue.list_waiting() == [KEY]
    await database.write(lambda txn: store.remove_pushers_of_device(txn, KEY.user_id, "DEVICE"))
    assert await queue.list_waiting() == []
    assert await store.list_all_pushers() == []
    await database.write(fill)
    await database.write(lambda txn: store.remove_pushers_of_user(txn, KEY.user_id))
    assert await queue.list_waiting() == [OTHER]


async def test_pusher_is_read_as_it_was_written(database: Database) -> None:
    store = PusherStore(database)
    written = pusher(KEY, enabled=False, updated_ts=77, position=9)
    await database.write(lambda txn: store.set_pusher(txn, written))
    assert await store.list_pushers(KEY.user_id) == [written]
    assert await store.find_pusher(database, *KEY) == written
    assert await store.find_pusher(database, *OTHER) is None


async def test_sessions_are_open_while_a_token_is_good(database: Database) -> None:
    queue = PushQueue(database)

    async def add_access(txn: Transaction, device_id: str, expires_ts: int | None) -> None:
        await txn.execute(
            "INSERT INTO access_tokens (token_id, token_hash, user_id, device_id, created_ts, expires_ts, is_unused)"
            " VALUES (?, ?, ?, ?, 1, ?, 0)",
            (hash(device_id) % 10**9, f"a {device_id}", KEY.user_id, device_id, expires_ts),
        )

    async def add_refresh(txn: Transaction, device_id: str, expires_ts: int | None, spent: int) -> None:
        await txn.execute(
            "INSERT INTO refresh_tokens (refresh_id, token_hash, user_id, device_id, created_ts, expires_ts, is_spent)"
            " VALUES (?, ?, ?, ?, 1, ?, ?)",
            (hash(device_id) % 10**9, f"r {device_id}", KEY.user_id, device_id, expires_ts, spent),
        )

    async def fill(txn: Transaction) -> None:
        await add_access(txn, "FOREVER", None)
        await add_access(txn, "EXPIRED", 100)
        await add_access(txn, "REFRESHABLE", 100)
        await add_refresh(txn, "REFRESHABLE", None, 0)
        await add_access(txn, "SPENT", 100)
        await add_refresh(txn, "SPENT", None, 1)
        await add_refresh(txn, "STALE", 100, 0)

    await database.write(fill)
    devices = ("FOREVER", "EXPIRED", "REFRESHABLE", "SPENT", "STALE", "UNKNOWN")
    assert [device for device in devices if await queue.has_session(KEY.user_id, device, 200)] == [
        "FOREVER",
        "REFRESHABLE",
    ]
    assert await queue.has_session(KEY.user_id, "EXPIRED", 99)
    assert not await queue.has_session(OTHER.user_id, "FOREVER", 99)
