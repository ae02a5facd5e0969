"""Reading a room's past: pages, surroundings, single events, members of a moment, the event of a time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.server import SERVER_NAME, V1, Server, User


async def walk(user: User, room: str, direction: str, limit: int = 3, **query: Any) -> list[Any]:
    """Every event that a client gets by going to the end of the room, page by page."""
    found: list[Any] = []
    for _ in range(200):
        page = await user.get(f"/rooms/{room}/messages", dir=direction, limit=limit, **query)
        found += page["chunk"]
        if "end" not in page:
            return found
        query["from"] = page["end"]
    raise AssertionError("the pages have no end")


def ids(events: list[Any]) -> list[str]:
    return [one["event_id"] for one in events]


async def talk(server: Server, **options: Any) -> tuple[User, User, str]:
    alice, bob = await server.register("alice"), await server.register("bob")
    return alice, bob, await alice.create_room(preset="public_chat", **options)


async def test_pages_reach_both_ends_and_agree(whole_server: Server) -> None:
    alice, _, room = await talk(whole_server)
    said = [await alice.say(room, f"words {number}") for number in range(20)]
    forwards = await walk(alice, room, "f")
    assert forwards[0]["type"] == "m.room.create"
    assert ids(forwards)[-20:] == said
    for limit in (1, 4, 100):
        assert ids(await walk(alice, room, "b", limit)) == ids(forwards)[::-1]
    nothing = await alice.get(f"/rooms/{room}/messages", dir="b", limit=0)
    assert nothing == {"chunk": [], "start": nothing["start"], "end": nothing["start"]}
    page = await alice.get(f"/rooms/{room}/messages", dir="b", limit=5)
    again = await alice.get(f"/rooms/{room}/messages", dir="f", limit=100, **{"from": page["end"]})
    assert ids(again["chunk"]) == said[-5:]
    upto = await alice.get(f"/rooms/{room}/messages", dir="b", limit=100, to=page["end"])
    assert ids(upto["chunk"]) == said[-1:-6:-1]


@pytest.mark.parametrize(
    "query",
    [
        {"dir": "x"},
        {},
        {"dir": "b", "from": "nonsense"},
        {"dir": "b", "limit": "x"},
        {"dir": "b", "filter": "{"},
        {"dir": "b", "filter": "[]"},
        {"dir": "b", "filter": '{"types": 5}'},
    ],
)
async def test_bad_query_is_refused(whole_server: Server, query: dict[str, str]) -> None:
    alice, _, room = await talk(whole_server)
    answer = await alice.request("GET", f"/rooms/{room}/messages", **query)
    assert answer.status == 400, answer.body


async def test_filters_choose_by_type_sender_and_url(whole_server: Server) -> None:
    alice, bob, room = await talk(whole_server)
    await bob.join(room)
    for number in range(10):
        await alice.say(room, f"words {number}")
        await bob.send(room, "org.example.noise", {"n": number})
    picture = await alice.send(room, "m.room.message", {"msgtype": "m.image", "body": "x", "url": "mxc://a/b"})

    async def count(**event_filter: Any) -> int:
        return len(await walk(alice, room, "b", filter=json.dumps(event_filter)))

    assert await count(types=["m.room.message"]) == 11
    assert await count(types=["org.example.*"]) == 10
    assert await count(not_types=["m.room.*"]) == 10
    assert await count(senders=[bob.user_id]) == 11
    assert await count(not_senders=[bob.user_id], types=["org.example.noise"]) == 0
    assert await count(types=[]) == 0
    assert ids(await walk(alice, room, "b", filter='{"contains_url":true}')) == [picture]


async def test_lazy_loading_sends_the_members_who_speak(whole_server: Server) -> None:
    alice, bob, room = await talk(whole_server)
    await bob.join(room)
    await alice.say(room, "hello")
    page = await alice.get(f"/rooms/{room}/messages", dir="b", limit=1, filter='{"lazy_load_members":true}')
    assert [one["state_key"] for one in page["state"]] == [alice.user_id]
    assert "state" not in await alice.get(f"/rooms/{room}/messages", dir="b", limit=1)


async def test_G05_joined_visibility_hides_what_came_before_and_after(whole_server: Server) -> None:
    alice, bob, room = await talk(whole_server)
    for visibility, before_join, while_invited in (
        ("joined", False, False),
        ("invited", False, True),
        ("shared", True, True),
        ("world_readable", True, True),
    ):
        state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
        room = await alice.create_room(preset="public_chat", initial_state=state)
        before = await alice.say(room, "before")
        await alice.invite(room, bob)
        invited = await alice.say(room, "while invited")
        await bob.join(room)
        joined = await alice.say(room, "while joined")
        await bob.post(f"/rooms/{room}/leave")
        after = await alice.say(room, "after")
        expected = {before: before_join, invited: while_invited, joined: True, after: visibility == "world_readable"}
        for direction in "bf":
            seen = set(ids(await walk(bob, room, direction)))
            assert {event_id: event_id in seen for event_id in expected} == expected, visibility
        for event_id, visible in expected.items():
            for path in ("event", "context"):
                answer = await bob.request("GET", f"/rooms/{room}/{path}/{event_id}")
                assert answer.status == (200 if visible else 404), (visibility, path)
        around = await bob.get(f"/rooms/{room}/context/{joined}", limit=100)
        shown = set(ids([*around["events_before"], around["event"], *around["events_after"]]))
        assert {event_id: event_id in shown for event_id in expected} == expected, visibility


async def test_outsiders_read_only_what_the_world_may(whole_server: Server) -> None:
    alice, bob, room = await talk(whole_server)
    said = await alice.say(room, "hello")
    paths = ["messages?dir=b", "state", "members", "state/m.room.create/"]
    for path in paths:
        assert (await bob.request("GET", f"/rooms/{room}/{path}")).status == 403, path
        assert (await bob.request("GET", f"/rooms/!nowhere:{SERVER_NAME}/{path}")).status == 403, path
    assert (await bob.request("GET", f"{V1}/rooms/{room}/timestamp_to_event", ts=0, dir="f")).status == 403
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert (await bob.request("GET", f"{V1}/rooms/{room}/timestamp_to_event", ts=0, dir="f")).status == 200
    later = await alice.say(room, "hello world")
    for path in paths:
        assert (await bob.request("GET", f"/rooms/{room}/{path}")).status == 200, path
    seen = ids(await walk(bob, room, "b"))
    assert later in seen
    assert said not in seen
    assert (await bob.request("GET", f"/rooms/{room}/joined_members")).status == 403


async def test_G08_event_of_another_room_is_as_unknown_as_none(whole_server: Server) -> None:
    alice, bob, secret = await talk(whole_server)
    room = await bob.create_room()
    said = await alice.say(secret, "secret")
    mine = await bob.say(room, "mine")
    requests: list[tuple[str, str, Any]] = [
        ("GET", "event/{}", ...),
        ("GET", "context/{}", ...),
        ("PUT", "redact/{}/t", {}),
        ("POST", "receipt/m.read/{}", {}),
        ("POST", "receipt/m.fully_read/{}", {}),
        ("POST", "receipt/m.read.private/{}", {}),
    ]
    for method, path, body in requests:
        for place, event_id in ((room, said), (secret, said), (secret, "$none"), (secret, mine)):
            answer = await bob.request(method, f"/rooms/{place}/{path.format(event_id)}", body)
            assert answer.status in (403, 404), path
        there, nowhere = [
            await bob.request(method, f"/rooms/{secret}/{path.format(one)}", body) for one in (said, "$nothing")
        ]
        assert (there.status, there.json["errcode"]) == (nowhere.status, nowhere.json["errcode"]), path
        there, nowhere = [
            await bob.request(method, f"/rooms/{room}/{path.format(one)}", body) for one in (said, "$nothing")
        ]
        assert (there.status, there.json["errcode"]) == (nowhere.status, nowhere.json["errcode"]), path


async def test_context_surrounds_the_event_and_its_tokens_go_on(whole_server: Server) -> None:
    alice, _, room = await talk(whole_server)
    said = [await alice.say(room, f"words {number}") for number in range(20)]
    found = await alice.get(f"/rooms/{room}/context/{said[10]}", limit=6)
    assert ids(found["events_before"]) == said[9:6:-1]
    assert found["event"]["event_id"] == said[10]
    assert ids(found["events_after"]) == said[11:14]
    assert {one["type"] for one in found["state"]} >= {"m.room.create", "m.room.member"}
    earlier = await alice.get(f"/rooms/{room}/messages", dir="b", limit=2, **{"from": found["start"]})
    assert ids(earlier["chunk"]) == said[6:4:-1]
    later = await alice.get(f"/rooms/{room}/messages", dir="f", limit=2, **{"from": found["end"]})
    assert ids(later["chunk"]) == said[14:16]
    alone = await alice.get(f"/rooms/{room}/context/{said[10]}", limit=0)
    assert alone["events_before"] == alone["events_after"] == []
    lazy = await alice.get(f"/rooms/{room}/context/{said[10]}", filter='{"lazy_load_members":true}')
    assert [one["state_key"] for one in lazy["state"] if one["type"] == "m.room.member"] == [alice.user_id]


async def test_state_of_context_is_that_of_its_last_event(whole_server: Server) -> None:
    alice, _, room = await talk(whole_server)
    await alice.set_state(room, "m.room.topic", {"topic": "old"})
    said = await alice.say(room, "hello")
    await alice.set_state(room, "m.room.topic", {"topic": "new"})
    found = await alice.get(f"/rooms/{room}/context/{said}", limit=0)
    assert [one["content"] for one in found["state"] if one["type"] == "m.room.topic"] == [{"topic": "old"}]


async def test_G01_members_of_a_moment_only_for_those_who_may_know(whole_server: Server) -> None:
    alice, bob, _ = await talk(whole_server)
    carol = await whole_server.register("carol")
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=state)
    await carol.join(room)
    before = (await alice.sync())["next_batch"]
    await carol.post(f"/rooms/{room}/leave")
    await bob.join(room)
    with_bob = (await alice.sync())["next_batch"]
    members = await alice.get(f"/rooms/{room}/members", at=before)
    assert {one["state_key"] for one in members["chunk"]} == {alice.user_id, carol.user_id}
    assert {one["content"]["membership"] for one in members["chunk"]} == {"join"}
    assert (await bob.request("GET", f"/rooms/{room}/members", at=before)).status == 403
    assert (await bob.request("GET", f"/rooms/{room}/members", at=with_bob)).status == 200
    await bob.post(f"/rooms/{room}/leave")
    dave = await whole_server.register("dave")
    await dave.join(room)
    await alice.post(f"/rooms/{room}/ban", {"user_id": bob.user_id})
    later = (await alice.sync())["next_batch"]
    for query in ({}, {"at": later}):
        chunk = (await bob.get(f"/rooms/{room}/members", **query))["chunk"]
        assert {one["state_key"]: one["content"]["membership"] for one in chunk} == {
            alice.user_id: "join",
            carol.user_id: "leave",
            bob.user_id: "leave",
        }
    state_keys = [one["state_key"] for one in await bob.get(f"/rooms/{room}/state") if one["type"] == "m.room.member"]
    assert dave.user_id not in state_keys


async def test_members_are_chosen_by_membership(whole_server: Server) -> None:
    alice, bob, room = await talk(whole_server)
    await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"})
    await bob.join(room)
    await bob.post(f"/rooms/{room}/leave")

    async def members(**query: Any) -> set[str]:
        return {one["state_key"] for one in (await alice.get(f"/rooms/{room}/members", **query))["chunk"]}

    assert await members() == {alice.user_id, bob.user_id}
    assert await members(membership="join") == {alice.user_id}
    assert await members(not_membership="join") == {bob.user_id}
    assert (await alice.request("GET", f"/rooms/{room}/members", membership="x")).status == 400
    joined = (await alice.get(f"/rooms/{room}/joined_members"))["joined"]
    assert joined == {alice.user_id: {"display_name": "Alice"}}
    assert (await bob.request("GET", f"/rooms/{room}/joined_members")).status == 403


async def test_event_of_a_time_is_the_nearest_that_one_may_see(whole_server: Server) -> None:
    alice, bob, _ = await talk(whole_server)
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=state)
    clock = whole_server.clock
    await clock.advance(10)
    hidden = await alice.say(room, "hidden")
    await clock.advance(10)
    await bob.join(room)
    await clock.advance(10)
    first_ts, first = clock.now_ms(), await alice.say(room, "first")
    await clock.advance(10)
    second = await alice.say(room, "second")

    async def at(user: User, ts: int, direction: str) -> str:
        found: str = (await user.get(f"{V1}/rooms/{room}/timestamp_to_event", ts=ts, dir=direction))["event_id"]
        return found

    assert await at(bob, first_ts, "f") == await at(bob, first_ts, "b") == first
    assert await at(bob, first_ts + 1, "f") == second
    assert await at(bob, first_ts + 1, "b") == first
    assert await at(alice, first_ts - 15_000, "b") == hidden
    assert await at(bob, 0, "f") != hidden
    # Until the room said otherwise, its visibility was "shared".
    assert await at(bob, first_ts - 15_000, "b") not in (hidden, first)
    answer = await bob.request("GET", f"{V1}/rooms/{room}/timestamp_to_event", ts=clock.now_ms() + 1, dir="f")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    for query in ({"ts": -1, "dir": "f"}, {"ts": 1}, {"dir": "f"}, {"ts": "x", "dir": "f"}):
        assert (await bob.request("GET", f"{V1}/rooms/{room}/timestamp_to_event", **query)).status == 400


async def test_state_is_read_whole_and_by_key(whole_server: Server) -> None:
    alice, bob, room = await talk(whole_server)
    event_id = await alice.set_state(room, "org.example.thing", {"a": 1}, "key%2Fwith%20slash")
    path = f"/rooms/{room}/state/org.example.thing/key%2Fwith%20slash"
    assert await alice.get(path) == {"a": 1}
    assert (await alice.get(path, format="event"))["event_id"] == event_id
    assert (await alice.request("GET", path, format="x")).status == 400
    assert (await alice.request("GET", f"/rooms/{room}/state/org.example.none")).status == 404
    assert await alice.set_state(room, "org.example.thing", {"a": 1}, "key%2Fwith%20slash") == event_id
    topic = await alice.set_state(room, "m.room.topic", {"topic": "x"})
    assert (await alice.put(f"/rooms/{room}/state/m.room.topic", {"topic": "x"}))["event_id"] == topic
    assert topic in ids(await alice.get(f"/rooms/{room}/state"))
    changed = await alice.set_state(room, "m.room.topic", {"topic": "y"})
    event = await alice.get(f"/rooms/{room}/event/{changed}")
    assert event["unsigned"]["prev_content"] == {"topic": "x"}
    await bob.join(room)
    await bob.post(f"/rooms/{room}/leave")
    await alice.set_state(room, "m.room.topic", {"topic": "after bob"})
    assert await bob.get(f"/rooms/{room}/state/m.room.topic") == {"topic": "y"}
    assert "after bob" not in repr(await bob.get(f"/rooms/{room}/state"))


async def test_A17_A16_rejected_events_are_never_shown_and_end_no_page(whole_server: Server) -> None:
    alice, bob, room = await talk(whole_server)
    await bob.join(room)
    said = [await alice.say(room, f"words {number}") for number in range(30)]
    hidden = said[3:25]
    db = whole_server.homeserver.db

    async def reject(txn: Any) -> None:
        for event_id in hidden:
            await txn.execute("UPDATE events SET status = 2 WHERE event_id = ?", (event_id,))

    await db.write(reject)
    whole_server.homeserver.rooms.live.forget_all()
    for direction in "bf":
        seen = ids(await walk(bob, room, direction, 2))
        assert [one for one in said if one in seen] == [*said[:3], *said[25:]]
        assert "m.room.create" in {one["type"] for one in await walk(bob, room, direction, 2)}
    for event_id in hidden[:3]:
        for path in ("event", "context"):
            assert (await bob.request("GET", f"/rooms/{room}/{path}/{event_id}")).status == 404
    everything = repr(await bob.get("/sync", filter='{"room":{"timeline":{"limit":100}}}'))
    everything += repr(await bob.get(f"/rooms/{room}/context/{said[25]}", limit=50))
    assert not any(event_id in everything for event_id in hidden)


async def test_reading_is_the_same_on_each_engine(stored_server: Server) -> None:
    alice, bob, room = await talk(stored_server)
    said = [await alice.say(room, f"words {number}") for number in range(9)]
    await bob.join(room)
    forwards = ids(await walk(bob, room, "f"))
    assert ids(await walk(bob, room, "b")) == forwards[::-1]
    around = await bob.get(f"/rooms/{room}/context/{said[4]}", limit=2)
    assert ids([*around["events_before"], *around["events_after"]]) == [said[3], said[5]]
    assert (await bob.get(f"{V1}/rooms/{room}/timestamp_to_event", ts=0, dir="f"))["event_id"] == forwards[0]
    assert len((await bob.get(f"/rooms/{room}/members"))["chunk"]) == 2
