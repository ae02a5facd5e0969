"""What is kept of other servers, on both databases."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import Destination, DestinationStore

ADD_EVENT = (
    "INSERT INTO events (position, event_id, room_id, type, sender, depth, origin_server_ts, status, json)"
    " VALUES (?, ?, ?, 'm.room.message', ?, 1, 1, ?, '{}')"
)


async def test_standing_and_what_was_told_are_apart(database: Database) -> None:
    store = DestinationStore(database)

    async def write(txn: Transaction) -> None:
        store.set_told(txn, "a.test", 7, is_behind=True)
        store.set_standing(txn, "a.test", 2, 10, 20, 30)
        store.set_standing(txn, "b.test", 1, 1, 2, 3)
        store.set_told(txn, "b.test", 9, is_behind=False)

    await database.write(write)
    a = Destination("a.test", 2, 30, 7, is_behind=True, failing_since_ts=10, tried_at_ts=20)
    b = Destination("b.test", 1, 3, 9, is_behind=False, failing_since_ts=1, tried_at_ts=2)
    assert sorted(await store.list_destinations(), key=lambda one: one.server_name) == [a, b]
    assert await store.find_destination("b.test") == b
    assert await store.find_destination("c.test") is None


async def test_of_what_is_about_the_same_the_newest_waits(database: Database) -> None:
    store = DestinationStore(database)

    async def write(number: int, txn: Transaction) -> None:
        store.add_edu(txn, "a.test", f"news {number}", "devices of ann")
        store.add_edu(txn, "a.test", f"message {number}")
        store.add_edu(txn, "b.test", f"news {number}", "devices of ann")

    for number in range(3):
        await database.write(lambda txn, number=number: write(number, txn))  # type: ignore[misc]
    waiting = await store.list_edus("a.test", 10)
    assert sorted(edu for _, edu in waiting) == ["message 0", "message 1", "message 2", "news 2"]
    assert sorted(await store.list_waiting_destinations()) == ["a.test", "b.test"]
    await database.write(lambda txn: store.remove_edus(txn, "a.test", waiting[-1][0]))
    assert await store.list_edus("a.test", 10) == []
    assert [edu for _, edu in await store.list_edus("b.test", 10)] == ["news 2"]


async def test_own_events_are_found_by_room(database: Database) -> None:
    store = DestinationStore(database)
    events = [
        (1, "!a", "@ann:one.test", 0),
        (2, "!b", "@bob:two.test", 0),
        (3, "!a", "@ann:one.test", 0),
        (4, "!b", "@ann:one.test", 2),
        (5, "!c", "@ann:one.test", 0),
    ]

    async def write(txn: Transaction) -> None:
        for position, room_id, sender, status in events:
            txn.add(ADD_EVENT, (position, f"${position}", room_id, sender, status))
        store.set_own_newest(txn, "!a", 1)

    await database.write(write)
    assert await store.list_own_events("one.test", 0, 5, 10) == [("!a", 1), ("!a", 3), ("!c", 5)]
    assert await store.list_own_events("one.test", 1, 4, 10) == [("!a", 3)]
    await database.write(lambda txn: store.note_own_events(txn, "one.test", 0))
    assert await store.list_own_newest(0, 10) == [("!a", 3), ("!c", 5)]
    assert await store.list_own_newest(3, 10) == [("!c", 5)]
    assert await store.find_own_newest(["!a", "!b"]) == {"!a": 3}
    assert await store.find_own_newest([]) == {}


async def test_farewells_and_users_of_others(database: Database) -> None:
    store = DestinationStore(database)

    async def write(txn: Transaction) -> None:
        for position in (4, 4, 6):
            store.add_farewell(txn, "two.test", "!a", position)
        for user_id, room_id in (("@ann:one.test", "!a"), ("@bob:two.test", "!a"), ("@ann:one.test", "!b")):
            txn.add(
                "INSERT INTO memberships (user_id, room_id, membership, event_id, sender, position, forgotten)"
                " VALUES (?, ?, 'leave', '$m', ?, 1, 0)",
                (user_id, room_id, user_id),
            )
        store.set_place(txn, "events", 3)
        store.set_place(txn, "events", 4)

    await database.write(write)
    assert await store.list_farewells("two.test", 10) == [("!a", 4), ("!a", 6)]
    await database.write(lambda txn: store.remove_farewells(txn, "two.test", 4))
    assert await store.list_farewells("two.test", 10) == [("!a", 6)]
    assert await store.has_users_of_others("!a", "one.test")
    assert not await store.has_users_of_others("!b", "one.test")
    assert await store.find_place("events") == 4
    assert await store.find_place("devices") is None
