"""Rooms and their past are deleted, and what remains is nothing."""

from __future__ import annotations

from typing import Any

from homeserver.storage.database import Database
from tests.support.server import SERVER_NAME, Server, User, open_server

V1 = "/_synapse/admin/v1"
V2 = "/_synapse/admin/v2"


async def finish(server: Server) -> None:
    await server.homeserver.admin.rooms.tasks.finish()


async def rows(server: Server, room_id: str) -> dict[str, int]:
    """How many rows still name the room, by table."""
    db = server.homeserver.db
    found = {}
    for table in ("rooms", "events", "state_changes", "current_state", "memberships", "receipts", "search_events"):
        count = await db.fetch_value(f"SELECT COUNT(*) FROM {table} WHERE room_id = ?", (room_id,))
        if count:
            found[table] = int(count)
    return found


async def furnished(server: Server) -> tuple[User, User, str]:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="den", visibility="public")
    await bob.join(room_id)
    said = await alice.say(room_id, "something to find")
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{said}")
    await bob.put(f"/user/{bob.user_id}/rooms/{room_id}/tags/m.favourite", {})
    await server.homeserver.rooms.search_index.catch_up()
    return alice, bob, room_id


async def test_a_deleted_room_leaves_nothing_behind(database: Database) -> None:
    server = open_server(database)
    admin = await server.register("admin", admin=True)
    alice, bob, room_id = await furnished(server)
    await bob.sync()
    started = await admin.ok("DELETE", f"{V2}/rooms/{room_id}", {"block": True})
    delete_id = started.json["delete_id"]
    await finish(server)
    status = await admin.get(f"{V2}/rooms/delete_status/{delete_id}")
    assert (status["status"], status["room_id"]) == ("complete", room_id)
    assert set(status["shutdown_room"]["kicked_users"]) == {alice.user_id, bob.user_id}
    assert (await admin.get(f"{V2}/rooms/{room_id}/delete_status"))["results"] == [status]
    assert await rows(server, room_id) == {}
    assert (await admin.request("GET", f"{V1}/rooms/{room_id}")).status == 404
    assert (await alice.request("GET", f"/directory/room/%23den:{SERVER_NAME}")).status == 404
    assert (await alice.get("/publicRooms"))["chunk"] == []
    search = {"search_categories": {"room_events": {"search_term": "something"}}}
    assert (await alice.post("/search", search))["search_categories"]["room_events"]["count"] == 0
    news = await bob.sync()
    assert list(news["rooms"]["leave"]) == [room_id]
    assert "join" not in news.get("rooms", {})
    assert "rooms" not in await bob.sync()
    assert (await bob.request("POST", f"/rooms/{room_id}/join", {})).status == 403
    for method, path in (("GET", "messages?dir=b"), ("GET", "state"), ("GET", "joined_members")):
        assert (await alice.request(method, f"/rooms/{room_id}/{path}")).status == 403
    await server.homeserver.admin.stop()
    await server.homeserver.close()


async def test_members_are_moved_to_a_room_that_says_why(server: Server, admin: User) -> None:
    alice, bob, room_id = await furnished(server)
    body = {"new_room_user_id": admin.user_id, "room_name": "Closed", "message": "Because of the noise"}
    done = (await admin.ok("DELETE", f"{V1}/rooms/{room_id}", body)).json
    assert set(done) >= {"kicked_users", "failed_to_kick_users", "local_aliases", "new_room_id"}
    assert done["local_aliases"] == [f"#den:{SERVER_NAME}"]
    new = done["new_room_id"]
    assert set((await admin.get(f"{V1}/rooms/{new}/members"))["members"]) == {u.user_id for u in (admin, alice, bob)}
    assert (await alice.get(f"/directory/room/%23den:{SERVER_NAME}"))["room_id"] == new
    messages = (await alice.get(f"/rooms/{new}/messages", dir="b", filter='{"types": ["m.room.message"]}'))["chunk"]
    assert [event["content"]["body"] for event in messages] == ["Because of the noise"]
    refused = await alice.request("PUT", f"/rooms/{new}/send/m.room.message/1", {"msgtype": "m.text", "body": "x"})
    assert refused.status == 403
    assert await rows(server, room_id) == {}


