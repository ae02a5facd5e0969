"""Transactions of malformed events, each with one good one. In CI some thousands; by hand as many as are wanted:

    python -m tests.federation.malformed --count 100000 --database postgresql

What is malformed of an event: its members, at every level; its references; its size and depth; its room; what it is
signed with; how often it comes. EDUs of every kind come with them (`malformed_edus.py`), and now and then a transaction
that is none, after which the next one works as ever.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from federation.request_signing import sign_request
from homeserver.clock import SystemClock
from homeserver.protocol.events import Event
from homeserver.storage.opening import open_database
from tests.end_to_end.fuzz import nasty
from tests.federation.lies import Scene, open_scene
from tests.federation.malformed_edus import malformed_edu
from tests.support.federation import Network, open_federated
from tests.support.liar import V1
from tests.support.postgresql import PostgresServer

JUNK: Final[list[Any]] = [
    None, True, -1, 0, 2**53, 2**63, 2**64, -(2**70), 1.5, 1e308, "", "x", "\0", "$", "!", "@", ":", "é" * 300, [], {},
    [[]], [None], [{}], {"": None}, {"sha256": 1}, "!lies:one.test", "@alice:one.test", "@a:b:c", "$" + "a" * 43,
    ["$x"] * 30,
    [["$x", {"sha256": "x"}]], {"membership": "join"}, {"membership": []}, "m.room.member", "m.room.create", "one.test",
]  # fmt: skip
MEMBERS: Final = (
    "auth_events", "content", "depth", "event_id", "hashes", "origin_server_ts", "prev_events", "redacts", "room_id",
    "sender", "signatures", "state_key", "type", "unsigned", "origin", "prev_state", "age_ts", "membership", "",
)  # fmt: skip
KINDS: Final = (
    "m.room.message", "m.room.member", "m.room.power_levels", "m.room.redaction", "m.test", "m.room.create",
    "m.room.join_rules", "m.room.history_visibility", "m.room.server_acl", "m.room.third_party_invite",
    "m.room.aliases", "m.room.tombstone", "m.room.encryption", "m.space.child", "org.matrix.msc3401.call.member",
)  # fmt: skip
CONTENTS: Final[list[dict[str, Any]]] = [
    {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": "$x"}},
    {"membership": "join", "displayname": "x", "avatar_url": "mxc://a/b", "third_party_invite": {"signed": {}}},
    {"membership": "join", "join_authorised_via_users_server": "@alice:one.test"},
    {"users": {"@mallory:liar.test": 100}, "events": {"m.room.name": 0}, "ban": 50, "users_default": 100},
    {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": "!x:one.test"}]},
    {"redacts": "$" + "a" * 43, "reason": "x"},
    {"deny": ["*"], "allow": ["*"], "allow_ip_literals": False},
    {"m.mentions": {"user_ids": ["@alice:one.test"], "room": True}, "body": "\u202ealice\0"},
    {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "y"},
]
DEPTHS: Final = (-(2**63), -1, 0, 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 1.0, "1", None, [1])


BYTES: Final = 6_000_000


def nested(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def _members(chance: random.Random, scene: Scene, pdu: dict[str, Any]) -> None:
    """A few members replaced or gone."""
    for _ in range(chance.choice([1, 1, 2, 4])):
        name = chance.choice(MEMBERS)
        if chance.random() < 0.2:
            pdu.pop(name, None)
        else:
            pdu[name] = nested(chance.choice((90, 99, 101, 150))) if chance.random() < 0.05 else chance.choice(JUNK)


def _anywhere(chance: random.Random, scene: Scene, pdu: dict[str, Any]) -> None:
    """Something at any level replaced, wrapped, repeated or gone."""
    spoilt = nasty.spoil(pdu, chance)
    if isinstance(spoilt, dict):
        pdu.clear()
        pdu.update(spoilt)


def _contents(chance: random.Random, scene: Scene, pdu: dict[str, Any]) -> None:
    """The content alone, of any kind of event."""
    pdu["content"] = nasty.spoil(chance.choice(CONTENTS), chance)
    pdu["type"] = chance.choice((*KINDS, "", "x" * 255, "x" * 256, "é" * 128))
    pdu["state_key"] = chance.choice((scene.liar.user, "", "@alice:one.test", "x" * 256, "\0", "_", 7))


def _references(chance: random.Random, scene: Scene, pdu: dict[str, Any]) -> None:
    """Too many, the same again, such as nobody has, of another form, itself."""
    name = chance.choice(("prev_events", "auth_events"))
    there = pdu[name]
    unknown = ["$" + "".join(chance.choices("abcdefgh", k=43)) for _ in range(3)]
    pdu[name] = chance.choice(
        [
            [], there * 2, there * 11, there * 21, [*there, *unknown[:1]], unknown, [*there, None], [there], "$x",
            [*there, pdu.get("event_id", "$x")], [[one, {"sha256": "x"}] for one in unknown], {"0": there},
            [one[0] if isinstance(one, list) else one for one in there], ["$" + "é" * 43], ["$x\0:liar.test"],
        ]
    )  # fmt: skip


def _sizes(chance: random.Random, scene: Scene, pdu: dict[str, Any]) -> None:
    """Sizes and depths at their limits and beyond."""
    deed = chance.randrange(5)
    if deed == 0:
        pdu["depth"] = chance.choice(DEPTHS)
    elif deed == 1:
        pdu["origin_server_ts"] = chance.choice(DEPTHS)
    elif deed == 2:
        pdu["content"] = {"body": chance.choice(("x", "é", "\0", "𝄞")) * chance.choice((65_536, 64_000, 33_000))}
    elif deed == 3:
        pdu["content"] = {f"k{number}": number for number in range(chance.choice((3_000, 9_000)))}
    else:
        pdu["content"] = {"a": nested(chance.choice((90, 98, 100, 101, 400)))}


def _rooms(chance: random.Random, scene: Scene, pdu: dict[str, Any]) -> None:
    """Rooms that are not, or are of other versions than they say."""
    pdu["room_id"] = chance.choice(
        ("!nowhere:liar.test", "!" + "a" * 43, "!\0:liar.test", "!" + "é" * 200 + ":x", "x", "", None, ["!x:liar.test"])
    )
    if chance.random() < 0.3:
        pdu["room_id"], pdu["type"], pdu["state_key"] = scene.room_id, "m.room.create", ""
        pdu["content"] = {"room_version": chance.choice(("1", "12", "x", 11)), "creator": scene.liar.user}
        pdu["prev_events"], pdu["auth_events"] = [], []
        if chance.random() < 0.5:
            del pdu["room_id"]


SPOILERS: Final[list[tuple[Callable[[random.Random, Scene, dict[str, Any]], None], int]]] = [
    (_members, 8), (_anywhere, 6), (_contents, 4), (_references, 3), (_sizes, 1), (_rooms, 2),
]  # fmt: skip


def malformed(chance: random.Random, scene: Scene) -> Any:
    """A PDU with something wrong, often signed anew, so that it passes the first checks; or something that is none."""
    if chance.random() < 0.03:
        return chance.choice([*JUNK, *nasty.OTHERS])
    state_key = chance.choice([None, None, "", scene.liar.user])
    content: dict[str, Any] = {"body": "x"} if chance.random() < 0.5 else copy.deepcopy(chance.choice(CONTENTS))
    changed = dict(scene.liar.event(scene.room, chance.choice(KINDS), content, state_key=state_key).pdu)
    for _ in range(chance.choice((1, 1, 1, 2))):
        spoil = chance.choices([one for one, _ in SPOILERS], [weight for _, weight in SPOILERS])[0]
        try:
            spoil(chance, scene, changed)
        except (KeyError, TypeError, IndexError):  # the one before has left nothing of what this one spoils
            continue
    if chance.random() < 0.6:
        try:
            changed = scene.liar.seal(changed, scene.room.version).pdu
        except Exception:  # it cannot even be signed
            return changed
        if chance.random() < 0.1:
            changed = {**changed, "signatures": _signatures(chance, scene, changed)}
    return changed


def _signatures(chance: random.Random, scene: Scene, pdu: dict[str, Any]) -> Any:
    true = pdu["signatures"]
    return chance.choice(
        [
            {}, [], None, {"one.test": {"ed25519:k0": "x"}, **true}, {scene.liar.name: {}}, nasty.spoil(true, chance),
            {scene.liar.name: {f"ed25519:{number}": "x" * 86 for number in range(50)}}, {"": {}, "é": {"é": "é"}},
            {f"s{number}.test": {"ed25519:1": "x"} for number in range(100)} | true,
        ]
    )  # fmt: skip


def hopeless(chance: random.Random, good: Event) -> bytes:
    """The body of a transaction that cannot be taken at all."""
    pdus: list[Any] = [good.pdu]
    body: Any = {"origin": "liar.test", "origin_server_ts": 1, "pdus": pdus, "edus": []}
    bodies: list[Any] = [
        {**body, "pdus": pdus * 51}, {**body, "edus": [{}] * 101}, {**body, "pdus": {}}, {**body, "edus": "x"}, [], 7,
        {**body, "pdus": None}, "x", None,
    ]  # fmt: skip
    if chance.random() < 0.5:
        return msgspec.json.encode(chance.choice(bodies))
    whole = json.dumps(body).encode()
    return chance.choice(
        [whole[:-1], whole.replace(b"1,", b"NaN,", 1), b"\xef\xbb\xbf" + whole, b"[" * 200_000, b'{"pdus":' * 50_000,
         whole.replace(b'"pdus"', b'"\\ud800"'), b"\xff" + whole, b"", whole + whole]
    )  # fmt: skip


async def _send_hopeless(scene: Scene, body: bytes, number: int) -> None:
    target = f"{V1}/send/hopeless{number}"
    try:
        content = msgspec.json.decode(body) if body else None
        header = sign_request(
            "PUT", target, content, origin=scene.liar.name, destination=scene.one.name, key=scene.liar.key
        )
    except (msgspec.DecodeError, RecursionError):
        header = sign_request("PUT", target, None, origin=scene.liar.name, destination="one.test", key=scene.liar.key)
    reply = await scene.one.federation_application.respond(
        "PUT", target, {"authorization": header, "content-type": "application/json"}, body, "192.0.2.66"
    )
    assert 400 <= reply.status < 500, (reply.status, body[:200])


def _that_fit(made: list[Any]) -> list[Any]:
    """Those that may come at once."""
    left, fitting = BYTES, []
    for one in made:
        size = len(msgspec.json.encode(one))
        if size <= left:
            left -= size
            fitting.append(one)
    return fitting


async def run(
    scene: Scene, count: int, seed: int = 1, progress: Callable[[int, float], None] = lambda left, seconds: None
) -> int:
    """Send `count` malformed events, up to 49 in a transaction with one good one. Returns how many transactions."""
    chance = random.Random(seed)
    before = await scene.state()
    transactions = 0
    events, room = scene.one.homeserver.rooms.events, scene.room
    began = time.process_time()
    while count > 0:
        bad = _that_fit([malformed(chance, scene) for _ in range(min(count, chance.randint(1, 49)))])
        count -= len(bad)
        if chance.random() < 0.1 and len(bad) > 1:
            bad[1] = bad[0]
        good = scene.liar.event(room, content={"msgtype": "m.text", "body": f"good {transactions}"}, advance=True)
        if chance.random() < 0.05:
            await _send_hopeless(scene, hopeless(chance, good), transactions)
        bad.insert(chance.randint(0, len(bad)), good.pdu)
        edus = _that_fit([malformed_edu(chance, scene) for _ in range(chance.choice((0, 1, 3, 20)))])
        answers = await scene.liar.send(scene.one, *bad, edus=edus)
        assert answers[good.event_id] == {}, (seed, transactions, answers[good.event_id])
        stored = await events.find_events(room.room_id, room.version, [good.event_id])
        assert [one.status for one in stored] == [0], (seed, transactions)
        transactions += 1
        progress(count, time.process_time() - began)
    now = await scene.state()
    own = {key for key in now if key[1] == scene.liar.user}
    assert {key: value for key, value in now.items() if key not in own} == {
        key: value for key, value in before.items() if key not in own
    }
    return transactions


async def by_hand(location: str, count: int, seed: int, version: str) -> None:
    network = Network()
    one = await open_federated(network, "one.test", await open_database(location, SystemClock()))
    scene = await open_scene(network, one, version)
    steps = [count]

    def progress(left: int, seconds: float) -> None:
        if steps[-1] - left >= 2_000 or not left:
            steps.append(left)
            sys.stdout.write(f"{count - left} events in {seconds:.1f} s of the processor\n")

    try:
        transactions = await run(scene, count, seed, progress)
        await scene.good_event_arrives()
        heads = len((await one.homeserver.rooms.live.get(scene.room_id)).extremities)
        rows = [
            f"{table} {(await one.homeserver.db.fetch_all(f'SELECT COUNT(*) FROM {table}'))[0][0]}"
            for table in ("events", "state_changes", "branch_states")
        ]
        sys.stdout.write(f"{count} malformed events in {transactions} transactions: every good one is stored; ")
        sys.stdout.write(f"{heads} forward extremities, {', '.join(rows)}\n")
    finally:
        for server in network.servers.values():
            await server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--room-version", default="11")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        postgres = PostgresServer() if said.database == "postgresql" else None
        try:
            if postgres is not None:
                postgres.start()
            place = str(Path(folder) / "halfdoor.db") if postgres is None else postgres.url()
            asyncio.run(by_hand(place, said.count, said.seed, said.room_version))
        finally:
            if postgres is not None:
                postgres.remove()
