"""What application services are told: everything they asked for, in order, once; through failures and restarts."""

from __future__ import annotations

import pytest

from homeserver.appservice_api.client import AppserviceAnswer
from homeserver.appservice_api.sender import LAST_RETRY_SECONDS
from tests.appservice_api.appservices import FakeCalls, acting, ghost, open_with_appservices, registration
from tests.support.clock import settle
from tests.support.databases import open_in_memory
from tests.support.server import SERVER_NAME

IRC = registration()


async def test_a_service_hears_of_rooms_with_its_users_and_of_no_others() -> None:
    server, calls = await open_with_appservices(IRC)
    alice = await server.register()
    bob_id = await ghost(server, IRC, "_irc_bob")
    shared, private = await alice.create_room(preset="public_chat"), await alice.create_room()
    await acting(server, IRC).post(f"/rooms/{shared}/join", user_id=bob_id)
    await alice.say(shared, "to everybody")
    await alice.say(private, "to myself")
    await settle()
    assert calls.bodies == ["to everybody"]
    events = [event for one in calls.received for event in one.content["events"]]
    assert {event["room_id"] for event in events} == {shared}
    assert [one.txn_id for one in calls.received] == sorted({one.txn_id for one in calls.received})
    await server.close()


async def test_an_invite_of_a_ghost_is_told() -> None:
    server, calls = await open_with_appservices(IRC)
    alice = await server.register()
    bob_id = await ghost(server, IRC, "_irc_bob")
    room_id = await alice.create_room()
    await alice.post(f"/rooms/{room_id}/invite", {"user_id": bob_id})
    await settle()
    (event,) = [event for one in calls.received for event in one.content["events"]]
    assert (event["type"], event["state_key"], event["content"]["membership"]) == ("m.room.member", bob_id, "invite")
    await server.close()


async def test_W33_a_transaction_is_sent_under_the_same_number_until_it_is_taken() -> None:
    server, calls = await open_with_appservices(IRC, calls=FakeCalls(statuses=[500, 0, 503]))
    alice = await server.register()
    room_id = await alice.create_room(preset="public_chat")
    await acting(server, IRC).post(f"/rooms/{room_id}/join")
    for number in range(5):
        await alice.say(room_id, f"message {number}")
    for _ in range(6):
        await settle()
        await server.clock.advance(10)
    numbers = [one.txn_id for one in calls.received]
    assert numbers[:4] == [1, 1, 1, 1]
    assert all(one.content == calls.received[0].content for one in calls.received[:4])
    assert calls.bodies == [f"message {number}" for number in range(5)]
    await server.close()


async def test_D09_a_service_that_is_away_is_asked_ever_more_rarely_and_never_rarer_than_the_cap() -> None:
    server, calls = await open_with_appservices(IRC, calls=FakeCalls(statuses=[0] * 10_000))
    alice = await server.register()
    room_id = await alice.create_room(preset="public_chat")
    await acting(server, IRC).post(f"/rooms/{room_id}/join")
    await settle()
    waits, last = [], 0.0
    for second in range(1_500):
        asked = len(calls.received)
        await server.clock.advance(1)
        assert len(calls.received) - asked <= 1, "it is asked again and again without waiting"
        if len(calls.received) > asked:
            waits.append(second - last)
            last = second
    assert waits == sorted(waits), "it waits less after a further failure"
    assert waits[-1] == LAST_RETRY_SECONDS
    calls.statuses.clear()
    await server.clock.advance(LAST_RETRY_SECONDS)
    assert calls.received[-1].txn_id == 1
    await server.close()


@pytest.mark.parametrize("stop_before", range(1, 6))
async def test_W33_a_restart_of_the_server_loses_and_doubles_nothing(stop_before: int) -> None:
    db = open_in_memory()
    calls = FakeCalls(statuses=[0] * stop_before)
    server, _ = await open_with_appservices(IRC, calls=calls, db=db)
    alice = await server.register()
    room_id = await alice.create_room(preset="public_chat")
    await acting(server, IRC).post(f"/rooms/{room_id}/join")
    await alice.say(room_id, "before")
    await settle()
    await server.homeserver.close()

    server, _ = await open_with_appservices(IRC, calls=calls, db=db)
    alice = await server.log_in()
    await alice.say(room_id, "after")
    for _ in range(10):
        await settle()
        await server.clock.advance(10)
    assert calls.bodies == ["before", "after"]
    await server.close()


