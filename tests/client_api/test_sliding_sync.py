"""Sliding sync over HTTP (MSC4186)."""

from __future__ import annotations

from typing import Any

from tests.support.server import Server, User, open_server

PATH = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
ELEMENT_X = {
    "ranges": [[0, 19]],
    "timeline_limit": 1,
    "required_state": [
        ["m.room.name", ""],
        ["m.room.encryption", ""],
        ["m.room.member", "$LAZY"],
        ["m.room.member", "$ME"],
        ["m.room.create", ""],
        ["m.space.child", "*"],
    ],
}


async def slide(user: User, body: Any, pos: str | None = None, **query: Any) -> Any:
    if pos is not None:
        query["pos"] = pos
    return await user.post(PATH, body, **query)


async def test_a_new_connection_gets_the_newest_rooms_with_what_was_asked(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    rooms = [await alice.create_room(name=f"Room {number}") for number in range(4)]
    await alice.say(rooms[1], "hello")
    body = await slide(alice, {"lists": {"all": {**ELEMENT_X, "ranges": [[0, 1]]}}})
    assert body["lists"]["all"]["count"] == 4
    assert body["lists"]["all"]["ops"] == [{"op": "SYNC", "range": [0, 1], "room_ids": [rooms[1], rooms[3]]}]
    assert set(body["rooms"]) == {rooms[1], rooms[3]}
    room = body["rooms"][rooms[1]]
    assert room["initial"] is True
    assert room["name"] == "Room 1"
    assert [event["content"].get("body") for event in room["timeline"]] == ["hello"]
    assert room["limited"] is True
    assert room["num_live"] == 0
    assert room["joined_count"] == 1
    assert {event["type"] for event in room["required_state"]} == {"m.room.name", "m.room.create", "m.room.member"}
