"""History of before the join: who sees what of it, by the visibility of its time, and what a liar may make of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.federation.past import Past, scrolled
from tests.support.federation import FederatedServer, Network, settle
from tests.support.liar import V1, Liar
from tests.support.server import User

ALICE = "@alice:one.test"


async def test_G05_history_is_shown_by_the_visibility_of_its_time(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_version="11")

    async def visibility(value: str) -> None:
        await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": value})

    first = await alice.say(room_id, "while shared")
    await visibility("joined")
    hidden = [await alice.say(room_id, "while joined"), await alice.say(room_id, "again")]
    await visibility("invited")
    hidden.append(await alice.say(room_id, "while not invited"))
    await alice.post(f"/rooms/{room_id}/invite", {"user_id": bob.user_id})
    invited = await alice.say(room_id, "while invited")
    await visibility("joined")
    hidden.append(await alice.say(room_id, "invited, and for members only"))
    await visibility("world_readable")
    world = await alice.say(room_id, "for all")
    await visibility("joined")
    hidden.append(await alice.say(room_id, "at last"))
    await settle(one, two)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    seen = await scrolled(bob, room_id)
    assert {first, invited, world} <= set(seen)
    assert not set(hidden) & set(seen)
    assert seen[-1] == (await two.homeserver.rooms.live.get(room_id)).state_ids["m.room.create", ""]
    assert len(seen) == len(set(seen))
    mine = [event_id for event_id in await scrolled(alice, room_id) if event_id not in hidden]
    shown = [event_id for event_id in seen if event_id in mine]
    assert shown == [event_id for event_id in mine if event_id in shown]


@pytest.fixture
async def past(network: Network) -> Past:
    return Past(Liar(network))


@pytest.fixture
async def alice(one: FederatedServer) -> User:
    return await one.register("alice")


async def test_G05_who_tells_more_than_the_visibility_allows_does_not_make_us_show_it(
    one: FederatedServer, past: Past, alice: User
) -> None:
    shared = past.add()
    past.visibility("joined")
    hidden = [past.add(content={"msgtype": "m.text", "body": f"needle {n}"}) for n in range(6)]
    past.visibility("shared")
    open_again = past.add()
    await past.joined_by(alice)
    seen = await scrolled(alice, past.room_id)
    assert {shared.event_id, open_again.event_id} <= set(seen)
    rows = await one.homeserver.db.fetch_all("SELECT event_id FROM events WHERE status = 0")
    assert {event.event_id for event in hidden} <= {row[0] for row in rows}, "they are here, and shown to nobody"
    assert not {event.event_id for event in hidden} & set(seen)
    for event in hidden:
        path = f"/rooms/{past.room_id}"
        for target in (f"{path}/event/{event.event_id}", f"{path}/context/{event.event_id}"):
            assert (await alice.request("GET", target)).status == 404
    found = await alice.post("/search", {"search_categories": {"room_events": {"search_term": "needle"}}})
    assert found["search_categories"]["room_events"]["results"] == []
    told = await alice.get(f"/rooms/{past.room_id}/context/{shared.event_id}", limit=20)
    assert not any(event.event_id in str(told) for event in hidden)
    assert {event["type"] for event in told["state"]} >= {"m.room.create", "m.room.power_levels", "m.room.member"}


async def test_G05_other_servers_are_told_of_fetched_history_by_its_visibility_too(
    network: Network, one: FederatedServer, past: Past, alice: User
) -> None:
    past.visibility("joined")
    hidden = past.add(content={"msgtype": "m.text", "body": "geheim"}, sender="@mallory:liar.test")
    past.visibility("shared")
    await past.joined_by(alice)
    await scrolled(alice, past.room_id)
    other = Liar(network, "other.test")
    await other.join(one, past.room_id)
    path = f"{V1}/event/{hidden.event_id.replace('$', '%24')}"
    answer = await other.request(one, "GET", path)
    assert answer.status == 200
    assert b"geheim" not in answer.body
    backfilled = await other.request(
        one, "GET", f"{V1}/backfill/%21past%3Aliar.test?v={hidden.event_id.replace('$', '%24')}&limit=10"
    )
    assert backfilled.status == 200
    assert b"geheim" not in backfilled.body
    assert b"geheim" in (await past.liar.request(one, "GET", path)).body


async def test_A17_forged_history_is_kept_out(one: FederatedServer, past: Past, alice: User) -> None:
    """Of a user who was banned; of one who never was in the room; power taken; and what nothing leads to."""
    liar = past.liar
    past.add()
    past.member("@eve:liar.test", "join", sender="@eve:liar.test")
    joined = past.room.state["m.room.member", "@eve:liar.test"]
    past.member("@eve:liar.test", "ban")
    stale: list[Any] = [past.room.state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    forged = [past.add(sender="@eve:liar.test", auth=[*stale, joined]) for _ in range(2)]
    forged.append(past.add(sender="@nobody:liar.test", auth=stale))
    taken = {"users": {"@eve:liar.test": 100, liar.user: 100}}
    forged.append(
        past.add(
            "m.room.power_levels", taken, state_key="", sender="@eve:liar.test", auth=[*stale, joined], counts=False
        )
    )
    after = past.add()
    adrift = [liar.event(past.room, content={"body": f"adrift {n}"}) for n in range(5)]
    past.extra = [event.pdu for event in adrift]
    await past.joined_by(alice)
    seen = await scrolled(alice, past.room_id)
    assert after.event_id in seen
    assert seen[-1] == past.events[0].event_id
    assert not {event.event_id for event in (*forged, *adrift)} & set(seen)
    rows = await one.homeserver.db.fetch_all("SELECT event_id FROM events")
    assert not {event.event_id for event in adrift} & {row[0] for row in rows}
    room = await one.homeserver.rooms.live.get(past.room_id)
    assert room.state_ids["m.room.power_levels", ""] == past.room.state["m.room.power_levels", ""].event_id
    assert {head.event_id for head in room.extremities}.isdisjoint(event.event_id for event in past.events)


async def test_A16_two_hundred_rejected_events_do_not_end_the_history(past: Past, alice: User) -> None:
    oldest = past.add()
    stale: list[Any] = [past.room.state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    rejected = [past.add(sender="@nobody:liar.test", auth=stale) for _ in range(200)]
    newest = past.add()
    past.page = 30
    await past.joined_by(alice)
    seen = await scrolled(alice, past.room_id)
    assert {oldest.event_id, newest.event_id} <= set(seen)
    assert seen[-1] == past.events[0].event_id
    assert not {event.event_id for event in rejected} & set(seen)


async def test_A04_a_lie_about_an_old_state_rejects_nothing_for_good(
    one: FederatedServer, past: Past, alice: User
) -> None:
    """The state that the liar tells has its own user banned; what others said of that time is hidden, not rejected."""
    true = past.add()
    past.add()
    create = past.events[0].event_id
    past.states.update((event.event_id, [create]) for event in past.events[1:])
    await past.joined_by(alice)
    seen = await scrolled(alice, past.room_id)
    assert true.event_id not in seen
    rows = await one.homeserver.db.fetch_all("SELECT status FROM events WHERE event_id = ?", (true.event_id,))
    assert rows[0][0] not in (2, 4)


async def test_A04_without_a_state_there_is_no_history(one: FederatedServer, past: Past, alice: User) -> None:
    said = past.add()
    past.liar.answers = {"/state_ids/": (404, {"errcode": "M_NOT_FOUND", "error": "Nothing"})}
    await past.joined_by(alice)
    assert said.event_id not in await scrolled(alice, past.room_id)
    del past.liar.answers["/state_ids/"]
    past.liar.answers["/state_ids/"] = past._state_ids
    assert said.event_id in await scrolled(alice, past.room_id)


async def test_G05_who_syncs_for_the_first_time_gets_the_whole_state_after_history_was_fetched(
    one: FederatedServer, past: Past, alice: User
) -> None:
    past.add("m.room.topic", {"topic": "old"}, state_key="")
    for _ in range(8):
        past.add()
    past.add("m.room.topic", {"topic": "new"}, state_key="")
    await past.joined_by(alice)
    wanted = {tuple(key) for key in (await one.homeserver.rooms.live.get(past.room_id)).state_ids}
    for _ in range(2):
        room = (await alice.get("/sync"))["rooms"]["join"][past.room_id]
        events = [*room["state"]["events"], *room["timeline"]["events"]]
        now = {(event["type"], event["state_key"]): event["content"] for event in events if "state_key" in event}
        assert set(now) == wanted
        assert now["m.room.topic", ""] == {"topic": "new"}
        await scrolled(alice, past.room_id)
        one.homeserver.rooms.live.forget_all()
    fork = past.liar.event(past.room, "m.room.topic", {"topic": "forked"}, state_key="")
    await past.liar.send(one, fork)
    one.homeserver.rooms.live.forget_all()
    room = (await alice.get("/sync"))["rooms"]["join"][past.room_id]
    told = [*room["state"]["events"], *room["timeline"]["events"]]
    assert {(event["type"], event["state_key"]) for event in told if "state_key" in event} == wanted


@pytest.mark.parametrize("version", ["1", "3", "6"])
async def test_G05_history_of_older_and_newer_rooms(network: Network, alice: User, version: str) -> None:
    past = Past(Liar(network), version)
    past.visibility("joined")
    hidden = past.add()
    past.visibility("shared")
    said = past.add()
    await past.joined_by(alice)
    seen = await scrolled(alice, past.room_id)
    assert said.event_id in seen
    assert hidden.event_id not in seen
    assert seen[-1] == past.events[0].event_id