async def test_a_room_is_shut_down_without_being_purged(server: Server, admin: User) -> None:
    alice, _, room_id = await furnished(server)
    await admin.ok("DELETE", f"{V1}/rooms/{room_id}", {"purge": False, "block": True})
    assert (await admin.get(f"{V1}/rooms/{room_id}"))["joined_members"] == 0
    assert (await alice.request("GET", f"/rooms/{room_id}/messages", dir="b")).status == 200
    assert (await alice.request("POST", f"/rooms/{room_id}/join", {})).status == 403


async def test_bad_deletions_are_refused(server: Server, admin: User) -> None:
    none = f"!none:{SERVER_NAME}"
    for version in (V1, V2):
        assert (await admin.request("DELETE", f"{version}/rooms/{none}", {})).status == 404
        for body in (
            {"block": "yes"},
            {"new_room_user_id": "@x:elsewhere.test"},
            {"purge": False, "force_purge": True},
        ):
            assert (await admin.request("DELETE", f"{version}/rooms/{none}", body)).status == 400, body
    await admin.ok("DELETE", f"{V1}/rooms/{none}", {"block": True})
    assert (await admin.get(f"{V1}/rooms/{none}/block"))["block"] is True
    assert (await admin.request("GET", f"{V2}/rooms/{none}/delete_status")).status == 404
    assert (await admin.request("GET", f"{V2}/rooms/delete_status/none")).status == 404


async def test_a_waiting_sync_hears_of_the_end_and_writers_are_refused(server: Server, admin: User) -> None:
    import asyncio

    alice, bob, room_id = await furnished(server)
    await bob.sync()
    waiting = asyncio.create_task(bob.sync(timeout=30_000))
    await asyncio.sleep(0)
    await admin.ok("DELETE", f"{V2}/rooms/{room_id}", {})
    await finish(server)
    assert room_id in (await waiting)["rooms"]["leave"]
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/9", {"msgtype": "m.text", "body": "x"})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert await rows(server, room_id) == {}


async def test_a_device_that_was_away_hears_of_a_deleted_room_once(server: Server, admin: User) -> None:
    alice, bob, room_id = await furnished(server)
    await bob.sync()
    await admin.ok("DELETE", f"{V1}/rooms/{room_id}", {})
    # What /sync knows of the room is only that it is gone.
    news = (await bob.sync())["rooms"]["leave"][room_id]
    assert news["timeline"]["events"] == []
    assert "rooms" not in await bob.sync()
    fresh = await server.log_in("bob")
    assert "rooms" not in await fresh.sync()
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == []


async def test_a_deletion_that_was_interrupted_goes_on(server: Server, admin: User) -> None:
    alice, _, room_id = await furnished(server)
    administration = server.homeserver.admin.rooms
    remove, calls = administration.purges.remove_events, []

    async def stops(*arguments: Any) -> None:
        calls.append(arguments)
        raise RuntimeError("the power went")

    administration.deletion._store.remove_events = stops  # type: ignore[method-assign, assignment]
    await admin.ok("DELETE", f"{V2}/rooms/{room_id}", {})
    await finish(server)
    assert calls
    assert set(await rows(server, room_id)) <= {"events", "search_events"}
    administration.deletion._store.remove_events = remove  # type: ignore[method-assign]
    await server.homeserver.db.write(
        lambda txn: txn.execute("UPDATE background_tasks SET status = 'active', error = NULL")
    )
    await administration.tasks.start()
    await finish(server)
    assert await rows(server, room_id) == {}
    assert (await alice.request("GET", f"/rooms/{room_id}/state")).status == 403


async def test_history_is_purged_before_an_event_and_the_state_stays(database: Database) -> None:
    server = open_server(database)
    admin, alice = await server.register("admin", admin=True), await server.register("alice")
    room_id = await alice.create_room(name="Den")
    said = [await alice.say(room_id, f"old {number}") for number in range(5)]
    kept = await alice.say(room_id, "kept")
    state = await alice.get(f"/rooms/{room_id}/state")
    await server.homeserver.rooms.search_index.catch_up()
    nothing = await admin.post(f"{V1}/purge_history/{room_id}/{kept}", {})
    await finish(server)
    assert await admin.get(f"{V1}/purge_history_status/{nothing['purge_id']}") == {"status": "complete"}
    assert (await alice.request("GET", f"/rooms/{room_id}/event/{said[0]}")).status == 200
    purge = await admin.post(f"{V1}/purge_history/{room_id}/{kept}", {"delete_local_events": True})
    await finish(server)
    assert await admin.get(f"{V1}/purge_history_status/{purge['purge_id']}") == {"status": "complete"}
    for event_id in said:
        assert (await alice.request("GET", f"/rooms/{room_id}/event/{event_id}")).status == 404
    chunk = (await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=100))["chunk"]
    assert [event["event_id"] for event in chunk if event["type"] == "m.room.message"] == [kept]
    ids = {event["event_id"] for event in state}
    assert {event["event_id"] for event in await alice.get(f"/rooms/{room_id}/state")} == ids
    timeline = (await alice.sync(filter='{"room":{"timeline":{"limit":50}}}'))["rooms"]["join"][room_id]["timeline"]
    assert not any(event["event_id"] in said for event in timeline["events"])
    search = {"search_categories": {"room_events": {"search_term": "old"}}}
    assert (await alice.post("/search", search))["search_categories"]["room_events"]["count"] == 0
    await alice.say(room_id, "it goes on")
    await server.homeserver.admin.stop()
    await server.homeserver.close()


