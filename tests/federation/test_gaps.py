"""What a server missed, and what others must tell it of that: most of this was found by `tests/simulation`."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from federation.joins_under_way import WAIT_SECONDS, JoinsUnderWay
from homeserver.outbound.client import OutboundAnswer
from homeserver.protocol.errors import Unavailable
from homeserver.storage.events import SOFT_FAILED
from tests.support.federation import FederatedServer, Network, open_federated, settle
from tests.support.outbound import SentRequest
from tests.support.server import User


async def bodies(user: User, room_id: str) -> list[str]:
    """The messages that a user finds, oldest first."""
    page = await user.get(f"/rooms/{room_id}/messages", dir="b", limit=100)
    found = [event["content"].get("body") for event in page["chunk"] if event["type"] == "m.room.message"]
    return found[::-1]


async def shared_room(alice: User, *others: User) -> str:
    room_id = await alice.create_room(preset="public_chat", room_version="11")
    for other in others:
        await other.post(f"/join/{room_id}", {}, via="one.test")
    return room_id


async def test_an_outage_of_many_events_leaves_no_hole(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await shared_room(alice, bob)
    network.lost = lambda origin, request: True
    said = [f"{number}" for number in range(45)]
    for body in said:
        await alice.say(room_id, body)
    await settle(one, two)
    network.lost = lambda origin, request: False
    await one.clock.advance(3600)
    await settle(one, two)
    stored = await two.homeserver.db.fetch_all(
        "SELECT event_id FROM events WHERE room_id = ? AND type = 'm.room.message' AND status = 0", (room_id,)
    )
    assert len(stored) == 45
    assert await bodies(bob, room_id) == said


async def test_the_gap_is_filled_before_an_event_whose_auth_events_are_missing_too(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await shared_room(alice, bob)
    network.lost = lambda origin, request: True
    await alice.say(room_id, "before")
    carol = await one.register("carol")
    await carol.join(room_id)
    await carol.say(room_id, "after")
    network.lost = lambda origin, request: False
    await one.clock.advance(3600)
    await settle(one, two)
    assert await bodies(bob, room_id) == ["before", "after"]
    room = await two.homeserver.rooms.live.get(room_id)
    assert room.state_ids == (await one.homeserver.rooms.live.get(room_id)).state_ids
    assert not [row for row in await two.homeserver.rooms.graph.list_unknown(room_id) if row[1] == row[0]]


async def test_what_is_soft_failed_or_kept_for_its_state_is_told_to_servers_that_ask(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob, eve = await one.register("alice"), await two.register("bob"), await two.register("eve")
    room_id = await shared_room(alice, bob, eve)
    await settle(one, two)
    network.lost = lambda origin, request: True
    late = await bob.say(room_id, "not heard of it yet")
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": bob.user_id})
    network.lost = lambda origin, request: False
    await two.clock.advance(3600)
    await settle(one, two)
    live = await one.homeserver.rooms.live.get(room_id)
    (stored,) = await one.homeserver.rooms.events.find_events(room_id, live.version, [late])
    assert stored.status == SOFT_FAILED
    path = "/_matrix/federation/v1/event/{}"
    answer = await two.federation.client.get("one.test", path.format(quote(late)))
    assert answer["pdus"][0]["content"]["body"] == "not heard of it yet"
    create = live.state_ids["m.room.create", ""]  # which the other server has never had a place for
    answer = await one.federation.client.get("two.test", path.format(quote(create)))
    assert answer["pdus"][0]["type"] == "m.room.create"


async def test_message_between_devices_is_sent_again_when_the_disk_was_full_for_a_moment(
    one: FederatedServer, two: FederatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    to_device = two.homeserver.users.to_device
    deliver, refused = to_device.receive, 0

    async def full_once(*args: Any, **options: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused == 1:
            raise Unavailable("The disk is full.")
        return await deliver(*args, **options)

    monkeypatch.setattr(to_device, "receive", full_once)
    await alice.put("/sendToDevice/test.whisper/1", {"messages": {bob.user_id: {"*": {"body": "hush"}}}})
    await settle(one, two)
    assert refused == 1
    await one.clock.advance(3600)
    await settle(one, two)
    events = (await bob.sync())["to_device"]["events"]
    assert [event["content"]["body"] for event in events] == ["hush"]


async def test_last_words_are_told_although_their_server_left_and_came_back(
    network: Network, one: FederatedServer, two: FederatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await shared_room(alice, bob)
    await settle(one, two)
    # The user is in more haste than the sender.
    monkeypatch.setattr(two.federation.backoff, "may_ask", lambda name: True)
    network.lost = lambda origin, request: "/send/" in request.url
    await bob.say(room_id, "goodbye")
    await bob.post(f"/rooms/{room_id}/leave", {})
    await two.clock.advance(1)  # of two events about a user, the later one counts
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await bob.say(room_id, "here again")
    network.lost = lambda origin, request: False
    for server in (two, one, two):
        await server.clock.advance(3600)
        await settle(one, two)
    assert sorted(await bodies(alice, room_id)) == ["goodbye", "here again"]


async def test_keys_that_were_read_before_newer_ones_came_are_not_remembered(
    one: FederatedServer, two: FederatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = one.federation.keyring
    key_id = next(iter(two.federation.keyring._own_keys))
    read, gate = keyring._store.list_keys, asyncio.Event()

    async def slow(server_name: str) -> Any:
        found = await read(server_name)
        await gate.wait()
        return found

    monkeypatch.setattr(keyring._store, "list_keys", slow)
    waiting = asyncio.ensure_future(keyring.key_for_request("two.test", key_id))
    await asyncio.sleep(0)
    monkeypatch.setattr(keyring._store, "list_keys", read)
    assert await keyring.key_for_request("two.test", key_id)
    gate.set()
    assert await waiting
    assert await keyring.key_for_request("two.test", key_id)


async def test_history_of_before_the_join_is_no_part_of_a_gap(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    three = await open_federated(network, "three.test")
    alice, bob, carol = await one.register("alice"), await two.register("bob"), await three.register("carol")
    room_id = await shared_room(alice, carol)
    await two.federation.keyring.prepare("three.test", three.federation.keyring._own_keys)
    await settle(one, three)
    network.lost = lambda origin, request: "three.test" in (origin, request.url.split("/")[2])
    await carol.say(room_id, "on the other side")
    await alice.say(room_id, "on this side")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    network.lost = lambda origin, request: False
    for server in (one, two, three):
        await server.clock.advance(3600)
    await settle(one, two, three)
    await alice.say(room_id, "together")
    await settle(one, two, three)
    live = await two.homeserver.rooms.live.get(room_id)
    assert live.state_ids == (await one.homeserver.rooms.live.get(room_id)).state_ids
    (create,) = await two.homeserver.rooms.events.find_events(
        room_id, live.version, [live.state_ids["m.room.create", ""]]
    )
    assert create.status not in (0, SOFT_FAILED), "it is kept for the state, and did not come anew"
    assert sorted(await bodies(bob, room_id)) == ["on the other side", "on this side", "together"]
    await three.close()


async def test_what_happens_while_a_join_is_on_its_way_waits_for_it(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_version="11")
    carry, answered, may_go_on = network.carry, asyncio.Event(), asyncio.Event()

    async def held(origin: str, request: SentRequest) -> OutboundAnswer:
        answer = await carry(origin, request)
        if "/send_join/" in request.url:
            answered.set()
            await may_go_on.wait()
        return answer

    network.carry = held  # type: ignore[method-assign]
    joining = asyncio.create_task(bob.post(f"/join/{room_id}", {}, via="one.test"))
    await answered.wait()
    await alice.say(room_id, "welcome")
    sent = [request for _, request in network.requests]
    while not any("/send/" in request.url for request in sent[-5:]):
        await asyncio.sleep(0)
        sent = [request for _, request in network.requests]
    may_go_on.set()
    await joining
    await settle(one, two)
    assert await bodies(bob, room_id) == ["welcome"]


async def test_a_join_that_takes_too_long_has_what_happens_sent_again(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    under_way = JoinsUnderWay(two.clock)
    with under_way.joining("!room:one.test"):
        waiting = asyncio.create_task(under_way.has_ended("!room:one.test"))
        await asyncio.sleep(0)
        await two.clock.advance(WAIT_SECONDS)
        with pytest.raises(Unavailable):
            await waiting
    assert not await under_way.has_ended("!room:one.test")


async def test_a_server_that_cannot_answer_for_a_moment_is_asked_again(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await shared_room(alice, bob)
    network.lost = lambda origin, request: True
    carol = await one.register("carol")
    await carol.join(room_id)
    await carol.say(room_id, "hello")
    await settle(one, two)
    network.lost = lambda origin, request: False
    carry = network.carry
    refused: list[SentRequest] = []

    async def busy(origin: str, request: SentRequest) -> OutboundAnswer:
        if "/event_auth/" in request.url and not refused:
            refused.append(request)
            return OutboundAnswer(503, {}, b'{"errcode": "M_UNKNOWN", "error": "busy"}')
        return await carry(origin, request)

    network.carry = busy  # type: ignore[method-assign]
    for _ in range(3):
        await one.clock.advance(3600)
        await settle(one, two)
    assert refused
    assert await bodies(bob, room_id) == ["hello"]
