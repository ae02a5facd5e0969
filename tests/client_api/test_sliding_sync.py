"""Sliding sync over HTTP (MSC4186)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from homeserver.storage.database import Database
from homeserver.storage.sliding_sync import ConnectionKey, SlidingSyncStore
from homeserver.sync.sliding import connections
from homeserver.sync.sliding.connections import IDLE_MS, OF_DEVICE, ROW_BYTES, ROWS
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


EVERYTHING = {"timeline_limit": 10, "required_state": [["*", "*"]]}


def lists(**one: Any) -> Any:
    return {"lists": {"all": {**EVERYTHING, "ranges": [[0, 99]], **one}}}


def keys(room: Any) -> set[tuple[str, str]]:
    return {(event["type"], event["state_key"]) for event in room.get("required_state", ())}


def texts(room: Any) -> list[str]:
    return [event["content"].get("body", event["type"]) for event in room.get("timeline", ())]


async def test_what_was_told_is_not_told_again(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id, quiet = await alice.create_room(), await alice.create_room()
    first = await slide(alice, lists())
    assert set(first["rooms"]) == {room_id, quiet}
    second = await slide(alice, lists(), first["pos"])
    assert second["rooms"] == {}
    await alice.say(room_id, "news")
    third = await slide(alice, lists(), second["pos"])
    assert set(third["rooms"]) == {room_id}
    room = third["rooms"][room_id]
    assert "initial" not in room
    assert "name" not in room
    assert "joined_count" not in room
    assert (texts(room), room["num_live"], room["limited"]) == (["news"], 1, False)
    assert "required_state" not in room


async def test_an_answer_that_was_lost_is_given_again(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    first = await slide(alice, lists(timeline_limit=2))
    await alice.say(room_id, "news")
    lost = await slide(alice, lists(timeline_limit=2), first["pos"])
    again = await slide(alice, lists(timeline_limit=2), first["pos"])
    assert texts(lost["rooms"][room_id]) == texts(again["rooms"][room_id]) == ["news"]
    answer = await alice.request("POST", PATH, lists(), pos=lost["pos"])
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN_POS")
    assert (await slide(alice, lists(timeline_limit=2), again["pos"]))["rooms"] == {}


async def test_positions_of_others_and_of_other_connections_are_not_known(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    second = await whole_server.log_in("alice")
    pos = (await slide(alice, lists()))["pos"]
    await slide(bob, lists())
    await slide(second, lists())
    tries: list[tuple[User, Any, str]] = [
        (bob, lists(), pos),
        (second, lists(), pos),
        (alice, {**lists(), "conn_id": "other"}, pos),
        (alice, lists(), "s1"),
        (alice, lists(), "nonsense"),
        (alice, lists(), pos.replace("_", "9_", 1)),
    ]
    for user, body, given in tries:
        answer = await user.request("POST", PATH, body, pos=given)
        assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN_POS"), given


async def test_connections_of_a_device_do_not_disturb_one_another(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    one, two = {**lists(), "conn_id": "one"}, {**lists(), "conn_id": "two"}
    first, second = (await slide(alice, one))["pos"], (await slide(alice, two))["pos"]
    await alice.say(room_id, "news")
    assert texts((await slide(alice, one, first))["rooms"][room_id]) == ["news"]
    assert texts((await slide(alice, two, second))["rooms"][room_id]) == ["news"]


async def test_connections_survive_a_restart_of_the_server(database: Database) -> None:
    server = open_server(database)
    alice = await server.register("alice")
    rooms = [await alice.create_room() for _ in range(3)]
    body = lists(ranges=[[0, 0]])
    first = await slide(alice, body)
    second = await slide(alice, lists(ranges=[[0, 1]]), first["pos"])
    assert set(second["rooms"]) == {rooms[1]}
    await alice.say(rooms[1], "while it was told of")
    for _ in range(45):  # many answers are put together in the database
        await alice.say(rooms[2], "more")
        second = await slide(alice, lists(ranges=[[0, 0]]), second["pos"])
        second = await slide(alice, lists(ranges=[[1, 1]]), second["pos"])
    await server.homeserver.close()
    again = open_server(database)
    alice.server = again
    third = await slide(alice, lists(ranges=[[0, 9]]), second["pos"])
    assert [room_id for room_id, room in third["rooms"].items() if room.get("initial")] == [rooms[0]]
    assert (await slide(alice, lists(ranges=[[0, 9]]), second["pos"]))["rooms"].keys() == third["rooms"].keys()
    await again.homeserver.close()


async def test_a_room_that_is_merely_looked_at_after_a_restart_is_no_news(database: Database) -> None:
    server = open_server(database)
    alice = await server.register("alice")
    quiet, lively = await alice.create_room(), await alice.create_room()
    first = await slide(alice, lists(ranges=[[0, 9]]))
    await alice.say(lively, "news")
    await server.homeserver.close()
    alice.server = again = open_server(database)
    assert (await alice.get(f"/_matrix/client/v3/rooms/{quiet}/joined_members"))["joined"].keys() == {alice.user_id}
    second = await slide(alice, lists(ranges=[[0, 9]]), first["pos"])
    assert second["rooms"].keys() == {lively}
    fresh = await slide(alice, {"conn_id": "other", **lists(ranges=[[0, 0]])})
    assert fresh["rooms"].keys() == {lively}
    await again.homeserver.close()


async def test_a_device_has_a_bounded_number_of_connections(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    store = SlidingSyncStore(whole_server.homeserver.db)
    positions = []
    for number in range(OF_DEVICE + 3):
        positions.append((await slide(alice, {"conn_id": f"c{number}"}))["pos"])
        await whole_server.clock.advance(1)
    assert await store.count() == OF_DEVICE
    answer = await alice.request("POST", PATH, {"conn_id": "c0"}, pos=positions[0])
    assert answer.json["errcode"] == "M_UNKNOWN_POS"
    await whole_server.clock.advance(IDLE_MS / 1000 + 1)
    await slide(alice, {"conn_id": "new"})
    assert await store.count() == 1
    await alice.post("/logout")
    assert await store.count() == 0


async def test_an_answer_without_news_writes_nothing(whole_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    pos = (await slide(alice, lists()))["pos"]
    pos = (await slide(alice, lists(), pos))["pos"]
    await alice.say(room_id, "news")
    added: list[Any] = []

    async def note(*arguments: Any, **more: Any) -> None:
        added.append(arguments)

    monkeypatch.setattr(SlidingSyncStore, "add_position", note)
    answer = await slide(alice, lists(), pos)
    assert texts(answer["rooms"][room_id]) == ["news"]
    assert added == []


async def test_a_window_that_grows_brings_the_further_rooms(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    rooms = [await alice.create_room() for _ in range(4)]
    first = await slide(alice, lists(ranges=[[0, 0]]))
    second = await slide(alice, lists(ranges=[[0, 0], [2, 3]]), first["pos"])
    assert set(second["rooms"]) == {rooms[0], rooms[1]}
    await alice.say(rooms[0], "now at the top")
    third = await slide(alice, lists(ranges=[[0, 0]]), second["pos"])
    assert set(third["rooms"]) == {rooms[0]}
    assert "initial" not in third["rooms"][rooms[0]]


async def test_what_happened_outside_of_the_window_is_told_when_the_room_comes_back(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    low, high = await alice.create_room(), await alice.create_room()
    pos = (await slide(alice, lists()))["pos"]
    await alice.say(low, "missed")
    await alice.say(high, "top")
    body = await slide(alice, lists(ranges=[[0, 0]]), pos)
    assert set(body["rooms"]) == {high}
    body = await slide(alice, lists(), body["pos"])
    assert (texts(body["rooms"][low]), body["rooms"][low]["num_live"]) == (["missed"], 0)
    assert "initial" not in body["rooms"][low]


async def test_a_subscription_shows_more_of_a_room(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room(name="Here")
    for number in range(5):
        await alice.say(room_id, f"{number}")
    small = lists(timeline_limit=1, required_state=[["m.room.name", ""]])
    first = await slide(alice, small)
    assert texts(first["rooms"][room_id]) == ["4"]
    subscribed = {**small, "room_subscriptions": {room_id: {"timeline_limit": 3, "required_state": [["*", "*"]]}}}
    second = await slide(alice, subscribed, first["pos"])
    room = second["rooms"][room_id]
    assert (texts(room), room["unstable_expanded_timeline"]) == (["2", "3", "4"], True)
    assert ("m.room.create", "") in keys(room)
    assert ("m.room.name", "") not in keys(room)
    third = await slide(alice, small, second["pos"])
    assert third["rooms"] == {}
    fourth = await slide(alice, {"room_subscriptions": subscribed["room_subscriptions"]}, third["pos"])
    assert "timeline" not in fourth["rooms"].get(room_id, {})


async def test_subscriptions_to_rooms_of_others_are_passed_over(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room()
    asked = {"room_subscriptions": {room_id: EVERYTHING, "!nowhere:halfdoor.test": EVERYTHING, "nonsense": EVERYTHING}}
    assert (await slide(bob, asked))["rooms"] == {}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([["m.room.name", ""]], {("m.room.name", "")}),
        ([["m.room.member", "$ME"]], {("m.room.member", "@alice:halfdoor.test")}),
        ([["*", "@bob:halfdoor.test"]], {("m.room.member", "@bob:halfdoor.test")}),
        ([["m.space.child", "*"]], {("m.space.child", "!a:x"), ("m.space.child", "!b:x")}),
        ([["m.room.member", "$LAZY"]], {("m.room.member", "@alice:halfdoor.test")}),
        ([["m.room.nothing", ""]], set()),
        ([], set()),
    ],
)
async def test_required_state_is_what_is_told(whole_server: Server, wanted: Any, expected: Any) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room(name="Here", preset="public_chat")
    await bob.join(room_id)
    for child in ("!a:x", "!b:x"):
        await alice.set_state(room_id, "m.space.child", {"via": ["x"]}, child)
    await alice.say(room_id, "last")
    body = await slide(alice, lists(required_state=wanted, timeline_limit=1))
    assert keys(body["rooms"][room_id]) == expected


async def test_everything_but_one_type_of_which_some_is_wanted(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    wanted = [["*", "*"], ["m.room.member", bob.user_id]]
    found = keys((await slide(alice, lists(required_state=wanted)))["rooms"][room_id])
    assert ("m.room.create", "") in found
    assert {key for event_type, key in found if event_type == "m.room.member"} == {bob.user_id}


async def test_lazily_loaded_members_are_told_once(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.say(room_id, "mine")
    lazy = lists(required_state=[["m.room.member", "$LAZY"]], timeline_limit=1)
    first = await slide(alice, lazy)
    assert keys(first["rooms"][room_id]) == {("m.room.member", alice.user_id)}
    await bob.say(room_id, "his")
    lost = await slide(alice, lazy, first["pos"])
    second = await slide(alice, lazy, first["pos"])
    assert keys(lost["rooms"][room_id]) == keys(second["rooms"][room_id]) == {("m.room.member", bob.user_id)}
    await bob.say(room_id, "again")
    assert keys((await slide(alice, lazy, second["pos"]))["rooms"][room_id]) == set()


async def test_filters_choose_rooms(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    plain = await alice.create_room(name="Plain")
    secret = await alice.create_room(
        name="Secret", initial_state=[{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
    )
    space = await alice.create_room(name="Space", creation_content={"type": "m.space"})
    await alice.set_state(space, "m.space.child", {"via": ["halfdoor.test"]}, plain)
    invited = await bob.create_room(name="Bob's")
    await bob.invite(invited, alice)
    await alice.put(f"/user/{alice.user_id}/account_data/m.direct", {bob.user_id: [secret]})
    await alice.put(f"/user/{alice.user_id}/rooms/{plain}/tags/m.favourite", {})
    expectations: list[tuple[dict[str, Any], set[str]]] = [
        ({}, {plain, secret, space, invited}),
        ({"is_dm": True}, {secret}),
        ({"is_dm": False}, {plain, space, invited}),
        ({"is_encrypted": True}, {secret}),
        ({"is_invite": True}, {invited}),
        ({"is_invite": False, "is_encrypted": False}, {plain, space}),
        ({"spaces": [space]}, {plain}),
        ({"spaces": ["!nowhere:x"]}, set()),
        ({"room_types": ["m.space"]}, {space}),
        ({"room_types": [None]}, {plain, secret, invited}),
        ({"not_room_types": ["m.space"]}, {plain, secret, invited}),
        ({"room_types": ["m.space", None], "not_room_types": [None]}, {space}),
        ({"tags": ["m.favourite", "u.x"]}, {plain}),
        ({"not_tags": ["m.favourite"]}, {secret, space, invited}),
        ({"room_name_like": "SEC"}, {secret}),
    ]
    for is_loaded in (True, False):
        if not is_loaded:
            whole_server.homeserver.rooms.live.forget_all()
        for filters, expected in expectations:
            body = await slide(alice, lists(filters=filters))
            assert (set(body["rooms"]), body["lists"]["all"]["count"]) == (expected, len(expected)), filters


async def test_an_invite_shows_what_invited_people_see_and_no_more(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room(name="Here")
    await alice.say(room_id, "hidden")
    pos = (await slide(bob, lists()))["pos"]
    await alice.invite(room_id, bob)
    body = await slide(bob, lists(), pos)
    room = body["rooms"][room_id]
    assert room["initial"] is True
    assert {event["type"] for event in room["invite_state"]} >= {"m.room.create", "m.room.name", "m.room.member"}
    assert not {"timeline", "required_state", "heroes", "joined_count"} & set(room)
    await bob.post(f"/rooms/{room_id}/leave")
    rejected = await slide(bob, lists(), body["pos"])
    assert keys(rejected["rooms"][room_id]) == {("m.room.member", bob.user_id)}
    assert texts(rejected["rooms"][room_id]) == []
    assert (await slide(bob, lists()))["rooms"] == {}, "it was never told on this connection"


async def test_whoever_is_kicked_sees_that_and_nothing_of_later(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room(preset="public_chat", name="Before")
    await bob.join(room_id)
    pos = (await slide(bob, lists()))["pos"]
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": bob.user_id})
    await alice.say(room_id, "behind their back")
    await alice.set_state(room_id, "m.room.name", {"name": "After"})
    for given in (pos, None):
        body = await slide(bob, lists(), given)
        room = body["rooms"][room_id]
        assert ("m.room.member", bob.user_id) in keys(room)
        assert "After" not in str(room)
        assert "behind" not in str(room)
        assert room.get("initial", False) is (given is None)
        assert (await slide(bob, lists(), body["pos"]))["rooms"] == {}


async def test_name_avatar_and_heroes_follow_the_room(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await bob.put(f"/profile/{bob.user_id}/displayname", {"displayname": "Bob B."})
    room_id = await alice.create_room(preset="public_chat")
    body = await slide(alice, lists())
    await bob.join(room_id)
    body = await slide(alice, lists(), body["pos"])
    room = body["rooms"][room_id]
    assert room["heroes"] == [{"user_id": bob.user_id, "displayname": "Bob B."}]
    assert (room["joined_count"], room["invited_count"]) == (2, 0)
    await alice.set_state(room_id, "m.room.name", {"name": "Named"})
    await alice.set_state(room_id, "m.room.avatar", {"url": "mxc://halfdoor.test/picture"})
    body = await slide(alice, lists(), body["pos"])
    assert (body["rooms"][room_id]["name"], body["rooms"][room_id]["avatar"]) == (
        "Named",
        "mxc://halfdoor.test/picture",
    )
    await alice.set_state(room_id, "m.room.name", {})
    body = await slide(alice, lists(), body["pos"])
    assert body["rooms"][room_id]["name"] is None
    assert body["rooms"][room_id]["heroes"][0]["user_id"] == bob.user_id


async def test_what_bumps_a_room_and_what_does_not(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    one, two = await alice.create_room(), await alice.create_room()
    await alice.say(one, "hello")
    first = await slide(alice, lists())
    stamp = first["rooms"][one]["bump_stamp"]
    assert stamp > first["rooms"][two]["bump_stamp"]
    await alice.set_state(one, "m.room.topic", {"topic": "t"})
    second = await slide(alice, lists(), first["pos"])
    assert "bump_stamp" not in second["rooms"][one]
    whole_server.homeserver.rooms.live.forget_all()
    assert (await slide(alice, lists()))["rooms"][one]["bump_stamp"] == stamp


async def test_counts_follow_messages_and_receipts(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    pos = (await slide(alice, lists()))["pos"]
    await bob.say(room_id, "one")
    last = await bob.say(room_id, "two", **{"m.mentions": {"user_ids": [alice.user_id]}})
    body = await slide(alice, lists(), pos)
    room = body["rooms"][room_id]
    assert (room["notification_count"], room["highlight_count"]) == (2, 1)
    await alice.post(f"/rooms/{room_id}/receipt/m.read/{last}")
    body = await slide(alice, lists(), body["pos"])
    assert body["rooms"] == {room_id: {"notification_count": 0, "highlight_count": 0}}


async def test_a_conversation_with_somebody_is_marked(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    pos = (await slide(alice, lists()))["pos"]
    path = f"/user/{alice.user_id}/account_data/m.direct"
    await alice.put(path, {"@bob:halfdoor.test": [room_id]})
    body = await slide(alice, lists(), pos)
    assert body["rooms"][room_id]["is_dm"] is True
    await alice.put(path, {})
    body = await slide(alice, lists(), body["pos"])
    assert body["rooms"][room_id]["is_dm"] is False


async def test_the_request_waits_for_news(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    pos = (await slide(alice, lists()))["pos"]
    waiting = asyncio.ensure_future(slide(alice, lists(), pos, timeout=30_000))
    await whole_server.clock.advance(10)
    assert not waiting.done()
    await alice.say(room_id, "news")
    assert texts((await waiting)["rooms"][room_id]) == ["news"]


async def test_a_second_request_ends_the_first_one_of_its_connection(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    pos = (await slide(alice, lists()))["pos"]
    first = asyncio.ensure_future(slide(alice, lists(), pos, timeout=30_000))
    await whole_server.clock.advance(1)
    second = asyncio.ensure_future(slide(alice, lists(), pos, timeout=30_000))
    await whole_server.clock.advance(1)
    await alice.say(room_id, "news")
    assert (await first)["pos"] == pos
    body = await second
    assert texts(body["rooms"][room_id]) == ["news"]
    assert (await slide(alice, lists(), body["pos"]))["rooms"] == {}


async def test_extensions_tell_of_what_is_beside_the_rooms(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    names = ("to_device", "e2ee", "account_data", "receipts", "typing")
    asked: dict[str, Any] = {**lists(), "extensions": {name: {"enabled": True} for name in names}}
    body = await slide(alice, asked)
    found = body["extensions"]
    assert set(found) == set(names)
    assert "device_one_time_keys_count" in found["e2ee"]
    assert any(event["type"] == "m.push_rules" for event in found["account_data"]["global"])
    await bob.put("/sendToDevice/m.x/t1", {"messages": {alice.user_id: {"*": {"n": 1}}}})
    event_id = await bob.say(room_id, "hello")
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{event_id}")
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": True, "timeout": 20_000})
    await alice.put(f"/user/{alice.user_id}/rooms/{room_id}/account_data/x.y", {"a": 1})
    asked["extensions"]["to_device"]["since"] = found["to_device"]["next_batch"]
    body = await slide(alice, asked, body["pos"])
    found = body["extensions"]
    assert [event["type"] for event in found["to_device"]["events"]] == ["m.x"]
    assert found["account_data"] == {"global": [], "rooms": {room_id: [{"type": "x.y", "content": {"a": 1}}]}}
    assert bob.user_id in found["receipts"]["rooms"][room_id]["content"][event_id]["m.read"]
    assert found["typing"]["rooms"][room_id]["content"]["user_ids"] == [bob.user_id]
    asked["extensions"]["to_device"]["since"] = found["to_device"]["next_batch"]
    again = await slide(alice, asked, body["pos"])
    assert again["extensions"]["to_device"]["events"] == []
    assert not again["extensions"]["receipts"]["rooms"]
    assert (await alice.sync()).get("to_device") is None, "what was acknowledged is gone"


async def test_extensions_heed_the_lists_and_rooms_they_are_asked_for(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    one, two = await alice.create_room(), await alice.create_room()
    for room_id in (one, two):
        await alice.put(f"/user/{alice.user_id}/rooms/{room_id}/account_data/x.y", {"a": 1})
    for config, expected in (
        ({"rooms": [one], "lists": []}, {one}),
        ({"rooms": [], "lists": ["all"]}, {one, two}),
        ({"rooms": [], "lists": ["other"]}, set()),
        ({}, {one, two}),
    ):
        asked = {**lists(), "extensions": {"account_data": {"enabled": True, **config}}}
        assert set((await slide(alice, asked))["extensions"]["account_data"]["rooms"]) == expected


async def test_threads_that_were_followed_are_told(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    root = await alice.say(room_id, "root")
    name = "io.element.msc4308.thread_subscriptions"
    asked = {"extensions": {name: {"enabled": True}}}
    pos = (await slide(alice, asked))["pos"]
    path = f"/_matrix/client/unstable/io.element.msc4306/rooms/{room_id}/thread/{root}/subscription"
    await alice.put(path, {})
    found = (await slide(alice, asked, pos))["extensions"][name]
    assert found["subscribed"][room_id][root]["automatic"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"lists": {"x": {"timeline_limit": 1}}},
        {"lists": {"x": {**EVERYTHING, "ranges": [[1]]}}},
        {"lists": {"x": {**EVERYTHING, "ranges": [[3, 1]]}}},
        {"lists": {"x": {**EVERYTHING, "ranges": [[-1, 1]]}}},
        {"lists": {"x": {**EVERYTHING, "timeline_limit": -1}}},
        {"lists": {"x" * 300: EVERYTHING}},
        {"lists": {f"l{number}": EVERYTHING for number in range(101)}},
        {"lists": {"x": {**EVERYTHING, "required_state": [["m.room.name"]]}}},
        {"lists": {"x": {**EVERYTHING, "required_state": [["m.x", f"{number}"] for number in range(501)]}}},
        {"lists": {"x": {**EVERYTHING, "required_state": [["m.x", "k" * 256]]}}},
        {"extensions": {"to_device": {"enabled": True, "since": "x"}}},
        {"conn_id": 7},
        [],
    ],
)
async def test_what_makes_no_sense_is_refused(whole_server: Server, body: Any) -> None:
    alice = await whole_server.register("alice")
    assert (await alice.request("POST", PATH, body)).status == 400


async def test_presence_is_as_the_request_says(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    for wanted, expected in (("unavailable", "unavailable"), ("offline", "offline"), ("online", "online")):
        await slide(alice, {}, set_presence=wanted)
        await whole_server.clock.advance(120 if wanted == "offline" else 0)
        assert (await alice.get(f"/presence/{alice.user_id}/status"))["presence"] == expected
    assert (await alice.request("POST", PATH, {}, set_presence="asleep")).status == 400


async def test_a_position_is_a_place_for_messages_too(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    event_id = await alice.say(room_id, "before")
    pos = (await slide(alice, lists()))["pos"]
    await alice.say(room_id, "after")
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1, **{"from": pos})
    assert [event["event_id"] for event in page["chunk"]] == [event_id]


async def test_what_is_stored_of_a_connection_is_bounded(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    await alice.create_room()
    store, key = SlidingSyncStore(whole_server.homeserver.db), ConnectionKey(alice.user_id, alice.device_id, "")
    pos = None
    for number in range(ROWS + 8):
        wanted = [["m.x", f"{number} {entry} " + "k" * 200] for entry in range(250)]
        pos = (await slide(alice, lists(required_state=wanted), pos))["pos"]
        rows = await store.list_positions(key)
        assert len(rows) <= ROWS + 1
        assert sum(len(row.content) for row in rows) < 4 * ROW_BYTES


async def test_a_room_that_an_operator_deleted_is_left(whole_server: Server) -> None:
    alice, admin = await whole_server.register("alice"), await whole_server.register("root", admin=True)
    room_id, other = await alice.create_room(), await alice.create_room()
    pos = (await slide(alice, lists()))["pos"]
    await admin.ok("DELETE", f"/_synapse/admin/v1/rooms/{room_id}", {})
    body = await slide(alice, lists(), pos)
    assert set(body["rooms"]) == {room_id}
    (own,) = body["rooms"][room_id]["required_state"]
    assert (own["type"], own["state_key"], own["content"]) == ("m.room.member", alice.user_id, {"membership": "leave"})
    assert body["lists"]["all"]["ops"][0]["room_ids"] == [other]
    assert (await slide(alice, lists(), body["pos"]))["rooms"] == {}


async def test_connections_that_memory_has_no_room_for_are_read_again(
    whole_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IN_MEMORY", 30)
    alice = await whole_server.register("alice")
    room_id = await alice.create_room()
    places = {name: (await slide(alice, {**lists(), "conn_id": name}))["pos"] for name in "abcdef"}
    assert whole_server.homeserver.sync.sliding.connections.in_memory < 6
    await alice.say(room_id, "news")
    for name, pos in places.items():
        body = await slide(alice, {**lists(), "conn_id": name}, pos)
        assert (texts(body["rooms"][room_id]), "initial" in body["rooms"][room_id]) == (["news"], False)
