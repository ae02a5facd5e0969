"""Sending and redacting: transaction ids, sizes, what is refused, and what a redaction leaves behind."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest

from homeserver.storage.synchronous import SynchronousDatabase
from tests.support.databases import open_in_memory
from tests.support.server import SERVER_NAME, V3, Server, User, open_server

MESSAGE = {"msgtype": "m.text", "body": "hello"}


async def bodies(user: User, room: str) -> list[str]:
    page = await user.get(f"/rooms/{room}/messages", dir="f", limit=1000)
    return [one["content"].get("body", "") for one in page["chunk"] if one["type"] == "m.room.message"]


def dump(db: SynchronousDatabase) -> str:
    """Everything that is in the database, as text."""
    found: list[str] = []
    connection = db._connection
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        found += map(repr, connection.execute(f"SELECT * FROM {table}").fetchall())
    return "\n".join(found)


async def test_repeated_transaction_gets_the_first_answer(whole_server: Server) -> None:
    alice = await whole_server.register()
    room, other = await alice.create_room(), await alice.create_room()
    path = "send/m.room.message/txn1"
    first = await alice.put(f"/rooms/{room}/{path}", MESSAGE)
    assert await alice.put(f"/rooms/{room}/{path}", {**MESSAGE, "body": "other"}) == first
    assert await alice.put(f"/rooms/{other}/{path}", MESSAGE) != first
    assert await alice.put(f"/rooms/{room}/send/org.example.type/txn1", MESSAGE) != first
    second_device = await whole_server.log_in("alice")
    assert await second_device.put(f"/rooms/{room}/{path}", MESSAGE) != first
    assert await bodies(alice, room) == ["hello", "hello"]


async def test_concurrent_repeats_send_once(whole_server: Server) -> None:
    alice = await whole_server.register()
    room = await alice.create_room()
    answers = await asyncio.gather(*(alice.put(f"/rooms/{room}/send/m.room.message/same", MESSAGE) for _ in range(10)))
    assert len({one["event_id"] for one in answers}) == 1
    assert await bodies(alice, room) == ["hello"]


async def test_repeat_after_a_restart_gets_the_first_answer() -> None:
    db = open_in_memory()
    server = open_server(db)
    alice = await server.register()
    room = await alice.create_room()
    path = f"/rooms/{room}/send/m.room.message/txn"
    first = await alice.put(path, MESSAGE)
    redaction = await alice.put(f"/rooms/{room}/redact/{first['event_id']}/txn", {})
    await server.homeserver.close()
    again = open_server(db)
    alice.server = again
    assert await alice.put(path, MESSAGE) == first
    assert await alice.put(f"/rooms/{room}/redact/{first['event_id']}/txn", {}) == redaction
    fresh = await alice.put(f"/rooms/{room}/send/m.room.message/txn2", MESSAGE)
    assert fresh != first
    await again.close()


async def test_failed_transaction_can_be_tried_again(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(preset="public_chat")
    path = f"/rooms/{room}/send/m.room.message/txn"
    assert (await bob.request("PUT", path, MESSAGE)).status == 403
    await bob.join(room)
    assert (await bob.request("PUT", path, MESSAGE)).status == 200


async def test_only_the_sending_device_sees_its_transaction_id(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    phone = await whole_server.log_in("alice")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    event_id = (await alice.put(f"/rooms/{room}/send/m.room.message/a%2Fb%20c", MESSAGE))["event_id"]
    shown = {}
    for name, user in (("alice", alice), ("phone", phone), ("bob", bob)):
        event = await user.get(f"/rooms/{room}/event/{event_id}")
        timeline = (await user.sync())["rooms"]["join"][room]["timeline"]["events"]
        shown[name] = event["unsigned"].get("transaction_id")
        assert timeline[-1]["unsigned"].get("transaction_id") == shown[name]
    assert shown == {"alice": "a/b c", "phone": None, "bob": None}
    assert (await alice.get(f"/rooms/{room}/messages", dir="b"))["chunk"][0]["unsigned"]["transaction_id"] == "a/b c"


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"{", "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b'"text"', "M_BAD_JSON"),
        (b'{"body": 1.5}', "M_BAD_JSON"),
        (b'{"body": {"deep": [1e2]}}', "M_BAD_JSON"),
        (b'{"body": 9007199254740992}', "M_BAD_JSON"),
        (b'{"body": -9007199254740992}', "M_BAD_JSON"),
        (b'{"body": NaN}', "M_NOT_JSON"),
        (b'{"body": "\\ud800"}', None),
        (b'{"body": "\xff"}', "M_NOT_JSON"),
    ],
)
async def test_D06_bad_json_is_refused(whole_server: Server, body: bytes, errcode: str | None) -> None:
    alice = await whole_server.register()
    room = await alice.create_room()
    for path in ("send/m.room.message/t1", "state/m.room.topic/"):
        answer = await whole_server.client.request("PUT", f"{V3}/rooms/{room}/{path}", body=body, token=alice.token)
        assert answer.status == 400, answer.body
        assert answer.json["errcode"] in ("M_NOT_JSON", "M_BAD_JSON")
        assert errcode is None or answer.json["errcode"] == errcode
    assert await bodies(alice, room) == []


async def test_A19_largest_event_passes_and_one_byte_more_does_not(whole_server: Server) -> None:
    alice = await whole_server.register()
    room = await alice.create_room()
    fits, too_big = 0, 65_536
    homeserver = whole_server.homeserver
    while too_big - fits > 1:
        size = (fits + too_big) // 2
        answer = await alice.request(
            "PUT", f"/rooms/{room}/send/m.room.message/s{size}", {"msgtype": "m.text", "body": "é" * (size // 2)}
        )
        if answer.status == 200:
            fits, kept = size, answer.json["event_id"]
        else:
            assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")
            too_big = size
    live = await homeserver.rooms.live.get(room)
    (stored,) = await homeserver.rooms.events.find_events(room, live.version, [kept])
    assert 65_530 <= len(msgspec.json.encode(stored.event.pdu)) <= 65_536


@pytest.mark.parametrize("letter", ["x", "é"])
async def test_A19_types_and_state_keys_are_limited_in_bytes(whole_server: Server, letter: str) -> None:
    alice = await whole_server.register()
    room = await alice.create_room()
    most = 255 // len(letter.encode())
    for count, status in ((most, 200), (most + 1, 413)):
        name = letter * count
        for path in (f"send/{name}/t{count}", f"state/{name}/", f"state/x/{name}"):
            answer = await alice.request("PUT", f"/rooms/{room}/{path}", {})
            assert answer.status == status, path


async def test_outsiders_and_the_powerless_may_not_send(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(preset="public_chat")
    missing = f"!nowhere:{SERVER_NAME}"
    for place, path in ((room, "send/m.room.message/t"), (room, "state/m.room.topic/")):
        assert (await bob.request("PUT", f"/rooms/{place}/{path}", MESSAGE)).status == 403
    assert (await bob.request("PUT", f"/rooms/{missing}/send/m.room.message/t", MESSAGE)).status in (403, 404)
    await bob.join(room)
    assert (await bob.request("PUT", f"/rooms/{room}/state/m.room.topic/", {"topic": "x"})).status == 403
    levels = await alice.get(f"/rooms/{room}/state/m.room.power_levels")
    await alice.set_state(room, "m.room.power_levels", {**levels, "events_default": 50})
    assert (await bob.request("PUT", f"/rooms/{room}/send/m.room.message/t", MESSAGE)).status == 403
    for event_type in ("m.room.create", "m.room.member"):
        assert (await alice.request("PUT", f"/rooms/{room}/send/{event_type}/t", {})).status in (400, 403)


@pytest.mark.parametrize("version", ["1", "3", "10", "11", "12"])
async def test_redaction_follows_the_rules_of_own_and_others_events(whole_server: Server, version: str) -> None:
    alice, bob, carol = [await whole_server.register(name) for name in ("alice", "bob", "carol")]
    # Event ids of version 3 may hold slashes, which belong to the path unless they are quoted.
    room = await alice.create_room(preset="public_chat", room_version=version)
    for user in (bob, carol):
        await user.join(room)

    async def redact(user: User, event_id: str, txn: str) -> int:
        from urllib.parse import quote

        return (await user.request("PUT", f"/rooms/{room}/redact/{quote(event_id, safe='')}/{txn}", {})).status

    said = await bob.say(room, "secret")
    assert await redact(carol, said, "a") == 403
    assert await redact(bob, said, "b") == 200
    assert await redact(alice, await bob.say(room, "another"), "c") == 200
    assert await redact(bob, "$nothing", "d") == 404
    events = (await alice.get(f"/rooms/{room}/messages", dir="f", limit=1))["chunk"]
    assert await redact(alice, events[0]["event_id"], "e") == 403
    await bob.post(f"/rooms/{room}/leave")
    assert await redact(bob, said, "f") == 403


async def test_redaction_by_send_names_its_target_in_the_content(whole_server: Server) -> None:
    alice = await whole_server.register()
    room = await alice.create_room()
    said = await alice.say(room, "secret")
    await alice.send(room, "m.room.redaction", {"redacts": said, "reason": "typo"})
    assert (await alice.get(f"/rooms/{room}/event/{said}"))["content"] == {}
    for content in ({}, {"redacts": 5}):
        answer = await alice.request("PUT", f"/rooms/{room}/send/m.room.redaction/x", content)
        assert answer.status == 400


async def test_G04_redacted_text_is_nowhere_any_more() -> None:
    db = open_in_memory()
    server = open_server(db)
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await bob.sync()
    said = await alice.say(room, "SECRET words")
    edit = await alice.say(
        room,
        "* SECRET words",
        **{"m.new_content": {"body": "SECRET words"}, "m.relates_to": {"rel_type": "m.replace", "event_id": said}},
    )
    topic = await alice.set_state(room, "m.room.topic", {"topic": "SECRET topic"})
    await alice.set_state(room, "m.room.topic", {"topic": "plain"})
    reason = (await alice.put(f"/rooms/{room}/redact/{edit}/r0", {"reason": "SECRET reason"}))["event_id"]
    await bob.sync()
    for index, event_id in enumerate((said, topic, reason)):
        await alice.put(f"/rooms/{room}/redact/{event_id}/r{index + 1}", {})
    everything = dump(db)
    assert "plain" in everything
    assert "SECRET" not in everything

    async def views(user: User) -> list[Any]:
        return [
            await user.get("/sync"),
            await user.get(f"/rooms/{room}/messages", dir="b", limit=100),
            await user.get(f"/rooms/{room}/state"),
            await user.get(f"/rooms/{room}/context/{said}", limit=100),
            await user.get(f"/rooms/{room}/event/{edit}"),
        ]

    for user in (alice, bob):
        assert "SECRET" not in repr(await views(user))
    await server.homeserver.close()
    again = open_server(db)
    alice.server = again
    assert "SECRET" not in repr(await views(alice))
    await again.close()


async def test_G04_replaced_state_is_forgotten_in_memory_too() -> None:
    db = open_in_memory()
    server = open_server(db)
    alice = await server.register()
    room = await alice.create_room()
    topic = await alice.set_state(room, "m.room.topic", {"topic": "SECRET"})
    await alice.set_state(room, "m.room.topic", {"topic": "plain"})
    await server.homeserver.close()
    again = open_server(db)  # the room is loaded anew: its state is in memory, its timeline is not
    alice.server = again
    assert "SECRET" in repr(await alice.get(f"/rooms/{room}/state"))
    await alice.put(f"/rooms/{room}/redact/{topic}/r", {})
    assert "SECRET" not in repr(await alice.get(f"/rooms/{room}/state"))
    await again.close()


async def test_many_writers_keep_one_line_and_their_own_order(stored_server: Server) -> None:
    alice = await stored_server.register("alice")
    others = [await stored_server.register(f"user{number}") for number in range(5)]
    room = await alice.create_room(preset="public_chat")
    for other in others:
        await other.join(room)

    async def talk(user: User) -> None:
        for number in range(6):
            await user.say(room, f"{user.user_id} {number}")

    await asyncio.gather(*(talk(user) for user in (alice, *others)))
    services = stored_server.homeserver.rooms
    live = await services.live.get(room)
    stored = await services.events.list_timeline(room, live.version, limit=1000, newest_first=False)
    for before, after in itertools.pairwise(stored):
        assert after.event.prev_events == [before.event_id]
        assert after.event.depth == before.event.depth + 1
        assert after.position > before.position
    said = await bodies(alice, room)
    for user in (alice, *others):
        mine = [one for one in said if one.startswith(user.user_id)]
        assert mine == [f"{user.user_id} {number}" for number in range(6)]
