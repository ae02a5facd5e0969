"""/sync: what wakes it, what is in each section, and what is in none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from homeserver.sync.waiting import MAX_POLLS
from tests.support.clock import settle
from tests.support.server import SERVER_NAME, V3, Server, User, open_server


def filtered(**body: Any) -> dict[str, str]:
    return {"filter": json.dumps(body)}


def room_filter(**timeline: Any) -> dict[str, str]:
    return filtered(room={"timeline": timeline})


def joined(body: Any, room: str) -> Any:
    return body.get("rooms", {}).get("join", {}).get(room, {})


def texts(section: Any) -> list[str]:
    return [one["content"]["body"] for one in section.get("timeline", {}).get("events", []) if "body" in one["content"]]


def news(body: Any) -> set[str]:
    """The sections of an answer that stand for something new."""
    return {name for name in body if name != "next_batch" and "key" not in name}


async def settled(user: User) -> None:
    """Sync until there is nothing new."""
    while news(await user.sync()):
        pass


async def pair(server: Server, **options: Any) -> tuple[User, User, str]:
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat", **options)
    await bob.join(room)
    return alice, bob, room


async def test_sync_without_news_waits_for_its_timeout(whole_server: Server) -> None:
    alice = await whole_server.register()
    await settled(alice)
    waiting = asyncio.create_task(alice.sync(timeout=30_000))
    await whole_server.clock.advance(29)
    assert not waiting.done()
    await whole_server.clock.advance(2)
    assert not news(await waiting)
    await asyncio.wait_for(alice.sync(timeout=0), 60)


async def wakes(server: Server, user: User, cause: Any) -> Any:
    """What the waiting sync of `user` answers when `cause` happens."""
    await settled(user)
    waiting = asyncio.create_task(user.sync(timeout=30_000))
    await settle(50)
    assert not waiting.done()
    await cause
    await settle(200)
    assert waiting.done(), "nothing woke it"
    return await waiting


async def test_each_kind_of_news_wakes_a_waiting_sync(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    said = await alice.say(room, "hello")
    body = await wakes(whole_server, bob, alice.say(room, "news"))
    assert texts(joined(body, room)) == ["news"]
    body = await wakes(whole_server, bob, alice.set_state(room, "m.room.topic", {"topic": "x"}))
    assert joined(body, room)["timeline"]["events"][0]["type"] == "m.room.topic"
    body = await wakes(whole_server, bob, alice.put(f"/rooms/{room}/typing/{alice.user_id}", {"typing": True}))
    assert joined(body, room)["ephemeral"]["events"] == [{"type": "m.typing", "content": {"user_ids": [alice.user_id]}}]
    body = await wakes(whole_server, bob, alice.post(f"/rooms/{room}/receipt/m.read/{said}"))
    (receipt,) = joined(body, room)["ephemeral"]["events"]
    assert receipt["content"][said]["m.read"].keys() == {alice.user_id}
    private = await alice.create_room(name="Den")
    body = await wakes(whole_server, bob, alice.invite(private, bob))
    assert private in body["rooms"]["invite"]
    body = await wakes(whole_server, bob, bob.join(private))
    assert private in body["rooms"]["join"]
    body = await wakes(whole_server, bob, alice.say(private, "in the new room"))
    assert texts(joined(body, private)) == ["in the new room"]
    kick = alice.post(f"/rooms/{private}/kick", {"user_id": bob.user_id})
    assert private in (await wakes(whole_server, bob, kick))["rooms"]["leave"]
    body = await wakes(whole_server, bob, bob.put(f"/user/{bob.user_id}/account_data/org.x", {"a": 1}))
    assert body["account_data"]["events"] == [{"type": "org.x", "content": {"a": 1}}]
    tag = bob.put(f"/user/{bob.user_id}/rooms/{room}/tags/u.x", {"order": 0.5})
    assert joined(await wakes(whole_server, bob, tag), room)["account_data"]["events"] == [
        {"type": "m.tag", "content": {"tags": {"u.x": {"order": 0.5}}}}
    ]
    message = {"messages": {bob.user_id: {bob.device_id: {"n": 1}}}}
    body = await wakes(whole_server, bob, alice.put("/sendToDevice/org.x/t1", message))
    assert body["to_device"]["events"] == [{"type": "org.x", "sender": alice.user_id, "content": {"n": 1}}]


async def test_G03_what_happens_after_leaving_wakes_and_reaches_nobody(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await bob.sync()
    await alice.post(f"/rooms/{room}/ban", {"user_id": bob.user_id, "reason": "enough"})
    await alice.say(room, "behind the back")
    await alice.set_state(room, "m.room.topic", {"topic": "behind the back"})
    body = await bob.sync()
    events = body["rooms"]["leave"][room]["timeline"]["events"]
    assert events[-1]["content"] == {"membership": "ban", "reason": "enough"}
    assert "behind the back" not in repr(body)
    await settled(bob)
    waiting = asyncio.create_task(bob.sync(timeout=1_000))
    await settle()
    await alice.say(room, "more behind the back")
    await alice.put(f"/rooms/{room}/typing/{alice.user_id}", {"typing": True})
    await whole_server.clock.advance(2)
    assert not news(await waiting)
    whole = await bob.get("/sync", **filtered(room={"include_leave": True, "timeline": {"limit": 50}}))
    assert "behind the back" not in repr(whole)


async def test_G03_ban_long_after_leaving_shows_nothing_of_the_time_between(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await bob.post(f"/rooms/{room}/leave")
    await bob.sync()
    await alice.set_state(room, "m.room.topic", {"topic": "behind the back"})
    await (await whole_server.register("carol")).join(room)
    await alice.post(f"/rooms/{room}/ban", {"user_id": bob.user_id})
    for body in (
        await bob.sync(),
        await bob.get("/sync", **filtered(room={"include_leave": True})),
        await bob.get("/sync", use_state_after="true", **filtered(room={"include_leave": True})),
    ):
        section = body["rooms"]["leave"][room]
        assert section["timeline"]["events"][-1]["content"] == {"membership": "ban"}
        assert "behind the back" not in repr(body)
        assert "carol" not in repr(body)


@pytest.mark.parametrize("ending", ["declined", "taken back", "banned"])
async def test_G02_lost_invite_shows_nothing_of_the_room(whole_server: Server, ending: str) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(topic="secret topic")
    await bob.sync()
    await alice.invite(room, bob)
    first = await bob.sync()
    assert room in first["rooms"]["invite"]
    assert "left" not in repr(first.get("device_lists"))
    if ending == "declined":
        await bob.post(f"/rooms/{room}/leave")
    else:
        await alice.post(f"/rooms/{room}/{'kick' if ending == 'taken back' else 'ban'}", {"user_id": bob.user_id})
    for body in (
        await bob.sync(),
        await bob.get("/sync", **filtered(room={"include_leave": True})),
        await bob.get("/sync", use_state_after="true", **filtered(room={"include_leave": True})),
    ):
        section = body["rooms"]["leave"][room]
        assert [one["type"] for one in section["timeline"]["events"]] == ["m.room.member"]
        state = section.get("state", section.get("state_after"))["events"]
        assert [one for one in state if one.get("state_key") != bob.user_id] == []
        assert "secret topic" not in repr(body)
        assert not body.get("device_lists", {}).get("left")
    for path in ("messages?dir=b", "state", "members"):
        assert (await bob.request("GET", f"/rooms/{room}/{path}")).status == 403


async def test_G05_newly_joined_room_has_its_whole_state_though_history_is_hidden(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    hidden = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", name="Hall", initial_state=hidden)
    await alice.say(room, "before")
    await bob.sync()
    await bob.join(room)
    for body in (await bob.sync(), await bob.get("/sync")):
        section = joined(body, room)
        timeline = {(one["type"], one.get("state_key")) for one in section["timeline"]["events"]}
        state = {(one["type"], one["state_key"]) for one in section["state"]["events"]}
        assert "before" not in repr(section)
        assert timeline | state >= {
            ("m.room.create", ""),
            ("m.room.name", ""),
            ("m.room.power_levels", ""),
            ("m.room.member", alice.user_id),
            ("m.room.member", bob.user_id),
        }


async def test_filter_of_the_timeline_does_not_lose_state(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    only_messages = room_filter(types=["m.room.message"], limit=5)
    first = joined(await bob.sync(**only_messages), room)
    assert ("m.room.create", "") in {(one["type"], one["state_key"]) for one in first["state"]["events"]}
    await alice.say(room, "one")
    await alice.set_state(room, "m.room.topic", {"topic": "between"})
    await alice.say(room, "two")
    section = joined(await bob.sync(**only_messages), room)
    assert texts(section) == ["one", "two"]
    assert [one["content"] for one in section["state"]["events"]] == [{"topic": "between"}]


async def test_limited_timeline_goes_on_with_messages(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await bob.sync()
    said = [await alice.say(room, f"words {number}") for number in range(12)]
    section = joined(await bob.sync(**room_filter(limit=4)), room)
    assert section["timeline"]["limited"] is True
    shown = [one["event_id"] for one in section["timeline"]["events"]]
    assert shown == said[-4:]
    page = await bob.get(f"/rooms/{room}/messages", dir="b", limit=8, **{"from": section["timeline"]["prev_batch"]})
    assert [one["event_id"] for one in page["chunk"]] == said[7::-1]
    await alice.say(room, "one more")
    section = joined(await bob.sync(**room_filter(limit=4)), room)
    assert section["timeline"]["limited"] is False


async def test_filters_choose_senders_types_rooms_and_limit(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    other = await alice.create_room()
    await bob.say(room, "of bob")
    await alice.say(room, "of alice")

    async def seen(**body: Any) -> Any:
        return await alice.get("/sync", **filtered(**body))

    assert texts(joined(await seen(room={"timeline": {"senders": [bob.user_id]}}), room)) == ["of bob"]
    assert texts(joined(await seen(room={"timeline": {"not_senders": [bob.user_id]}}), room)) == ["of alice"]
    assert texts(joined(await seen(room={"timeline": {"limit": 1}}), room)) == ["of alice"]
    assert set((await seen(room={"rooms": [other]}))["rooms"]["join"]) == {other}
    assert set((await seen(room={"not_rooms": [other]}))["rooms"]["join"]) == {room}
    assert "rooms" not in await seen(room={"rooms": []})
    state = joined(await seen(room={"state": {"types": ["m.room.name"]}, "timeline": {"limit": 1}}), room)["state"]
    assert state == {"events": []}
    assert "presence" not in await seen(presence={"types": []})
    assert "account_data" not in await seen(account_data={"not_types": ["*"]})

    async def unlike_the_schema(**body: Any) -> Any:
        query = filtered(room={"timeline": {"limit": 1}}, **body)
        answer = await whole_server.client.request("GET", f"{V3}/sync", token=alice.token, query=query)
        return joined(answer.json, room)["timeline"]["events"]

    assert await unlike_the_schema(event_fields=["type", "content.body"]) == [
        {"type": "m.room.message", "content": {"body": "of alice"}}
    ]
    (raw,) = await unlike_the_schema(event_format="federation")
    assert {"auth_events", "prev_events", "depth", "hashes", "signatures"} <= raw.keys()
    stored = (await alice.post(f"/user/{alice.user_id}/filter", {"room": {"rooms": [other]}}))["filter_id"]
    assert set((await alice.get("/sync", filter=stored))["rooms"]["join"]) == {other}
    for bad in ("{", '{"room": 5}', "nothing"):
        assert (await alice.request("GET", "/sync", filter=bad)).status in (400, 404)
    assert (await alice.request("GET", "/sync", since="nonsense")).status == 400


async def test_lazy_members_are_sent_once_and_again_when_the_answer_was_lost(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    carol = await whole_server.register("carol")
    await carol.join(room)
    lazy = filtered(room={"state": {"lazy_load_members": True}, "timeline": {"limit": 1}})
    redundant = filtered(
        room={"state": {"lazy_load_members": True, "include_redundant_members": True}, "timeline": {"limit": 1}}
    )

    def members(body: Any) -> set[str]:
        return {one["state_key"] for one in joined(body, room)["state"]["events"] if one["type"] == "m.room.member"}

    await alice.set_state(room, "m.room.name", {"name": "Hall"})
    first = await bob.sync(**lazy)
    assert members(first) <= {alice.user_id, bob.user_id, carol.user_id}
    await carol.say(room, "one")
    lost = await bob.get("/sync", since=bob.since, **lazy)
    assert members(await bob.sync(**lazy)) == members(lost)
    await carol.say(room, "two")
    assert members(await bob.sync(**lazy)) == set()
    await carol.say(room, "three")
    assert members(await bob.sync(**redundant)) == {carol.user_id}


async def test_full_state_and_state_after(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await bob.sync()
    await alice.set_state(room, "m.room.topic", {"topic": "x"})
    section = joined(await bob.get("/sync", since=bob.since, use_state_after="true"), room)
    assert [one["content"] for one in section["state_after"]["events"]] == [{"topic": "x"}]
    assert "state" not in section
    whole = joined(await bob.get("/sync", since=bob.since, full_state="true", timeout=30_000), room)
    types = {one["type"] for one in whole["state"]["events"]}
    assert types >= {"m.room.create", "m.room.member", "m.room.power_levels"}
    await settled(bob)
    quiet = joined(await bob.get("/sync", since=bob.since, full_state="true", timeout=30_000), room)
    assert {one["type"] for one in quiet["state"]["events"]} >= types | {"m.room.topic"}
    assert quiet["timeline"]["events"] == []


async def test_summary_names_heroes_and_counts(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    carol = await whole_server.register("carol")
    assert joined(await alice.sync(), room)["summary"] == {
        "m.heroes": [bob.user_id],
        "m.joined_member_count": 2,
        "m.invited_member_count": 0,
    }
    await alice.invite(room, carol)
    summary = joined(await alice.sync(), room)["summary"]
    assert (summary["m.invited_member_count"], set(summary["m.heroes"])) == (1, {bob.user_id, carol.user_id})
    await alice.say(room, "x")
    assert "summary" not in joined(await alice.sync(), room)
    for user in (bob, carol):
        await user.post(f"/rooms/{room}/leave")
    summary = joined(await alice.sync(), room)["summary"]
    assert (summary["m.joined_member_count"], set(summary["m.heroes"])) == (1, {bob.user_id, carol.user_id})


async def test_heroes_are_the_same_after_a_restart(stored_server: Server) -> None:
    alice = await stored_server.register("alice")
    room = await alice.create_room(preset="public_chat")
    others = [await stored_server.register(f"u{number}") for number in range(7)]
    for user in others:
        await user.join(room)
    await others[0].post(f"/rooms/{room}/leave")
    await others[0].join(room)
    await others[1].put(f"/profile/{others[1].user_id}/displayname", {"displayname": "One"})
    before = joined(await alice.get("/sync"), room)["summary"]["m.heroes"]
    stored_server.homeserver.rooms.live.forget_all()
    assert joined(await alice.get("/sync"), room)["summary"]["m.heroes"] == before
    assert before == [user.user_id for user in others[1:6]]


async def test_rejoined_room_is_shown_whole_again(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await bob.sync()
    await bob.post(f"/rooms/{room}/leave")
    assert room in (await bob.sync())["rooms"]["leave"]
    assert "rooms" not in await bob.sync()
    await alice.set_state(room, "m.room.topic", {"topic": "while away"})
    await bob.join(room)
    section = joined(await bob.sync(**room_filter(limit=1)), room)
    types = {one["type"] for one in section["state"]["events"]}
    assert {"m.room.create", "m.room.topic"} <= types


async def test_to_device_messages_come_until_acknowledged(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await bob.sync()
    for number in range(3):
        message = {"messages": {bob.user_id: {"*": {"n": number}}}}
        await alice.put(f"/sendToDevice/org.x/t{number}", message)
    await alice.put("/sendToDevice/org.x/t0", {"messages": {bob.user_id: {"*": {"n": 0}}}})
    before = bob.since
    for _ in range(2):
        body = await bob.get("/sync", since=before)
        assert [one["content"]["n"] for one in body["to_device"]["events"]] == [0, 1, 2]
    await bob.get("/sync", since=body["next_batch"])
    assert "to_device" not in await bob.get("/sync", since=before)


async def test_rooms_joined_beyond_a_page_of_to_device_messages_come_with_the_next(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await bob.sync()
    for number in range(150):
        await alice.put(f"/sendToDevice/org.x/t{number}", {"messages": {bob.user_id: {"*": {"n": number}}}})
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    numbers: list[int] = []
    rooms: list[str] = []
    for _ in range(10):
        body = await bob.sync()
        numbers += [one["content"]["n"] for one in body.get("to_device", {}).get("events", [])]
        rooms += body.get("rooms", {}).get("join", {})
    assert numbers == list(range(150))
    assert rooms == [room]


async def test_G06_typing_and_receipts_reach_only_the_room(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    carol = await whole_server.register("carol")
    said = await alice.say(room, "x")
    for user in (alice, bob, carol):
        await settled(user)
    await bob.put(f"/rooms/{room}/typing/{bob.user_id}", {"typing": True, "timeout": 10_000})
    await bob.post(f"/rooms/{room}/receipt/m.read.private/{said}")
    seen = [one["type"] for one in joined(await alice.sync(), room)["ephemeral"]["events"]]
    assert seen == ["m.typing"]
    assert not news(await carol.sync())
    own = {one["type"]: one["content"] for one in joined(await bob.sync(), room)["ephemeral"]["events"]}
    assert own["m.receipt"][said].keys() == {"m.read.private"}
    assert "m.read.private" not in repr(await alice.get("/sync"))
    assert (await carol.request("PUT", f"/rooms/{room}/typing/{carol.user_id}", {"typing": True})).status == 403
    assert (await alice.request("PUT", f"/rooms/{room}/typing/{bob.user_id}", {"typing": True})).status == 403


async def test_typing_ends_by_itself_by_sending_and_by_leaving(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    path = f"/rooms/{room}/typing/{bob.user_id}"

    async def typing() -> list[Any]:
        events = joined(await alice.sync(), room).get("ephemeral", {}).get("events", [])
        return [one["content"]["user_ids"] for one in events if one["type"] == "m.typing"]

    await alice.sync()
    await bob.put(path, {"typing": True, "timeout": 5_000})
    assert await typing() == [[bob.user_id]]
    await whole_server.clock.advance(6)
    assert await typing() == [[]]
    for end in ("send", "stop", "leave"):
        await bob.put(path, {"typing": True})
        assert await typing() == [[bob.user_id]]
        if end == "send":
            await bob.say(room, "done")
        elif end == "stop":
            await bob.put(path, {"typing": False})
        else:
            await bob.post(f"/rooms/{room}/leave")
        assert await typing() == [[]], end


async def test_device_lists_tell_of_new_and_lost_company(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    carol = await whole_server.register("carol")
    await alice.sync()
    await carol.join(room)
    body = await alice.sync(**filtered(room={"rooms": []}))
    assert body["device_lists"]["changed"] == [carol.user_id]
    await bob.post(f"/rooms/{room}/leave")
    assert (await alice.sync())["device_lists"] == {"changed": [], "left": [bob.user_id]}
    other = await alice.create_room(preset="public_chat")
    await carol.join(other)
    await alice.sync()
    await carol.post(f"/rooms/{other}/leave")
    body = await alice.sync(**filtered(room={"not_rooms": [room]}))
    assert "device_lists" not in body
    for number in range(140):
        await alice.say(room, f"words {number}")
        if number == 3:
            await carol.post(f"/rooms/{room}/leave")
    assert (await alice.sync())["device_lists"]["left"] == [carol.user_id]


async def test_idle_listener_is_woken_after_it_was_forgotten(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await settled(bob)
    for _ in range(6):
        await whole_server.clock.advance(400)
        await alice.sync()
    body = await wakes(whole_server, bob, alice.say(room, "still there?"))
    assert texts(joined(body, room)) == ["still there?"]


async def test_invite_by_an_ignored_user_does_not_hide_that_the_one_before_was_declined(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    assert room in (await bob.sync())["rooms"]["invite"]
    late = bob.since
    await bob.post(f"/rooms/{room}/leave")
    await bob.put(f"/user/{bob.user_id}/account_data/m.ignored_user_list", {"ignored_users": {alice.user_id: {}}})
    await bob.sync()
    await alice.invite(room, bob)
    rooms = (await bob.get("/sync", since=late))["rooms"]
    (declined,) = rooms["leave"][room]["timeline"]["events"]
    assert (declined["sender"], declined["content"]["membership"]) == (bob.user_id, "leave")
    assert "invite" not in rooms
    assert "rooms" not in await bob.sync()  # who heard of it is not told again
    assert "rooms" not in await bob.get("/sync")


async def test_ignored_users_are_not_heard(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await alice.put(f"/user/{alice.user_id}/account_data/m.ignored_user_list", {"ignored_users": {bob.user_id: {}}})
    await bob.say(room, "unheard")
    private = await bob.create_room()
    await bob.invite(private, alice)
    body = await alice.sync()
    assert "unheard" not in repr(body)
    assert "invite" not in body["rooms"]


async def test_sync_after_a_restart_goes_on_where_it_was(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    await bob.sync()
    await alice.say(room, "before")
    again = open_server(whole_server.homeserver.db)
    alice.server = bob.server = again
    await alice.say(room, "after")
    assert texts(joined(await bob.sync(), room)) == ["before", "after"]
    body = await bob.get("/sync", since="s999999999_0")
    assert body["next_batch"] == bob.since
    await again.homeserver.close()


async def test_unread_counts_by_room_thread_and_highlight(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    threaded = room_filter(unread_thread_notifications=True)

    async def counts(**query: str) -> tuple[Any, Any]:
        section = joined(await bob.get("/sync", **query), room)
        count = section["unread_notifications"]
        by_thread = {
            thread: (one["notification_count"], one["highlight_count"])
            for thread, one in section.get("unread_thread_notifications", {}).items()
        }
        return (count["notification_count"], count["highlight_count"]), by_thread

    root = await alice.say(room, "root")
    thread = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    await alice.say(room, "in thread", **thread)
    last = await alice.say(room, "hey", **thread, **{"m.mentions": {"user_ids": [bob.user_id]}})
    assert await counts() == ((3, 1), {})
    assert await counts(**threaded) == ((1, 0), {root: (2, 1)})
    await bob.post(f"/rooms/{room}/receipt/m.read/{root}", {"thread_id": "main"})
    assert await counts(**threaded) == ((0, 0), {root: (2, 1)})
    await bob.post(f"/rooms/{room}/receipt/m.read/{last}", {"thread_id": root})
    assert await counts(**threaded) == ((0, 0), {})
    noise = await alice.say(room, "noise")
    assert await counts() == ((1, 0), {})
    await alice.put(f"/rooms/{room}/redact/{noise}/r", {})
    assert (await counts())[0][0] <= 1
    again = open_server(whole_server.homeserver.db)
    here = (await counts())[0]
    bob.server = again
    assert (await counts())[0] == here
    await bob.post(f"/rooms/{room}/receipt/m.read.private/{noise}")
    assert await counts() == ((0, 0), {})
    await again.homeserver.close()


async def test_two_devices_count_alike_on_each_engine(stored_server: Server) -> None:
    alice, bob, room = await pair(stored_server)
    phone = await stored_server.log_in("bob")
    for number in range(5):
        await alice.say(room, f"words {number}")
    again = open_server(stored_server.homeserver.db)
    bob.server = phone.server = again
    for body in await asyncio.gather(bob.sync(), phone.sync(), bob.get("/sync")):
        assert joined(body, room)["unread_notifications"]["notification_count"] == 5
    await again.homeserver.close()


async def test_B11_receipts_need_membership_and_an_event_of_the_room(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    carol = await whole_server.register("carol")
    other = await alice.create_room()
    said, elsewhere = await alice.say(room, "x"), await alice.say(other, "y")
    for receipt in ("m.read", "m.read.private", "m.fully_read"):
        assert (await carol.request("POST", f"/rooms/{room}/receipt/{receipt}/{said}", {})).status == 403
        assert (await bob.request("POST", f"/rooms/{room}/receipt/{receipt}/{elsewhere}", {})).status == 404
    markers = {"m.fully_read": said, "m.read": said, "m.read.private": said}
    assert (await carol.request("POST", f"/rooms/{room}/read_markers", markers)).status == 403
    await bob.post(f"/rooms/{room}/read_markers", markers)
    section = joined(await bob.sync(), room)
    assert {"type": "m.fully_read", "content": {"event_id": said}} in section["account_data"]["events"]
    (receipt_event,) = section["ephemeral"]["events"]
    assert receipt_event["content"][said].keys() == {"m.read", "m.read.private"}
    assert (await bob.request("POST", f"/rooms/{room}/receipt/m.nonsense/{said}", {})).status == 400
    for thread in ("", "nonsense", elsewhere, 5):
        answer = await bob.request("POST", f"/rooms/{room}/receipt/m.read/{said}", {"thread_id": thread})
        assert answer.status == 400, thread


async def test_receipts_move_forwards_only_and_several_fit_one_event(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    first, second = await alice.say(room, "one"), await alice.say(room, "two")
    await bob.post(f"/rooms/{room}/receipt/m.read/{second}")
    await bob.post(f"/rooms/{room}/receipt/m.read/{first}")
    await bob.post(f"/rooms/{room}/receipt/m.read/{second}", {"thread_id": "main"})
    found = {
        (event_id, receipt.get("thread_id"))
        for event in joined(await alice.sync(), room)["ephemeral"]["events"]
        for event_id, by_type in event["content"].items()
        for receipt in by_type["m.read"].values()
    }
    assert found == {(second, None), (second, "main")}


async def test_aliases_are_given_read_and_taken(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    path = f"/directory/room/%23side:{SERVER_NAME}"
    carol = await whole_server.register("carol")
    assert (await carol.request("PUT", path, {"room_id": room})).status == 403
    await bob.put(path, {"room_id": room})
    taken = await alice.request("PUT", path, {"room_id": room})
    assert (taken.status, taken.json["errcode"]) == (409, "M_UNKNOWN")
    assert (await carol.get(path))["room_id"] == room
    assert (await alice.get(f"/rooms/{room}/aliases"))["aliases"] == [f"#side:{SERVER_NAME}"]
    assert (await carol.request("GET", f"/rooms/{room}/aliases")).status == 403
    assert (await carol.request("DELETE", path)).status == 403
    refused: list[dict[str, Any]] = [
        {"alias": f"#none:{SERVER_NAME}"},
        {"alias": {}},
        {"alias": 5},
        {"alt_aliases": [{}]},
        {"alt_aliases": "x"},
        {"alias": "nonsense"},
    ]
    for content in refused:
        answer = await alice.request("PUT", f"/rooms/{room}/state/m.room.canonical_alias/", content)
        assert answer.status == 400, content
    await alice.set_state(room, "m.room.canonical_alias", {"alias": f"#side:{SERVER_NAME}"})
    await alice.request("DELETE", path)
    assert (await alice.request("GET", path)).status == 404
    assert (await alice.request("DELETE", path)).status == 404
    assert (await alice.request("PUT", "/directory/room/%23x:elsewhere.test", {"room_id": room})).status == 400
    listing = f"/directory/list/room/{room}"
    assert (await bob.request("PUT", listing, {"visibility": "public"})).status == 403
    await alice.put(listing, {"visibility": "public"})
    assert (await whole_server.request("GET", listing)).json == {"visibility": "public"}


async def test_who_comes_back_to_a_room_is_shown_it_anew_and_not_as_its_continuation(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await bob.sync()
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    first = (await bob.sync())["rooms"]["join"][room_id]["timeline"]
    assert first["limited"] is False
    await bob.post(f"/rooms/{room_id}/leave")
    await bob.sync()
    await bob.join(room_id)
    again = (await bob.sync())["rooms"]["join"][room_id]["timeline"]
    assert {event["event_id"] for event in first["events"]} < {event["event_id"] for event in again["events"]}
    assert again["limited"] is True


async def test_D15_polls_of_one_device_beyond_a_few_end_the_oldest(whole_server: Server) -> None:
    alice, bob, room = await pair(whole_server)
    for user in (alice, bob, alice):  # who came is news for the other
        await settled(user)
    waiting = [
        asyncio.create_task(alice.request("GET", "/sync", since=alice.since, timeout=30_000)) for _ in range(200)
    ]
    other = asyncio.create_task(bob.request("GET", "/sync", since=bob.since, timeout=30_000))
    await settle(2_000)
    assert sum(not task.done() for task in waiting) == MAX_POLLS
    assert not other.done(), "somebody else's polls were ended"
    event_id = await bob.say(room, "hello")
    await asyncio.wait_for(other, 60)
    answers = [(await task).json for task in waiting]
    assert all("rooms" not in answer for answer in answers[:-MAX_POLLS])
    for answer in answers[-MAX_POLLS:]:
        assert joined(answer, room)["timeline"]["events"][0]["event_id"] == event_id