async def test_purges_need_a_point_and_keep_the_newest(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    last = await alice.say(room_id, "last")
    path = f"{V1}/purge_history/{room_id}"
    assert (await admin.request("POST", path, {})).status == 400
    assert (await admin.request("POST", f"{path}/$none", {})).status == 404
    assert (await admin.request("POST", f"{V1}/purge_history/!none:{SERVER_NAME}", {"purge_up_to_ts": 1})).status == 404
    await server.clock.advance(60)
    await admin.post(path, {"purge_up_to_ts": server.clock.now_ms(), "delete_local_events": True})
    await finish(server)
    assert (await alice.request("GET", f"/rooms/{room_id}/event/{last}")).status == 200


async def test_everything_a_user_said_is_redacted(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id, other = await alice.create_room(preset="public_chat"), await alice.create_room()
    await bob.join(room_id)
    said = [await bob.say(room_id, f"spam {number}") for number in range(3)]
    mine = await alice.say(room_id, "mine")
    started = await admin.post(f"{V1}/user/{bob.user_id}/redact", {"rooms": [], "reason": "spam"})
    await finish(server)
    status = await admin.get(f"{V1}/user/redact_status/{started['redact_id']}")
    assert (status["status"], status["failed_redactions"]) == ("complete", {})
    for event_id in said:
        assert (await alice.get(f"/rooms/{room_id}/event/{event_id}"))["content"] == {}
    assert (await alice.get(f"/rooms/{room_id}/event/{mine}"))["content"]["body"] == "mine"
    assert other
    # Somebody who was banned is redacted by a member who may.
    await bob.say(room_id, "more")
    more = await bob.say(room_id, "and more")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
    started = await admin.post(f"{V1}/user/{bob.user_id}/redact", {"rooms": [room_id], "limit": 1})
    await finish(server)
    assert (await alice.get(f"/rooms/{room_id}/event/{more}"))["content"] == {}
    assert (await admin.request("GET", f"{V1}/user/redact_status/none")).status == 404
    assert (await admin.request("POST", f"{V1}/user/{bob.user_id}/redact", {})).status == 400
    tasks = (await admin.get(f"{V1}/scheduled_tasks"))["scheduled_tasks"]
    assert {task["action"] for task in tasks} == {"redact_all_events"}


async def test_purged_messages_are_not_counted_as_unread(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    for number in range(3):
        await alice.say(room_id, f"old {number}")
    kept = await alice.say(room_id, "kept")
    unread = (await bob.sync())["rooms"]["join"][room_id]["unread_notifications"]
    assert unread["notification_count"] == 4
    await admin.post(f"{V1}/purge_history/{room_id}/{kept}", {"delete_local_events": True})
    await finish(server)
    fresh = await server.log_in("bob")
    assert (await fresh.sync())["rooms"]["join"][room_id]["unread_notifications"]["notification_count"] == 1


async def test_who_left_is_told_elsewhere_before_the_room_goes(server: Server, admin: User) -> None:
    _, _, room_id = await furnished(server)
    server.homeserver.admin.rooms.deletion.pause_seconds = 5.0
    server.homeserver.admin.rooms.deletion.pauses_for_bridges = True
    started = (await admin.ok("DELETE", f"{V2}/rooms/{room_id}", {})).json["delete_id"]
    await server.clock.advance(1)
    status = await admin.get(f"{V2}/rooms/delete_status/{started}")
    assert (status["status"], len(status["shutdown_room"]["kicked_users"])) == ("active", 2)
    assert (await rows(server, room_id))["events"] > 5
    await server.clock.advance(5)
    await finish(server)
    assert await rows(server, room_id) == {}
