"""Spaces and summaries of rooms, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.server import V1, Server, User, open_server

NHEKO = "/_matrix/client/unstable/im.nheko.summary"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = open_server()
    yield made
    await made.close()


async def space(user: User, name: str, **body: Any) -> str:
    return await user.create_room(name=name, creation_content={"type": "m.space"}, **body)


async def adopt(user: User, parent: str, child: str, **content: Any) -> None:
    await user.set_state(parent, "m.space.child", {"via": ["halfdoor.test"], **content}, child)


async def tree(user: User, root: str, **query: Any) -> list[str]:
    return [room["name"] for room in (await user.get(f"{V1}/rooms/{root}/hierarchy", **query))["rooms"]]


def restricted(*rooms: str) -> dict[str, Any]:
    allow = [{"type": "m.room_membership", "room_id": room_id} for room_id in rooms]
    return {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}


async def test_a_tree_is_walked_depth_first_in_the_order_of_the_spec(server: Server) -> None:
    alice = await server.register()
    root = await space(alice, "root")
    below = await space(alice, "below")
    rooms = {name: await alice.create_room(name=name) for name in ("late", "early", "a", "b", "deep")}
    for name, content in (("early", {}), ("b", {"order": "b"}), ("a", {"order": "a"})):
        await adopt(alice, root, rooms[name], **content)
        await server.clock.advance(1)
    await adopt(alice, root, below, order="aa")
    await server.clock.advance(1)
    await adopt(alice, root, rooms["late"], order="é: not valid")
    await adopt(alice, below, rooms["deep"])
    assert await tree(alice, root) == ["root", "a", "below", "deep", "b", "early", "late"]
    assert await tree(alice, root, max_depth=0) == ["root"]
    assert await tree(alice, root, max_depth=1) == ["root", "a", "below", "b", "early", "late"]
    first = (await alice.get(f"{V1}/rooms/{root}/hierarchy"))["rooms"][0]
    assert first["room_type"] == "m.space"
    assert first["room_version"] == "12"
    assert first["children_state"][0]["state_key"] == rooms["a"]
    assert "origin_server_ts" in first["children_state"][0]


async def test_pages_of_a_tree_follow_one_another(server: Server) -> None:
    alice = await server.register()
    root = await space(alice, "root")
    for number in range(6):
        await adopt(alice, root, await alice.create_room(name=str(number)), order=str(number))
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        body = await alice.get(f"{V1}/rooms/{root}/hierarchy", **query)
        seen += [room["name"] for room in body["rooms"]]
        if "next_batch" not in body:
            break
        query["from"] = body["next_batch"]
    assert seen == ["root", *"012345"]
    changed = await alice.request("GET", f"{V1}/rooms/{root}/hierarchy", max_depth=1, **query)
    assert changed.json["errcode"] == "M_INVALID_PARAM"
    broken = await alice.request("GET", f"{V1}/rooms/{root}/hierarchy", **{"from": "?"})
    assert broken.json["errcode"] == "M_INVALID_PARAM"


async def test_suggested_only_leaves_out_the_others(server: Server) -> None:
    alice = await server.register()
    root = await space(alice, "root")
    await adopt(alice, root, await alice.create_room(name="yes"), suggested=True)
    await adopt(alice, root, await alice.create_room(name="no"))
    gone = await alice.create_room(name="gone")
    await adopt(alice, root, gone, suggested=True)
    await alice.set_state(root, "m.space.child", {}, gone)
    assert await tree(alice, root, suggested_only="true") == ["root", "yes"]


async def test_A22_cycles_of_spaces_end(server: Server) -> None:
    alice = await server.register()
    one, two = await space(alice, "one"), await space(alice, "two")
    await adopt(alice, one, two)
    await adopt(alice, two, one)
    await adopt(alice, one, one)
    assert await tree(alice, one) == ["one", "two"]


async def test_G02_the_hierarchy_and_summaries_show_only_what_one_may_know_of(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    root = await space(alice, "root", preset="public_chat")
    knock = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    world = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    rooms = {
        "public": await alice.create_room(name="public", preset="public_chat"),
        "knock": await alice.create_room(name="knock", initial_state=[knock]),
        "world": await alice.create_room(name="world", initial_state=[world]),
        "restricted": await alice.create_room(name="restricted", initial_state=[restricted(root)]),
        "invited": await alice.create_room(name="invited", invite=[bob.user_id]),
        "private": await alice.create_room(name="private"),
        "banned": await alice.create_room(name="banned", preset="public_chat"),
    }
    await alice.post(f"/rooms/{rooms['banned']}/ban", {"user_id": bob.user_id})
    for order, room_id in enumerate(rooms.values()):
        await adopt(alice, root, room_id, order=str(order))
    assert await tree(bob, root) == ["root", "public", "knock", "world", "invited"]
    await bob.join(root)
    seen = await tree(bob, root)
    assert seen == ["root", "public", "knock", "world", "restricted", "invited"]
    missing = await bob.request("GET", f"{V1}/room_summary/!missing:x.y")
    for name, room_id in rooms.items():
        answer = await bob.request("GET", f"{V1}/room_summary/{room_id}")
        if name in seen:
            assert answer.status == 200, name
            assert answer.json["name"] == name
        else:
            assert (answer.status, answer.body) == (404, missing.body), name
        anonymous = await server.request("GET", f"{V1}/room_summary/{room_id}")
        assert anonymous.status == (200 if name in ("public", "knock", "world", "banned") else 404), name
        assert "membership" not in anonymous.json
    refused = [await bob.request("GET", f"{V1}/rooms/{room}/hierarchy") for room in (rooms["private"], "!no:x.y")]
    assert [answer.status for answer in refused] == [403, 403]
    assert refused[0].body == refused[1].body


async def test_a_summary_is_found_by_alias_and_on_the_unstable_paths(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    encrypted = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room_id = await alice.create_room(
        name="Cheese", topic="Tasty", preset="public_chat", room_alias_name="cheese", initial_state=[encrypted]
    )
    expected = {
        "room_id": room_id,
        "name": "Cheese",
        "topic": "Tasty",
        "canonical_alias": "#cheese:halfdoor.test",
        "num_joined_members": 1,
        "join_rule": "public",
        "world_readable": False,
        "guest_can_join": False,
        "room_version": "12",
        "encryption": "m.megolm.v1.aes-sha2",
        "membership": "leave",
    }
    alias = "%23cheese:halfdoor.test"
    for path in (f"{V1}/room_summary/{alias}", f"{NHEKO}/summary/{alias}", f"{NHEKO}/rooms/{room_id}/summary"):
        assert await bob.get(path) == expected
    assert (await bob.request("GET", f"{V1}/room_summary/%23none:halfdoor.test")).status == 404