async def test_a_batch_holds_at_most_a_hundred_events() -> None:
    db = open_in_memory()
    calls = FakeCalls(statuses=[0])
    server, _ = await open_with_appservices(IRC, calls=calls, db=db)
    alice = await server.register()
    room_id = await alice.create_room(preset="public_chat")
    await acting(server, IRC).post(f"/rooms/{room_id}/join")
    await settle()
    for number in range(250):
        await alice.say(room_id, str(number))
    for _ in range(6):
        await settle(200)
        await server.clock.advance(10)
    assert calls.bodies == [str(number) for number in range(250)]
    assert max(len(one.content["events"]) for one in calls.received) == 100
    await server.close()


async def test_ephemeral_events_reach_those_who_asked_for_them() -> None:
    typist = registration(receive_ephemeral=True)
    server, calls = await open_with_appservices(typist)
    alice = await server.register()
    room_id = await alice.create_room(preset="public_chat")
    await acting(server, typist).post(f"/rooms/{room_id}/join")
    event_id = await alice.say(room_id, "x")
    await alice.put(f"/rooms/{room_id}/typing/{alice.user_id}", {"typing": True, "timeout": 5000})
    await alice.post(f"/rooms/{room_id}/receipt/m.read/{event_id}")
    await alice.post(f"/rooms/{room_id}/receipt/m.read.private/{event_id}")
    await settle()
    ephemeral = [event for one in calls.received for event in one.content.get("ephemeral", ())]
    assert {"type": "m.typing", "room_id": room_id, "content": {"user_ids": [alice.user_id]}} in ephemeral
    (receipt,) = [event for event in ephemeral if event["type"] == "m.receipt"]
    assert list(receipt["content"][event_id]) == ["m.read"]
    await server.close()


async def test_a_name_in_a_services_namespace_is_asked_for() -> None:
    calls = FakeCalls()
    server, _ = await open_with_appservices(IRC, calls=calls)
    alice = await server.register()
    alias = f"#_irc_chan:{SERVER_NAME}"
    assert (await alice.request("GET", f"/directory/room/{alias.replace('#', '%23')}")).status == 404
    assert calls.asked == [alias]
    room_id = await acting(server, IRC).create_room(preset="public_chat", room_alias_name="_irc_chan")
    assert (await alice.get(f"/directory/room/{alias.replace('#', '%23')}"))["room_id"] == room_id
    await server.close()


async def test_F10_names_of_a_service_are_refused_to_others() -> None:
    xmpp = registration("xmpp")
    server, _ = await open_with_appservices(IRC, xmpp)
    alice = await server.register()
    for user in (alice, acting(server, xmpp)):
        answer = await user.request("POST", "/createRoom", {"room_alias_name": "_irc_chan"})
        assert (answer.status, answer.json["errcode"]) == (400, "M_EXCLUSIVE")
        answer = await user.request("POST", "/createRoom", {}, user_id=f"@_irc_bob:{SERVER_NAME}")
        assert answer.status == (200 if user is alice else 403)
    await server.close()


@pytest.mark.parametrize(
    ("pong", "status", "errcode"),
    [
        (AppserviceAnswer(0, error="refused"), 502, "M_CONNECTION_FAILED"),
        (AppserviceAnswer(0, timed_out=True), 504, "M_CONNECTION_TIMEOUT"),
        (AppserviceAnswer(401, b"no"), 502, "M_BAD_STATUS"),
    ],
)
async def test_a_ping_says_why_a_service_is_not_reached(pong: AppserviceAnswer, status: int, errcode: str) -> None:
    server, _ = await open_with_appservices(IRC, calls=FakeCalls(pong=pong))
    answer = await acting(server, IRC).request("POST", "/_matrix/client/v1/appservice/irc/ping", {})
    assert (answer.status, answer.json["errcode"]) == (status, errcode)
    await server.close()


async def test_a_ping_measures_the_way_and_only_of_oneself() -> None:
    nowhere = registration("nowhere", url=None)
    server, _ = await open_with_appservices(IRC, nowhere)
    path = "/_matrix/client/v1/appservice/{}/ping"
    assert "duration_ms" in (await acting(server, IRC).post(path.format("irc"), {"transaction_id": "t"}))
    assert (await acting(server, nowhere).request("POST", path.format("irc"), {})).status == 403
    answer = await acting(server, nowhere).request("POST", path.format("nowhere"), {})
    assert (answer.status, answer.json["errcode"]) == (400, "M_URL_NOT_SET")
    alice = await server.register()
    assert (await alice.request("POST", path.format("irc"), {})).status == 403
    await server.close()
