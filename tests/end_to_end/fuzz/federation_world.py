"""A server in rooms with another that is not to be trusted, for requests between servers."""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from homeserver.http.routing import Auth
from homeserver.protocol.errors import MatrixError
from homeserver.storage.database import Database
from tests.end_to_end.fuzz import nasty
from tests.end_to_end.fuzz.world import Person, World
from tests.federation.lies import Scene
from tests.federation.malformed import malformed
from tests.support.federation import FederatedServer, Network, open_federated
from tests.support.liar import Asked, Liar

VERSIONS = ("1", "5", "6", "11", "12")
STATUSES = (400, 401, 403, 404, 429, 500, 502)


@dataclass
class FederationWorld(World):
    """`liar` is in every room of `scenes`, `stranger` in none, `denied` in one that denies it."""

    network: Network = field(default_factory=Network)
    scenes: list[Scene] = field(default_factory=list)
    liar: Liar = None  # type: ignore[assignment]
    stranger: Liar = None  # type: ignore[assignment]
    denied: Liar = None  # type: ignore[assignment]
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def one(self) -> FederatedServer:
        assert isinstance(self.server, FederatedServer)
        return self.server

    def caller(self, chance: random.Random) -> Liar:
        return chance.choices((self.liar, self.stranger, self.denied), (12, 2, 1))[0]

    def somebody(self, chance: random.Random, auth: Auth) -> Person:
        return self.people[0]

    async def refurnish(self, chance: random.Random) -> None:
        """Users read and write, so that what others told is looked at, and their servers are told of it."""
        scene = chance.choice(self.scenes)
        try:
            await scene.alice.post(f"/rooms/{scene.room_id}/join", {})
            await scene.alice.say(scene.room_id, "refurnished")
            await scene.alice.get(f"/rooms/{scene.room_id}/messages", dir="b", limit=30)
            await scene.alice.get("/sync")
            await scene.alice.post("/keys/query", {"device_keys": {self.liar.user: []}})
        except MatrixError as error:
            raise AssertionError(f"Alice cannot use {scene.room_id}: {error}") from error
        self.pool.add(f"event of {scene.room_id}", scene.room.last.event_id)

    async def check_health(self) -> None:
        """As ever, and in each room the next good event of the other server arrives."""
        self.liar.answers = {}
        for scene in self.scenes:
            joined = scene.liar.event(
                scene.room, "m.room.member", {"membership": "join"}, state_key=self.liar.user, advance=True
            )
            assert await scene.liar.send(self.one, joined) == {joined.event_id: {}}, "the liar cannot join again"
            try:
                await scene.good_event_arrives()
            except AssertionError as error:
                where = "".join(traceback.format_exc()[-1_500:])
                raise AssertionError(f"in the room of version {scene.room.version.identifier}: {where}") from error
        await super().check_health()

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """What the liar tells when it is asked: now and then something that fits, else anything."""
        chance = self.chance
        if asked.target == "/_matrix/key/v2/server":
            return 200, _keys_of(self.liar, self.one)
        if "/send/" in asked.target and chance.random() < 0.9:
            return 200, {"pdus": {}}
        if chance.random() < 0.3:
            return chance.choice(STATUSES), chance.choice(({"errcode": "M_UNKNOWN", "error": "x"}, [], "x", {}))
        scene = chance.choice(self.scenes)
        pdus = [malformed(chance, scene) for _ in range(chance.choice((0, 1, 3)))]
        pdus += [event.pdu for event in list(scene.room.state.values())[: chance.choice((0, 3, 20))]]
        ids = [event.event_id for event in scene.room.state.values()]
        said: Any = nasty.value(chance)
        fitting: tuple[tuple[str, Any], ...] = (
            ("/get_missing_events/", {"events": pdus}), ("/event_auth/", {"auth_chain": pdus}),
            ("/state_ids/", {"pdu_ids": ids, "auth_chain_ids": ids}), ("/state/", {"pdus": pdus, "auth_chain": pdus}),
            ("/event/", {"pdus": pdus[:1]}), ("/backfill/", {"pdus": pdus}), ("/user/devices/", {"devices": []}),
            ("/keys/query", {"device_keys": {self.liar.user: {}}}), ("/query/profile", {"displayname": "M"}),
        )  # fmt: skip
        for part, answer in fitting:
            if part in asked.target:
                said = answer if chance.random() < 0.6 else nasty.spoil(answer, chance)
        return 200, said


async def make_federation_world(db: Database, seed: int) -> FederationWorld:
    """The caller closes `world.server`."""
    network = Network()
    one = await open_federated(network, "one.test", db)
    await one.homeserver.start()
    world = FederationWorld(one, one.federation.routes, network=network, chance=random.Random(f"{seed}/answers"))
    world.liar, world.stranger = Liar(network), Liar(network, "stranger.test")
    world.denied = Liar(network, "denied.test")
    alice = await one.register("alice")
    for version in VERSIONS:
        room_id = await alice.create_room(preset="public_chat", room_version=version, name=f"Room {version}")
        await alice.say(room_id, "hello there")
        if version == "11":
            await world.denied.join(one, room_id)
            await alice.set_state(room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["denied.test"]})
        world.scenes.append(Scene(network, one, world.liar, alice, await world.liar.join(one, room_id)))
        if version == "12":
            await alice.set_state(room_id, "m.room.join_rules", {"join_rule": "knock"})
            rules = (await one.homeserver.rooms.live.get(room_id)).state_event("m.room.join_rules")
            assert rules is not None
            room = world.scenes[-1].room
            room.state[rules.event.key] = room.last = rules.event
        world.pool.add("room", room_id)
    await alice.put(f"/directory/room/{'%23'}fuzz1:one.test", {"room_id": world.scenes[3].room_id})
    world.liar.answers = {"": world.answer}
    for other in (world.stranger, world.denied):
        other.keys = partial(_keys_of, other, one)
    world.people = [Person("user", "alice", alice.token, alice.user_id, alice.device_id)]
    world.pool.add("user", alice.user_id, world.liar.user)
    world.pool.add("alias", "#fuzz1:one.test")
    world.pool.learn(await alice.get("/sync"))
    return world


def _keys_of(liar: Liar, one: FederatedServer) -> Any:
    """Its keys, which are valid for another day: the run may take a server's week."""
    return liar.own_keys(valid_until_ts=one.clock.now_ms() + 24 * 3600 * 1000)
