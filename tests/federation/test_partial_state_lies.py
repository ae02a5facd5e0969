"""Joining with a part of the state by way of servers that lie, and beside them."""

from __future__ import annotations

from typing import Any

from homeserver.protocol.events import Event
from homeserver.rooms.live_room import MEMBER
from tests.federation.big_rooms import Gate, big_room, is_partial, same_rooms, until_whole
from tests.support.federation import FederatedServer, Network, settle
from tests.support.liar import Asked, Liar, LiarsRoom
from tests.support.server import User


async def test_banned_user_is_believed_only_until_the_members_are_here(
    network: Network, gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    liar = Liar(network)
    await liar.join(one, room_id, "@honest:liar.test")  # for whom the liar is a server in the room
    lies = await liar.join(one, room_id)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": liar.user})
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    room = await two.homeserver.rooms.live.get(room_id)
    assert room.partial is not None
    found = await two.homeserver.rooms.events.find_events(room_id, room.version, [room.partial.join_event_id])
    lies.last = found[0].event  # nothing about it says that Mallory was banned before
    chain = [event.pdu for event in (*lies.chain, *lies.state.values())]
    liar.answers = {"/event_auth/": (200, {"auth_chain": chain})}
    lie = liar.event(lies, advance=True)
    topic = liar.event(lies, "m.room.topic", {"topic": "mine"}, state_key="")
    assert await liar.send(two, lie) == {lie.event_id: {}}
    assert "error" in (await liar.send(two, topic))[topic.event_id]
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=5)
    assert page["chunk"][0]["event_id"] == lie.event_id  # nobody could know
    said = await bob.say(room_id, "who is that?")
    gate.open()
    await until_whole(two, room_id)
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=5)
    ids = [event["event_id"] for event in page["chunk"]]
    assert said in ids
    assert lie.event_id not in ids
    assert (await two.homeserver.rooms.live.get(room_id)).membership(liar.user) == "ban"
    assert two.federation.completion.counts.otherwise == 1
    refused = await bob.request("GET", f"/rooms/{room_id}/event/{lie.event_id}")
    assert refused.status == 404
    again = liar.event(lies)
    assert "error" in (await liar.send(two, again))[again.event_id]


async def test_nobody_is_believed_to_be_in_the_room_whose_server_is_not(
    network: Network, gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    liar = Liar(network)
    lies = await liar.join(one, room_id)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": liar.user})
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    room = await two.homeserver.rooms.live.get(room_id)
    assert room.partial is not None
    found = await two.homeserver.rooms.events.find_events(room_id, room.version, [room.partial.join_event_id])
    lies.last = found[0].event
    chain = [event.pdu for event in (*lies.chain, *lies.state.values())]
    liar.answers = {"/event_auth/": (200, {"auth_chain": chain})}
    lie = liar.event(lies, advance=True)
    await liar.send(two, lie)
    said = await bob.say(room_id, "between us")
    await settle(one, two)
    assert said not in {Event(pdu, room.version).event_id for pdu in liar.received()}
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)
    assert not await two.homeserver.rooms.partial_states.store.list_waiting(room_id)


async def test_event_that_only_the_whole_state_allows_waits_for_it(
    network: Network, gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    liar = Liar(network)
    theirs = await liar.join(one, room_id)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    # Mallory is put out and comes back, of which two hears the first half only.
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": liar.user})
    await settle(one, two)
    assert (await two.homeserver.rooms.live.get(room_id)).membership(liar.user) == "leave"
    network.lost = lambda origin, request: origin == "one.test"
    theirs = await liar.join(one, room_id)
    said = liar.event(theirs, content={"msgtype": "m.text", "body": "I am back"})
    assert await liar.send(one, said) == {said.event_id: {}}
    liar.answers = {
        "/event_auth/": (200, {"auth_chain": [event.pdu for event in (*theirs.chain, *theirs.state.values())]}),
        "/get_missing_events/": (200, {"events": []}),
    }
    await liar.send(two, said)
    waiting = await two.homeserver.rooms.partial_states.store.list_waiting(room_id)
    assert waiting == [said.event_id]
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] != said.event_id
    liar.answers["/get_missing_events/"] = (200, {"events": [theirs.state[MEMBER, liar.user].pdu]})
    network.lost = lambda origin, request: False
    gate.open()
    await until_whole(two, room_id)
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said.event_id
    assert not await two.homeserver.rooms.partial_states.store.list_waiting(room_id)
    await same_rooms(one, two, room_id)


