"""Who types is kept in memory: a restart must not leave people typing for ever in the eyes of their clients."""

from __future__ import annotations

from typing import Any

from tests.support.databases import open_in_memory
from tests.support.server import Server, User, open_server


def typists(answer: Any, room_id: str) -> list[list[str]]:
    """Each m.typing event of a room in an answer of /sync."""
    section = answer.get("rooms", {}).get("join", {}).get(room_id, {})
    events = section.get("ephemeral", {}).get("events", [])
    return [event["content"]["user_ids"] for event in events if event["type"] == "m.typing"]


def elsewhere(user: User, server: Server) -> User:
    """The same session at the restarted server."""
    return User(server, user.user_id, user.token, user.device_id, since=user.since)


async def test_a_client_that_saw_somebody_type_before_a_restart_is_told_that_nobody_does() -> None:
    db = open_in_memory()
    before = open_server(db)
    alice, bob = await before.register("alice"), await before.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    other_room = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.sync()
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": True, "timeout": 30_000})
    assert typists(await alice.sync(), room_id) == [[bob.user_id]]
    await before.homeserver.appservices.stop()
    before.homeserver.rooms.typing.close()

    after = open_server(db)
    await after.clock.advance(60.0)
    alice, bob = elsewhere(alice, after), elsewhere(bob, after)
    first = await alice.sync()
    assert typists(first, room_id) == [[]]
    assert typists(await alice.sync(), room_id) == [], "once is enough"
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": True, "timeout": 30_000})
    assert typists(await alice.sync(), room_id) == [[bob.user_id]]
    assert typists(first, other_room) == [[]], "the server does not know any more where somebody typed"
    await after.homeserver.close()


async def test_a_place_of_an_earlier_run_does_not_hide_who_types_now() -> None:
    db = open_in_memory()
    before = open_server(db)
    alice = await before.register("alice")
    room_id = await alice.create_room()
    for typing in (True, False, True):
        await alice.put(f"/rooms/{room_id}/typing/{alice.user_id}", {"typing": typing, "timeout": 30_000})
    await alice.sync()
    before.homeserver.rooms.typing.close()

    after = open_server(db)
    await after.clock.advance(60.0)
    alice = elsewhere(alice, after)
    await alice.put(f"/rooms/{room_id}/typing/{alice.user_id}", {"typing": True, "timeout": 30_000})
    assert typists(await alice.sync(), room_id) == [[alice.user_id]]
    await after.homeserver.close()
