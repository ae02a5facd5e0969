"""Much happens in a room whose members are on their way, and much of it is lost; in the end all servers agree."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from signedjson.key import decode_signing_key_base64
from unpaddedbase64 import encode_base64

from homeserver.protocol.errors import MatrixError
from homeserver.rooms.branches import UnknownEvents
from homeserver.rooms.live_room import MEMBER
from homeserver.rooms.pipeline import Draft
from tests.federation.big_rooms import Gate, big_room, crowd, until_whole
from tests.support.federation import FederatedServer, Network, open_federated, settle
from tests.support.server import User

SEEDS = [1, 2, 3]
"""A hundred were tried by hand."""
CROWDS = {"one.test": "member", "three.test": "third"}


@dataclass
class Play:
    """What people at three servers do, by chance."""

    chance: random.Random
    network: Network
    room_id: str
    people: list[tuple[FederatedServer, User]]

    @property
    def servers(self) -> list[FederatedServer]:
        return [server for server, _ in self.people]

    async def step(self) -> None:
        server, user = self.chance.choice(self.people)
        actions: list[Callable[[FederatedServer, User], Awaitable[None]]] = [self._say, self._rename]
        if server.name in CROWDS:
            actions += [self._come_or_go, self._put_out, self._set_topic]
        with contextlib.suppress(MatrixError):  # they may not, for now
            await self.chance.choice(actions)(server, user)
        if self.chance.random() < 0.4:
            await settle(*self.servers)
        if self.chance.random() < 0.2:
            await self.pass_time(30)

    async def pass_time(self, seconds: float) -> None:
        for server in self.servers:
            await server.clock.advance(seconds)

    def somebody(self, server_name: str) -> str:
        return f"@{CROWDS[server_name]}{self.chance.randrange(10)}:{server_name}"

    async def _send(self, server: FederatedServer, draft: Draft) -> None:
        await server.homeserver.rooms.pipeline.send(self.room_id, draft)

    async def _say(self, server: FederatedServer, user: User) -> None:
        sender = self.somebody(server.name) if server.name in CROWDS and self.chance.random() < 0.5 else user.user_id
        await self._send(server, Draft(sender, "m.room.message", {"msgtype": "m.text", "body": "x"}))

    async def _rename(self, server: FederatedServer, user: User) -> None:
        content = {"membership": "join", "displayname": str(self.chance.random())}
        await self._send(server, Draft(user.user_id, MEMBER, content, state_key=user.user_id))

    async def _come_or_go(self, server: FederatedServer, user: User) -> None:
        who = self.somebody(server.name)
        content = {"membership": self.chance.choice(["join", "leave"]), "why": str(self.chance.random())}
        await self._send(server, Draft(who, MEMBER, content, state_key=who))

    async def _put_out(self, server: FederatedServer, user: User) -> None:
        who = self.somebody(self.chance.choice(sorted(CROWDS)))
        content = {"membership": self.chance.choice(["ban", "leave"])}
        await self._send(server, Draft(user.user_id, MEMBER, content, state_key=who))

    async def _set_topic(self, server: FederatedServer, user: User) -> None:
        content = {"topic": str(self.chance.random())}
        await self._send(server, Draft(user.user_id, "m.room.topic", content, state_key=""))


@pytest.mark.parametrize("seed", SEEDS)
async def test_all_servers_agree_in_the_end(network: Network, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, names = random.Random(seed), random.Random(seed + 1)
    monkeypatch.setattr("homeserver.rooms.pipeline._random_localpart", lambda: names.randbytes(18).hex())
    one, two, three = [
        await open_federated(
            network,
            f"{name}.test",
            signing_key=decode_signing_key_base64("ed25519", name, encode_base64(names.randbytes(32))),
        )
        for name in ("one", "two", "three")
    ]
    alice, room_id = await big_room(one, room_version=chance.choice(["6", "10", "11"]))
    bob, carol = await two.register("bob"), await three.register("carol")
    await carol.post(f"/join/{room_id}", {}, via="one.test")
    await until_whole(three, room_id)
    await crowd(three, room_id, 10, "third")
    await settle(one, three)
    await alice.set_state(room_id, "m.room.power_levels", {"users": {alice.user_id: 100, carol.user_id: 100}})
    await settle(one, three)
    gate = Gate(network)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    play = Play(chance, network, room_id, [(one, alice), (two, bob), (three, carol)])
    for number in range(40):
        lost = chance.choice([0, 0, 0.5, 1])
        network.lost = lambda _, request, lost=lost: "/send/" in request.url and chance.random() < lost  # type: ignore[misc]
        await play.step()
        if number == 30:
            gate.open()
    network.lost = lambda origin, request: False
    for _ in range(12):
        await play.pass_time(400)
        await settle(one, two, three)
    await until_whole(two, room_id, one, three)
    for user in (alice, carol, bob) * 2:
        await user.say(room_id, "the end")
        await settle(one, two, three)
        await play.pass_time(60)
        await settle(one, two, three)
    await agree(one, two, room_id)
    await agree(one, three, room_id)


async def agree(one: FederatedServer, two: FederatedServer, room_id: str) -> None:
    """On the state of the room, and on the state before each event that both can tell."""
    ours, theirs = [await server.homeserver.rooms.live.get(room_id) for server in (one, two)]
    assert ours.state_ids == theirs.state_ids
    assert (ours.joined_count, ours.servers) == (theirs.joined_count, theirs.servers)
    for _, event_id in await two.homeserver.rooms.partial_states.store.list_placed_ids(room_id, 0):
        states = []
        for server, room in ((one, ours), (two, theirs)):
            branches = server.homeserver.rooms.branches
            try:
                states.append(await branches.whole(room, await branches.before(room, event_id)))
            except UnknownEvents:
                break
        assert len(states) < 2 or states[0] == states[1], event_id
