"""Joining big rooms: the user reads and writes at once, the members follow."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import pytest

from federation.partial_state import CompletionCounts, Progress
from homeserver.rooms.live_room import MEMBER
from homeserver.rooms.pipeline import Draft
from homeserver.storage.database import Database
from tests.federation.big_rooms import MEMBERS, Gate, big_room, crowd, is_partial, same_rooms, until, until_whole
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory
from tests.support.federation import FederatedServer, Network, open_federated, settle

LAZY = '{"room":{"state":{"lazy_load_members":true}}}'


async def test_user_reads_and_writes_a_big_room_before_its_members_are_here(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert is_partial(two, room_id)
    section = (await bob.sync(filter=LAZY))["rooms"]["join"][room_id]
    names = {event["type"]: event["content"] for event in section["state"]["events"]}
    assert names["m.room.name"] == {"name": "大厅"}
    said = await bob.say(room_id, "你好")
    await settle(one, two)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said
    told = await alice.say(room_id, "welcome")
    await settle(one, two)
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == told
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)
    members = await bob.get(f"/rooms/{room_id}/members")
    assert len(members["chunk"]) == MEMBERS + 2


async def test_client_that_wants_all_members_is_told_of_the_room_when_they_are_here(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob = await two.register("bob")
    lazy, eager = await bob.get("/sync", filter=LAZY), await bob.get("/sync")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await alice.say(room_id, "before")
    await settle(one, two)
    lazy = await bob.sync(filter=LAZY, since=lazy["next_batch"])
    assert lazy["rooms"]["join"][room_id]["summary"]["m.joined_member_count"] < MEMBERS
    eager = await bob.sync(since=eager["next_batch"])
    assert room_id not in eager.get("rooms", {}).get("join", {})
    assert room_id not in (await bob.get("/sync")).get("rooms", {}).get("join", {})
    gate.open()
    await until_whole(two, room_id)
    section = (await bob.sync(filter=LAZY, since=lazy["next_batch"]))["rooms"]["join"][room_id]
    assert section["summary"]["m.joined_member_count"] == MEMBERS + 2
    assert not section["timeline"]["events"]
    for body in (await bob.sync(since=eager["next_batch"]), await bob.get("/sync")):
        section = body["rooms"]["join"][room_id]
        events = section["state"]["events"] + section["timeline"]["events"]
        assert len({event["state_key"] for event in events if event["type"] == MEMBER}) == MEMBERS + 2
    changed = (await bob.sync(since=eager["next_batch"]))["device_lists"]["changed"]
    assert len(changed) >= MEMBERS


async def test_members_are_waited_for_and_not_for_ever(gate: Gate, one: FederatedServer, two: FederatedServer) -> None:
    _, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    waiting = asyncio.ensure_future(bob.request("GET", f"/rooms/{room_id}/members"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    await two.clock.advance(60)
    assert (await waiting).status == 503
    asked = [
        asyncio.ensure_future(bob.request("GET", f"/rooms/{room_id}/{what}"))
        for what in ("members", "joined_members", "state", "state/m.room.member/@member7:one.test")
    ]
    kick = {"user_id": "@member8:one.test"}
    asked.append(asyncio.ensure_future(bob.request("POST", f"/rooms/{room_id}/kick", kick)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(one.done() for one in asked)
    name = await bob.get(f"/rooms/{room_id}/state/m.room.name")
    assert name == {"name": "大厅"}
    gate.open()
    await until_whole(two, room_id)
    assert [(await one).status for one in asked] == [200, 200, 200, 200, 403]
    assert len((await asked[1]).json["joined"]) == MEMBERS + 2


async def test_completion_goes_on_after_a_restart(network: Network, gate: Gate, one: FederatedServer) -> None:
    alice, room_id = await big_room(one)
    db: Database = open_in_memory()
    two = await open_federated(network, "two.test", db)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    said = await bob.say(room_id, "before the restart")
    await settle(one, two)
    await two.federation.stop()
    gate.open()
    again = await open_federated(network, "two.test", db, signing_key=two.homeserver.settings.signing_key)
    await until_whole(again, room_id)
    await same_rooms(one, again, room_id)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said


async def test_crash_between_the_writes_of_a_state_loses_nothing(
    network: Network, one: FederatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, room_id = await big_room(one)
    db: Database = open_in_memory()
    two = await open_federated(network, "two.test", db)
    bob = await two.register("bob")
    monkeypatch.setattr("homeserver.rooms.importing.IN_A_WRITE", 10)
    written = 0
    real = two.homeserver.rooms.room_import._add_outliers

    async def crash_later(room: str, judged: Any) -> None:
        nonlocal written
        written += 1
        if written > 3:
            await asyncio.Event().wait()  # it will never come to the rest
        await real(room, judged)

    monkeypatch.setattr(two.homeserver.rooms.room_import, "_add_outliers", crash_later)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    for _ in range(200):
        await asyncio.sleep(0)
    assert written == 4
    await two.federation.stop()
    again = await open_federated(network, "two.test", db, signing_key=two.homeserver.settings.signing_key)
    await until_whole(again, room_id)
    await same_rooms(one, again, room_id)


async def test_other_servers_are_asked_when_the_resident_is_gone(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    _, room_id = await big_room(one)
    three = await open_federated(network, "three.test")
    carol, bob = await three.register("carol"), await two.register("bob")
    await carol.post(f"/join/{room_id}", {}, via="one.test")
    await until_whole(three, room_id)
    gate = Gate(network)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    # Nobody but the resident server knows of the join, and it is gone.
    network.lost = lambda origin, request: origin == "one.test" or "//one.test/" in request.url
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(two, three, room_id)
    said = await bob.say(room_id, "the others are still here")
    await settle(two, three)
    page = await carol.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said


async def test_what_happens_meanwhile_is_right_in_the_end(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    said = [await alice.say(room_id, "我先说")]
    send = one.homeserver.rooms.pipeline.send
    for user in ("@member3:one.test", "@member4:one.test"):
        body = {"msgtype": "m.text", "body": user}
        said.append((await send(room_id, Draft(user, "m.room.message", body))).event_id)
    await alice.set_state(room_id, "m.room.topic", {"topic": "新的"})
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": "@member5:one.test"})
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": "@member4:one.test"})
    await send(room_id, Draft("@member6:one.test", MEMBER, {"membership": "leave"}, state_key="@member6:one.test"))
    await crowd(one, room_id, 3, "late")
    await settle(one, two)
    said.append(await bob.say(room_id, "我后说"))
    await settle(one, two)
    room = await two.homeserver.rooms.live.get(room_id)
    assert room.membership("@member3:one.test") == "join"
    assert room.content("m.room.topic") == {"topic": "新的"}
    assert (await bob.get(f"/rooms/{room_id}/state/m.room.member/@member4:one.test"))["membership"] == "ban"
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)
    for person in (alice, bob):
        page = await person.get(f"/rooms/{room_id}/messages", dir="b", limit=50)
        assert [one["event_id"] for one in page["chunk"] if one["type"] == "m.room.message"] == said[::-1]
    # Whoever asks two for the state before one of these events is told all of it.
    ours = await one.federation.client.get(
        "two.test", f"/_matrix/federation/v1/state_ids/{quote(room_id, safe='')}", {"event_id": said[-1]}
    )
    assert sorted(ours["pdu_ids"]) == sorted((await one.homeserver.rooms.live.get(room_id)).state_ids.values())


async def test_second_user_joins_while_the_first_waits_for_members(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob, carol, eve = await two.register("bob"), await two.register("carol"), await two.register("eve")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": eve.user_id})
    await carol.post(f"/join/{room_id}", {})
    refused = await eve.request("POST", f"/join/{room_id}", {})
    assert refused.status == 403
    said = await carol.say(room_id, "hello")
    await settle(one, two)
    assert said == (await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1))["chunk"][0]["event_id"]
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)


async def test_who_leaves_before_the_members_are_here_may_come_back(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await bob.post(f"/rooms/{room_id}/leave", {})
    await settle(one, two)
    assert (await alice.get(f"/rooms/{room_id}/state/m.room.member/{bob.user_id}"))["membership"] == "leave"
    await alice.say(room_id, "bob is gone")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert is_partial(two, room_id)
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)


async def test_server_with_a_part_of_the_state_lets_nobody_in(
    network: Network, gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    _, room_id = await big_room(one)
    three = await open_federated(network, "three.test")
    bob, carol = await two.register("bob"), await three.register("carol")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    refused = await carol.request("POST", f"/join/{room_id}", {}, via="two.test")
    assert refused.status != 200
    await carol.post(f"/join/{room_id}", {}, via=["two.test", "one.test"])
    gate.open()
    await until_whole(two, room_id)
    await until_whole(three, room_id)
    await settle(one, two, three)
    await same_rooms(one, two, room_id)
    await same_rooms(one, three, room_id)


async def test_small_room_comes_whole(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert not is_partial(two, room_id)
    assert two.federation.completion.counts.events == 0


async def test_progress_is_in_the_log_and_in_the_metrics(
    gate: Gate, one: FederatedServer, two: FederatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "federation")
    _, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert "halfdoor_partial_state_rooms 1.0" in two.homeserver.metrics.render().decode()
    gate.open()
    await until_whole(two, room_id)
    numbers = two.homeserver.metrics.render().decode()
    assert "halfdoor_partial_state_rooms 0.0" in numbers
    assert "halfdoor_partial_state_completed_total 1.0" in numbers
    lines = [record.getMessage() for record in caplog.records if room_id in record.getMessage()]
    assert any("follow" in line for line in lines)
    assert any("is whole" in line for line in lines)


async def test_omitted_members_are_those_that_are_not_needed(
    gate: Gate, network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")  # without a name: heroes are needed
    await crowd(one, room_id)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": "@spam:two.test"})
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    room = await two.homeserver.rooms.live.get(room_id)
    members = {key[1] for key in room.state_ids if key[0] == MEMBER}
    assert {"@spam:two.test", bob.user_id} <= members
    assert 5 <= len(members) <= 9
    section = (await bob.get("/sync", filter=LAZY))["rooms"]["join"][room_id]
    shown = {event["state_key"] for event in section["state"]["events"] if event["type"] == MEMBER}
    assert set(section["summary"]["m.heroes"]) <= shown
    assert room.partial is not None
    assert room.partial.servers == {"one.test"}
    gate.open()
    await until_whole(two, room_id)


async def test_room_becomes_whole_in_either_database(
    network: Network, gate: Gate, one: FederatedServer, database: Database
) -> None:
    alice, room_id = await big_room(one)
    two = await open_federated(network, "two.test", database)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": "@member5:one.test"})
    await until(lambda: _membership(two, room_id, "@member5:one.test") == "leave")
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)
    await network.servers.pop("two.test").close()  # before the database is gone


def _membership(server: FederatedServer, room_id: str, user_id: str) -> str:
    room = server.homeserver.rooms.live.peek(room_id)
    return "" if room is None else room.membership(user_id)


async def test_history_is_there_at_once_and_right_in_the_end(
    network: Network, gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    said = []
    for number in range(30):
        body = {"msgtype": "m.text", "body": f"{number}"}
        draft = Draft(f"@member{number}:one.test", "m.room.message", body)
        said.append((await one.homeserver.rooms.pipeline.send(room_id, draft)).event_id)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=40, filter='{"lazy_load_members":true}')
    assert [one["event_id"] for one in page["chunk"] if one["type"] == "m.room.message"] == said[::-1]
    senders = {one["sender"] for one in page["chunk"] if one["type"] == "m.room.message"}
    assert senders <= {one["state_key"] for one in page["state"]}
    assert is_partial(two, room_id)
    assert not [request for _, request in network.requests if "/v1/state" in request.url]
    await alice.say(room_id, "and then")
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)
    again = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=42)
    assert [one["event_id"] for one in again["chunk"] if one["event_id"] in said] == said[::-1]
    oldest = await bob.get(f"/rooms/{room_id}/members", at=page["end"])
    later = [one for one in page["chunk"] if one["type"] == MEMBER and one["sender"] != bob.user_id]
    assert later
    assert len(oldest["chunk"]) == MEMBERS + 1 - len(later)


async def test_sliding_sync_tells_of_the_room_as_its_client_loads_members(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    _, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")

    async def ask(connection: str, member: str, **query: str) -> Any:
        wanted = {"timeline_limit": 5, "required_state": [["m.room.name", ""], [MEMBER, member]]}
        body = {"conn_id": connection, "lists": {"all": {"ranges": [[0, 9]], **wanted}}}
        path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
        return (await bob.ok("POST", path, body, **query)).json

    lazy, eager = await ask("lazy", "$LAZY"), await ask("eager", "*")
    assert lazy["rooms"][room_id]["name"] == "大厅"
    assert room_id not in eager["rooms"]
    gate.open()
    await until_whole(two, room_id)
    told = (await ask("lazy", "$LAZY", pos=lazy["pos"]))["rooms"][room_id]
    assert told["joined_count"] == MEMBERS + 2
    told = (await ask("eager", "*", pos=eager["pos"]))["rooms"][room_id]
    assert len([event for event in told["required_state"] if event["type"] == MEMBER]) == MEMBERS + 2


async def test_who_types_and_reads_is_told_while_members_are_on_their_way(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    said = await bob.say(room_id, "anybody there?")
    await settle(one, two)
    await alice.put(f"/rooms/{room_id}/typing/{alice.user_id}", {"typing": True, "timeout": 30000})
    await alice.post(f"/rooms/{room_id}/receipt/m.read/{said}", {})
    await settle(one, two)
    section = (await bob.get("/sync", filter=LAZY))["rooms"]["join"][room_id]
    told = {event["type"]: event["content"] for event in section["ephemeral"]["events"]}
    assert told["m.typing"] == {"user_ids": [alice.user_id]}
    assert alice.user_id in told["m.receipt"][said]["m.read"]
    gate.open()
    await until_whole(two, room_id)


async def test_log_says_now_and_then_how_far_a_state_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "federation.partial_state")
    clock = FakeClock()
    progress = Progress("!big:one.test", clock, CompletionCounts())
    progress.begin("checked", 10_000)
    for _ in range(40):
        progress.more(250)
        await clock.advance(1)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "!big:one.test: 2750 of 10000 events of its state are checked"
    assert len(lines) == 3
