"""Transactions of malformed events, each with one good one. In CI some thousands; by hand as many as are wanted:

python -m tests.federation.malformed --count 100000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from typing import Any

from tests.federation.lies import Scene, open_scene
from tests.support.federation import Network, open_federated

JUNK: list[Any] = [
    None, True, -1, 0, 2**53, 2**63, 2**64, -(2**70), 1.5, 1e308, "", "x", "\0", "$", "!", "@", ":", "é" * 300, [], {},
    [[]], [None], [{}], {"": None}, {"sha256": 1}, "!lies:one.test", "@alice:one.test", "@a:b:c", "$" + "a" * 43,
    ["$x"] * 30,
    [["$x", {"sha256": "x"}]], {"membership": "join"}, {"membership": []}, "m.room.member", "m.room.create", "one.test",
]  # fmt: skip
MEMBERS = (
    "auth_events", "content", "depth", "event_id", "hashes", "origin_server_ts", "prev_events", "redacts", "room_id",
    "sender", "signatures", "state_key", "type", "unsigned", "origin",
)  # fmt: skip


def nested(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def malformed(chance: random.Random, scene: Scene) -> Any:
    """A PDU with a few members replaced or gone; often signed anew, so that it passes the first checks."""
    kind = chance.choice(["m.room.message", "m.room.member", "m.room.power_levels", "m.room.redaction", "m.test"])
    state_key = chance.choice([None, "", scene.liar.user])
    good = scene.liar.event(scene.room, kind, {"body": "x"}, state_key=state_key).pdu
    changed = dict(good)
    for _ in range(chance.choice([1, 1, 2, 4])):
        name = chance.choice(MEMBERS)
        if chance.random() < 0.2:
            changed.pop(name, None)
        else:
            changed[name] = nested(150) if chance.random() < 0.02 else chance.choice(JUNK)
    if chance.random() < 0.6:
        try:
            return scene.liar.seal(changed, scene.room.version).pdu
        except Exception:  # it cannot even be signed
            return changed
    return chance.choice([changed, changed, changed, chance.choice(JUNK)])


async def run(scene: Scene, count: int, seed: int = 1) -> int:
    """Send `count` malformed events, up to 49 in a transaction with one good one. Returns how many transactions."""
    chance = random.Random(seed)
    before = await scene.state()
    transactions = 0
    events, room = scene.one.homeserver.rooms.events, scene.room
    while count > 0:
        bad = [malformed(chance, scene) for _ in range(min(count, chance.randint(1, 49)))]
        count -= len(bad)
        good = scene.liar.event(room, content={"msgtype": "m.text", "body": f"good {transactions}"}, advance=True)
        bad.insert(chance.randint(0, len(bad)), good.pdu)
        answers = await scene.liar.send(scene.one, *bad, edus=[chance.choice(JUNK) for _ in range(3)])
        assert answers[good.event_id] == {}, (seed, transactions, answers[good.event_id])
        stored = await events.find_events(room.room_id, room.version, [good.event_id])
        assert [one.status for one in stored] == [0], (seed, transactions)
        transactions += 1
    now = await scene.state()
    assert {key: value for key, value in now.items() if key[1] != scene.liar.user and key[0] != "m.test"} == {
        key: value for key, value in before.items() if key[1] != scene.liar.user
    }
    return transactions


async def by_hand(count: int, seed: int, version: str) -> None:
    network = Network()
    one = await open_federated(network, "one.test")
    scene = await open_scene(network, one, version)
    transactions = await run(scene, count, seed)
    sys.stdout.write(f"{count} malformed events in {transactions} transactions: every good one is stored\n")
    for server in network.servers.values():
        await server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--room-version", default="11")
    said = parser.parse_args()
    asyncio.run(by_hand(said.count, said.seed, said.room_version))