class LyingResident:
    """Lets others into a room of its own, and says what a test wants of its state."""

    def __init__(self, network: Network) -> None:
        self.liar = Liar(network)
        self.room: LiarsRoom = self.liar.make_room()
        self.states: list[Any] = []
        self.servers: list[Any] = ["liar.test"]
        for number in range(5):
            self.add_member(f"@puppet{number}:liar.test")
        self.liar.answers = {
            "/make_join/": lambda asked: (200, self._template()),
            "/send_join/": self._let_in,
            "/state/": lambda asked: self.states.pop(0) if len(self.states) > 1 else self.states[0],
        }

    def add_member(self, user: str) -> None:
        self.liar.event(
            self.room, MEMBER, {"membership": "join"}, state_key=user, sender=user, advance=True, auth=self._auth()
        )

    def _auth(self) -> list[Any]:
        return [self.room.state[kind, ""] for kind in ("m.room.create", "m.room.power_levels", "m.room.join_rules")]

    def _template(self) -> dict[str, Any]:
        return self.liar.template(self.room, "@bob:two.test")

    def _let_in(self, asked: Asked) -> tuple[int, Any]:
        kept = [one for key, one in self.room.state.items() if key[0] != MEMBER]
        chain = [self.room.state[MEMBER, self.liar.user].pdu]
        return 200, {
            "origin": "liar.test",
            "event": asked.body,
            "state": [one.pdu for one in kept],
            "auth_chain": chain,
            "members_omitted": True,
            "servers_in_room": self.servers,
        }

    def truth(self) -> tuple[int, Any]:
        return 200, {"pdus": [one.pdu for one in self.room.state.values()], "auth_chain": []}


async def joined(two: FederatedServer, resident: LyingResident) -> User:
    bob = await two.register("bob")
    await bob.post(f"/join/{resident.room.room_id}", {}, via="liar.test")
    return bob


async def test_state_that_does_not_hold_makes_no_room_whole(network: Network, two: FederatedServer) -> None:
    resident = LyingResident(network)
    good = resident.truth()
    without_create = [one.pdu for key, one in resident.room.state.items() if key[0] != "m.room.create"]
    forged = [{**pdu, "origin_server_ts": 5} for pdu in good[1]["pdus"]]
    other = resident.liar.make_room(room_id="!other:liar.test")
    resident.states = [
        (200, {"pdus": [], "auth_chain": []}),
        (200, {"pdus": without_create, "auth_chain": []}),
        (200, {"pdus": forged, "auth_chain": forged}),
        (200, {"pdus": [one.pdu for one in other.state.values()], "auth_chain": []}),
        (200, {"pdus": "many", "auth_chain": 7}),
        (200, ["nothing"]),
        (200, b"{"),
        (404, {"errcode": "M_NOT_FOUND", "error": "no"}),
    ]
    lies = len(resident.states)
    resident.states.append(good)
    bob = await joined(two, resident)
    room_id = resident.room.room_id
    assert is_partial(two, room_id)
    for _ in range(lies):
        await two.clock.advance(700)
        await settle(two)
    await until_whole(two, room_id)
    assert len(resident.states) == 1
    assert two.federation.completion.counts.failed >= lies
    room = await two.homeserver.rooms.live.get(room_id)
    assert room.joined_count == 7
    assert {key: event_id for key, event_id in room.state_ids.items() if key != (MEMBER, bob.user_id)} == {
        key: event.event_id for key, event in resident.room.state.items()
    }


async def test_wrong_list_of_servers_is_made_good(network: Network, one: FederatedServer, two: FederatedServer) -> None:
    resident = LyingResident(network)
    resident.servers = ["two.test", "no.such.test", "not a name", 7, None, {"name": "one.test"}, "no.such.test"]
    gate = Gate(network)
    resident.states = [resident.truth()]
    bob = await joined(two, resident)
    room_id = resident.room.room_id
    room = await two.homeserver.rooms.live.get(room_id)
    assert room.partial is not None
    assert room.partial.servers == {"liar.test", "no.such.test"}
    said = await bob.say(room_id, "to everybody")
    await settle(two)
    gate.open()
    await until_whole(two, room_id)
    assert said in {Event(pdu, resident.room.version).event_id for pdu in resident.liar.received()}


async def test_user_can_leave_a_room_whose_members_never_come(network: Network, two: FederatedServer) -> None:
    resident = LyingResident(network)
    resident.states = [(500, {"errcode": "M_UNKNOWN", "error": "never"})]
    bob = await joined(two, resident)
    room_id = resident.room.room_id
    await two.clock.advance(100)
    await settle(two)
    assert is_partial(two, room_id)
    await bob.post(f"/rooms/{room_id}/leave", {})
    for _ in range(20):
        await two.clock.advance(700)
        await settle(two)
    assert room_id not in two.federation.completion._tasks
    assert room_id not in (await bob.get("/joined_rooms"))["joined_rooms"]
