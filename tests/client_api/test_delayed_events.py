"""Events that are sent later (MSC4140), over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.rooms.delayed_events import DelayedEventSettings
from homeserver.rooms.services import RoomSettings
from homeserver.storage.database import Database, Transaction
from homeserver.users.requester import Requester
from tests.support.server import PASSWORD, SERVER_NAME, Server, User, open_server, server_settings

DELAYED = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
DELAY = "org.matrix.msc4140.delay"
CALL = "org.matrix.msc3401.call.member"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = open_server()
    yield running
    await running.close()


async def schedule(user: User, room_id: str, delay_ms: int = 10_000, txn: str = "d1", **content: Any) -> str:
    body = {"msgtype": "m.text", "body": "later", **content}
    answer = await user.put(f"/rooms/{room_id}/send/m.room.message/{txn}", body, **{DELAY: delay_ms})
    assert list(answer) == ["delay_id"]
    delay_id: str = answer["delay_id"]
    return delay_id


async def schedule_state(user: User, room_id: str, state_key: str, delay_ms: int = 10_000, type: str = CALL) -> str:
    answer = await user.put(f"/rooms/{room_id}/state/{type}/{state_key}", {}, **{DELAY: delay_ms})
    delay_id: str = answer["delay_id"]
    return delay_id


async def bodies(user: User, room_id: str) -> list[str]:
    chunk = (await user.get(f"/rooms/{room_id}/messages", dir="b", limit=50))["chunk"]
    return [event["content"]["body"] for event in reversed(chunk) if event["type"] == "m.room.message"]


async def listed(user: User, **query: Any) -> Any:
    return await user.get(DELAYED, **query)


async def test_event_is_sent_when_its_time_has_come(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    delay_id = await schedule(alice, room_id)
    waiting = (await listed(alice))["scheduled"]
    assert [(one["delay_id"], one["delay"], one["room_id"], one["content"]["body"]) for one in waiting] == [
        (delay_id, 10_000, room_id, "later")
    ]
    await server.clock.advance(9.9)
    assert await bodies(alice, room_id) == []
    await server.clock.advance(0.2)
    assert await bodies(alice, room_id) == ["later"]
    body = await listed(alice)
    assert (body["scheduled"], body["delayed_events"]) == ([], [])
    (ended,) = body["finalised"]
    assert (ended["outcome"], ended["reason"], ended["delayed_event"]["delay_id"]) == ("send", "delay", delay_id)
    event = await alice.get(f"/rooms/{room_id}/event/{ended['event_id']}")
    assert event["unsigned"]["org.matrix.msc4140.delay_id"] == delay_id
    assert "transaction_id" not in event["unsigned"]
    await server.clock.advance(3600)
    assert await bodies(alice, room_id) == ["later"]


async def test_restarted_event_waits_its_whole_delay_anew(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    delay_id = await schedule(alice, room_id)
    for _ in range(3):
        await server.clock.advance(8)
        assert (await server.request("POST", f"{DELAYED}/{delay_id}/restart")).status == 200
    assert await bodies(alice, room_id) == []
    await server.clock.advance(10)
    assert await bodies(alice, room_id) == ["later"]
    gone = await server.request("POST", f"{DELAYED}/{delay_id}/restart")
    assert (gone.status, gone.json["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("in_body", [False, True])
async def test_cancelled_event_is_never_sent_and_cancelling_twice_is_fine(server: Server, in_body: bool) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    delay_id = await schedule(alice, room_id)
    path, body = (f"{DELAYED}/{delay_id}", {"action": "cancel"}) if in_body else (f"{DELAYED}/{delay_id}/cancel", {})
    for _ in range(2):
        assert (await server.request("POST", path, body)).json == {}
    await server.clock.advance(60)
    assert await bodies(alice, room_id) == []
    assert (await server.request("POST", f"{DELAYED}/{delay_id}/send")).status == 404
    (ended,) = (await listed(alice, status="finalised"))["finalised"]
    assert (ended["outcome"], ended["reason"]) == ("cancel", "action")


@pytest.mark.parametrize("in_body", [False, True])
async def test_event_is_sent_at_once_when_asked_and_only_once(server: Server, in_body: bool) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    delay_id = await schedule(alice, room_id)
    path, body = (f"{DELAYED}/{delay_id}", {"action": "send"}) if in_body else (f"{DELAYED}/{delay_id}/send", {})
    for _ in range(2):
        assert (await server.request("POST", path, body)).json == {}
    await server.clock.advance(60)
    assert await bodies(alice, room_id) == ["later"]
    assert (await server.request("POST", f"{DELAYED}/{delay_id}/cancel")).status == 404


async def test_unknown_ids_and_actions_are_refused(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    for action in ("restart", "cancel", "send"):
        for answer in (
            await server.request("POST", f"{DELAYED}/nothing/{action}"),
            await server.request("POST", f"{DELAYED}/nothing", {"action": action}),
        ):
            assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    delay_id = await schedule(alice, room_id)
    wrong = await server.request("POST", f"{DELAYED}/{delay_id}", {"action": "forget"})
    assert (wrong.status, wrong.json["errcode"]) == (400, "M_INVALID_PARAM")
    missing = await server.request("POST", f"{DELAYED}/{delay_id}", {})
    assert (missing.status, missing.json["errcode"]) == (400, "M_MISSING_PARAM")
    assert (await server.request("GET", DELAYED)).status == 401
    assert (await alice.request("GET", DELAYED, status="odd")).status == 400


@pytest.mark.parametrize("delay", ["-1", "x", "1.5", ""])
async def test_delays_that_are_no_durations_are_refused(server: Server, delay: str) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "x"}, **{DELAY: delay})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_too_long_delay_says_what_the_longest_is() -> None:
    settings = DelayedEventSettings(max_delay_ms=5_000)
    server = open_server(settings=server_settings(rooms=RoomSettings(SERVER_NAME, delayed_events=settings)))
    alice = await server.register()
    room_id = await alice.create_room()
    answer = await alice.request(
        "PUT", f"/rooms/{room_id}/send/m.room.message/t", {"msgtype": "m.text", "body": "x"}, **{DELAY: 5_001}
    )
    assert answer.status == 400
    assert answer.json["errcode"] == "M_UNKNOWN"
    assert answer.json["org.matrix.msc4140.errcode"] == "M_MAX_DELAY_EXCEEDED"
    assert answer.json["org.matrix.msc4140.max_delay"] == 5_000
    capabilities = (await alice.get("/capabilities"))["capabilities"]
    assert capabilities["org.matrix.msc4140.delayed_events"] == {"max_delay_ms": 5_000, "max_scheduled": 100}
    versions = (await server.request("GET", "/_matrix/client/versions")).json
    assert versions["unstable_features"]["org.matrix.msc4140"] is True
    await server.close()


async def test_D17_a_user_may_have_so_many_waiting_and_is_told_when_to_come_back() -> None:
    settings = DelayedEventSettings(max_of_user=2)
    server = open_server(settings=server_settings(rooms=RoomSettings(SERVER_NAME, delayed_events=settings)))
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await schedule(alice, room_id, 4_000, "t1")
    await schedule(alice, room_id, 9_000, "t2")
    full = await alice.request(
        "PUT", f"/rooms/{room_id}/send/m.room.message/t3", {"msgtype": "m.text", "body": "x"}, **{DELAY: 1_000}
    )
    assert (full.status, full.json["errcode"], full.json["retry_after_ms"]) == (429, "M_LIMIT_EXCEEDED", 4_000)
    assert full.headers["retry-after"] == "4"
    await schedule(bob, room_id, 9_000, "t1")
    await server.clock.advance(5)
    await schedule(alice, room_id, 1_000, "t3")
    await server.close()


async def test_repeated_transaction_gets_the_same_delay_id(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    first = await schedule(alice, room_id)
    assert await schedule(alice, room_id) == first
    assert await schedule(alice, room_id, txn="d2") != first
    await server.clock.advance(60)
    assert await bodies(alice, room_id) == ["later", "later"]
    assert await schedule(alice, room_id) == first
    await server.clock.advance(60)
    assert await bodies(alice, room_id) == ["later", "later"]


async def test_state_set_by_somebody_else_cancels_and_own_state_does_not(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(
        preset="public_chat", power_level_content_override={"events": {CALL: 0, "m.room.topic": 0}}
    )
    await bob.join(room_id)
    own, others = f"_{alice.user_id}_A", "shared"
    for key in (own, others, "untouched"):
        await alice.set_state(room_id, CALL, {"here": True}, key)
        await schedule_state(alice, room_id, key)
    await alice.set_state(room_id, CALL, {"here": "still"}, own)
    await bob.set_state(room_id, CALL, {"here": "bob"}, others)
    await bob.set_state(room_id, "m.room.topic", {"topic": "calls"})
    await server.clock.advance(11)
    state = {key: await alice.get(f"/rooms/{room_id}/state/{CALL}/{key}") for key in (own, others, "untouched")}
    assert state == {own: {}, others: {"here": "bob"}, "untouched": {}}
    ended = {
        one["delayed_event"]["state_key"]: (one["outcome"], one["reason"]) for one in (await listed(alice))["finalised"]
    }
    assert ended == {own: ("send", "delay"), others: ("cancel", "action"), "untouched": ("send", "delay")}


async def test_whoever_has_left_sends_nothing_and_learns_why(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    delay_id = await schedule(bob, room_id)
    outsider = await server.register("carol")
    refused = await outsider.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "x"}, **{DELAY: 1})
    assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
    await bob.post(f"/rooms/{room_id}/leave")
    await server.clock.advance(11)
    assert await bodies(alice, room_id) == []
    (ended,) = (await listed(bob))["finalised"]
    assert (ended["outcome"], ended["reason"], ended["error"]["errcode"]) == ("cancel", "error", "M_FORBIDDEN")
    assert (await listed(bob, delay_id="other")) == {"scheduled": [], "finalised": [], "delayed_events": []}
    assert len((await listed(bob, delay_id=delay_id))["finalised"]) == 1
    assert (await listed(alice))["finalised"] == []


async def test_nothing_is_sent_or_kept_of_an_account_that_ended(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    delay_id = await schedule(bob, room_id)
    identifier = {"type": "m.id.user", "user": "bob"}
    auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    await bob.post("/account/deactivate", {"auth": auth})
    await server.clock.advance(20)
    assert await bodies(alice, room_id) == []
    assert (await server.request("POST", f"{DELAYED}/{delay_id}/send")).status == 404


async def test_delayed_leave_and_redaction_are_done_as_if_sent_then(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    event_id = await bob.say(room_id, "too much said")
    await bob.put(f"/rooms/{room_id}/send/m.room.redaction/r", {"redacts": event_id}, **{DELAY: 1_000})
    leave = await bob.put(
        f"/rooms/{room_id}/state/m.room.member/{bob.user_id}", {"membership": "leave"}, **{DELAY: 2_000}
    )
    await server.clock.advance(3)
    assert (await alice.get(f"/rooms/{room_id}/event/{event_id}"))["content"] == {}
    assert list((await alice.get(f"/rooms/{room_id}/joined_members"))["joined"]) == [alice.user_id]
    (ended,) = (await listed(bob, delay_id=leave["delay_id"]))["finalised"]
    assert ended["outcome"] == "send"


async def test_what_waits_survives_a_restart_and_is_sent_once(database: Database) -> None:
    first = open_server(database)
    alice, bob = await first.register(), await first.register("bob")
    room_id = await alice.create_room(
        preset="public_chat", power_level_content_override={"events": {CALL: 0, "m.room.topic": 0}}
    )
    await bob.join(room_id)
    past = await schedule(alice, room_id, 5_000, "t1", body="due while down")
    await schedule(alice, room_id, 60_000, "t2", body="due later")
    in_hand = await schedule(alice, room_id, 5_000, "t3", body="in hand")
    unnoted = await schedule(alice, room_id, 5_000, "t4", body="sent, but not noted")
    overtaken = await schedule_state(alice, room_id, "k")
    await first.homeserver.close()

    async def die_while_sending(txn: Transaction) -> None:
        await txn.execute("UPDATE delayed_events SET status = 1 WHERE delay_id IN (?, ?)", (in_hand, unnoted))

    await database.write(die_while_sending)
    sending = first.homeserver.rooms.sending
    sent = {"msgtype": "m.text", "body": "sent, but not noted"}
    requester = Requester(alice.user_id, alice.device_id)
    await sending.send_delayed(requester, room_id, "m.room.message", None, sent, delay_id=unnoted)
    await sending.set_state(Requester(bob.user_id, bob.device_id), room_id, CALL, "k", {"here": "bob"})

    second = open_server(database)
    await second.clock.advance(6)
    await second.homeserver.start()
    await settled(second)
    again = User(second, alice.user_id, alice.token, alice.device_id)
    assert sorted(await bodies(again, room_id)) == ["due while down", "in hand", "sent, but not noted"]
    ended = {one["delayed_event"]["delay_id"]: one["outcome"] for one in (await listed(again))["finalised"]}
    assert ended == {past: "send", in_hand: "send", unnoted: "send", overtaken: "cancel"}
    await second.clock.advance(60)
    await settled(second)
    assert sorted(await bodies(again, room_id)) == ["due later", "due while down", "in hand", "sent, but not noted"]
    assert (await listed(again))["scheduled"] == []
    await second.homeserver.close()


async def settled(server: Server) -> None:
    """Until nothing is being sent any more; with a real database that takes more than turns of the loop."""
    await server.clock.advance(0)
    await server.homeserver.rooms.delayed_events.settle()
