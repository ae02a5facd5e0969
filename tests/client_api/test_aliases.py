"""Names of rooms: who gives them, who takes them away, and that nobody steals one (row F13)."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from tests.support.http import Answer
from tests.support.server import SERVER_NAME, Server, User, open_server

ADMINS = f"#admins:{SERVER_NAME}"


def path_of(alias: str) -> str:
    return f"/directory/room/{quote(alias, safe='')}"


async def name(user: User, room_id: str, alias: str = ADMINS) -> Answer:
    return await user.request("PUT", path_of(alias), {"room_id": room_id})


async def delete(user: User, alias: str = ADMINS) -> Answer:
    return await user.request("DELETE", path_of(alias))


async def room_of(user: User, alias: str = ADMINS) -> str | None:
    answer = await user.request("GET", path_of(alias))
    return answer.json["room_id"] if answer.status == 200 else None


async def test_F13_a_name_is_deleted_by_its_maker_by_power_and_by_administrators_alone(whole_server: Server) -> None:
    alice, bob, mallory = [await whole_server.register(each) for each in ("alice", "bob", "mallory")]
    root = await whole_server.register("root", admin=True)
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for maker, deleter, may in (
        (alice, mallory, False),
        (alice, bob, False),
        (alice, root, True),
        (alice, alice, True),
        (bob, mallory, False),
        (bob, alice, True),  # she has the power in the room
        (bob, bob, True),
    ):
        assert (await name(maker, room_id)).status == 200
        answer = await delete(deleter)
        assert answer.status == (200 if may else 403), answer.body
        if not may:
            assert answer.json["errcode"] == "M_FORBIDDEN"
            assert await room_of(bob) == room_id
            assert (await delete(maker)).status == 200
        assert await room_of(bob) is None
        assert (await delete(maker)).json["errcode"] == "M_NOT_FOUND"


async def test_F13_a_name_that_is_taken_is_pointed_elsewhere_by_nobody(whole_server: Server) -> None:
    alice, mallory = await whole_server.register("alice"), await whole_server.register("mallory")
    room_id, other = await alice.create_room(), await alice.create_room()
    theirs = await mallory.create_room()
    assert (await name(alice, room_id)).status == 200
    for user, wanted in ((mallory, theirs), (alice, other), (alice, room_id)):
        assert (await name(user, wanted)).status == 409
    made = await mallory.request("POST", "/createRoom", {"room_alias_name": "admins"})
    assert (made.status, made.json["errcode"]) == (400, "M_ROOM_IN_USE")
    assert await room_of(mallory) == room_id


async def test_F13_names_are_given_to_rooms_that_one_is_in(whole_server: Server) -> None:
    alice, mallory = await whole_server.register("alice"), await whole_server.register("mallory")
    room_id = await alice.create_room(preset="public_chat")
    for wanted in (room_id, "!nowhere:halfdoor.test"):
        answer = await name(mallory, wanted)
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await name(alice, room_id, "#x:elsewhere.test")).json["errcode"] == "M_INVALID_PARAM"
    assert await room_of(alice) is None


async def test_F13_a_room_announces_no_name_of_another(whole_server: Server) -> None:
    alice, mallory = await whole_server.register("alice"), await whole_server.register("mallory")
    await name(alice, await alice.create_room())
    theirs = await mallory.create_room()
    for content in ({"alias": ADMINS}, {"alt_aliases": [ADMINS]}):
        answer = await mallory.request("PUT", f"/rooms/{theirs}/state/m.room.canonical_alias/", content)
        assert (answer.status, answer.json["errcode"]) == (400, "M_BAD_ALIAS")


async def test_F13_of_many_who_want_a_name_at_once_one_gets_it(stored_server: Server) -> None:
    users = [await stored_server.register(f"user{number}") for number in range(5)]
    rooms = [await user.create_room() for user in users]
    answers = await asyncio.gather(*(name(user, room) for user, room in zip(users, rooms, strict=True)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    winner = [answer.status for answer in answers].index(200)
    assert await room_of(users[0]) == rooms[winner]


async def test_F13_a_deletion_takes_no_name_that_was_given_to_another_room_meanwhile() -> None:
    server = open_server()
    alice, bob = await server.register("alice"), await server.register("bob")
    first, second = await alice.create_room(), await bob.create_room()
    await name(alice, first)
    store = server.homeserver.rooms.aliases._store
    found = await store.find_alias(ADMINS)
    assert found is not None
    await delete(alice)
    await name(bob, second)
    # What Alice's other deletion, begun before, does now.
    assert not await server.homeserver.db.write(lambda txn: store.remove_alias(txn, ADMINS, found[0]))
    assert await room_of(bob) == second
    await server.close()
