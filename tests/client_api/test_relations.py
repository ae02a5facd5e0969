"""Relations of events and threads of rooms, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.server import V1, Server, User, open_server

UNSTABLE = "/_matrix/client/unstable"


@pytest.fixture
async def homeserver() -> AsyncIterator[Server]:
    server = open_server()
    yield server
    await server.close()


def relates(rel_type: str, event_id: str, **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": event_id, **more}}


async def react(user: User, room_id: str, event_id: str, key: str) -> str:
    return await user.send(room_id, "m.reaction", relates("m.annotation", event_id, key=key))


def ids(body: Any) -> list[str]:
    return [event["event_id"] for event in body["chunk"]]


async def test_children_are_listed_newest_first_and_by_type(homeserver: Server) -> None:
    alice = await homeserver.register()
    room_id = await alice.create_room()
    parent = await alice.say(room_id, "parent")
    reactions = [await react(alice, room_id, parent, key) for key in "abc"]
    answer = await alice.say(room_id, "in thread", **relates("m.thread", parent))
    path = f"{V1}/rooms/{room_id}/relations/{parent}"
    assert ids(await alice.get(path)) == [answer, *reversed(reactions)]
    assert ids(await alice.get(path, dir="f")) == [*reactions, answer]
    assert ids(await alice.get(f"{path}/m.thread")) == [answer]
    assert ids(await alice.get(f"{path}/m.annotation/m.reaction")) == list(reversed(reactions))
    assert ids(await alice.get(f"{path}/m.annotation/m.room.message")) == []
    assert "recursion_depth" not in await alice.get(path)
    unstable = await alice.get(f"{UNSTABLE}/rooms/{room_id}/relations/{parent}/m.thread")
    assert ids(unstable) == [answer]


async def test_relations_are_paged_in_both_directions(homeserver: Server) -> None:
    alice = await homeserver.register()
    room_id = await alice.create_room()
    parent = await alice.say(room_id, "parent")
    children = [await react(alice, room_id, parent, str(number)) for number in range(7)]
    path = f"{V1}/rooms/{room_id}/relations/{parent}/m.annotation"
    for direction, expected in (("b", list(reversed(children))), ("f", children)):
        seen: list[str] = []
        query: dict[str, Any] = {"dir": direction, "limit": 3}
        pages = 0
        while True:
            body = await alice.get(path, **query)
            seen += ids(body)
            pages += 1
            assert ("prev_batch" in body) == (pages > 1)
            if "next_batch" not in body:
                break
            query["from"] = body["next_batch"]
        assert seen == expected
        assert pages == 3
    assert (await alice.request("GET", path, **{"from": "nonsense"})).json["errcode"] == "M_INVALID_PARAM"


async def test_A22_recursion_visits_each_event_once_and_three_levels(homeserver: Server) -> None:
    alice = await homeserver.register()
    room_id = await alice.create_room()
    parent = await alice.say(room_id, "0")
    chain = [parent]
    for number in range(1, 6):
        chain.append(await alice.say(room_id, str(number), **relates("m.reference", chain[-1])))
    body = await alice.get(f"{V1}/rooms/{room_id}/relations/{parent}", recurse="true", dir="f", limit=50)
    assert ids(body) == chain[1:4]
    assert body["recursion_depth"] == 3
    unstable = {"org.matrix.msc3981.recurse": "true", "limit": 50}
    assert len(ids(await alice.get(f"{V1}/rooms/{room_id}/relations/{parent}", **unstable))) == 3
    none = await alice.get(f"{V1}/rooms/{room_id}/relations/{parent}/m.thread", recurse="true")
    assert ids(none) == []


async def test_G08_relations_of_unseen_and_missing_events_are_not_found_alike(homeserver: Server) -> None:
    alice, mallory = await homeserver.register(), await homeserver.register("mallory")
    room_id = await alice.create_room()
    other_room = await mallory.create_room()
    parent = await alice.say(room_id, "secret")
    await react(alice, room_id, parent, "x")
    answers = [
        await mallory.request("GET", f"{V1}/rooms/{room}/relations/{event}")
        for room, event in ((room_id, parent), (room_id, "$missing"), (other_room, parent), ("!none:x.y", parent))
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    assert (await mallory.request("GET", f"{V1}/rooms/{room_id}/threads")).status == 403
    assert (await mallory.request("GET", f"{V1}/rooms/!none:x.y/threads")).status == 403


async def test_redacted_reactions_are_listed_no_more(homeserver: Server) -> None:
    alice = await homeserver.register()
    room_id = await alice.create_room()
    parent = await alice.say(room_id, "parent")
    reaction = await react(alice, room_id, parent, "x")
    await alice.put(f"/rooms/{room_id}/redact/{reaction}/r1")
    assert ids(await alice.get(f"{V1}/rooms/{room_id}/relations/{parent}")) == []


async def test_threads_are_listed_by_their_newest_answer(homeserver: Server) -> None:
    alice, bob = await homeserver.register(), await homeserver.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    roots = [await alice.say(room_id, f"root {number}") for number in range(3)]
    for root in roots:
        await alice.say(room_id, "first answer", **relates("m.thread", root))
    await bob.say(room_id, "second answer", **relates("m.thread", roots[0]))
    body = await alice.get(f"{V1}/rooms/{room_id}/threads")
    assert ids(body) == [roots[0], roots[2], roots[1]]
    thread = body["chunk"][0]["unsigned"]["m.relations"]["m.thread"]
    assert (thread["count"], thread["latest_event"]["content"]["body"]) == (2, "second answer")
    assert thread["current_user_participated"] is True
    assert ids(await bob.get(f"{V1}/rooms/{room_id}/threads", include="participated")) == [roots[0]]
    first = await bob.get(f"{V1}/rooms/{room_id}/threads", limit=2)
    second = await bob.get(f"{V1}/rooms/{room_id}/threads", limit=2, **{"from": first["next_batch"]})
    assert ids(first) + ids(second) == [roots[0], roots[2], roots[1]]
    assert "next_batch" not in second


async def test_threads_begun_by_ignored_users_come_redacted(homeserver: Server) -> None:
    alice, bob = await homeserver.register(), await homeserver.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    root = await bob.say(room_id, "annoying")
    await alice.say(room_id, "answer", **relates("m.thread", root))
    ignored: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
    await alice.put(f"/user/{alice.user_id}/account_data/m.ignored_user_list", ignored)
    chunk = (await alice.get(f"{V1}/rooms/{room_id}/threads"))["chunk"]
    assert chunk[0]["content"] == {}
