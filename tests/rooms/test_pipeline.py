"""The pipeline under failure and under races: nothing is half done, nothing stands on what is not there."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest

from homeserver.protocol.errors import Unavailable
from homeserver.storage import sqlite_connection
from homeserver.storage.database import ConstraintViolated
from homeserver.storage.synchronous import SynchronousDatabase, SynchronousEngine
from tests.storage.faulty_engine import FaultyEngine
from tests.support.databases import open_in_memory
from tests.support.server import Server, User, open_server


def faulty_server() -> tuple[Server, FaultyEngine]:
    """A server whose database fails when the test says so."""
    connection = sqlite_connection.connect(":memory:")
    good = open_in_memory()
    connection.deserialize(good._connection.serialize())
    good._connection.close()
    engine = FaultyEngine(SynchronousEngine(connection))
    return open_server(SynchronousDatabase(connection, engine)), engine


async def line_of(server: Server, room: str) -> list[Any]:
    """The room's events as stored, checked to be one line."""
    services = server.homeserver.rooms
    live = await services.live.get(room)
    stored = await services.events.list_timeline(room, live.version, limit=5_000, newest_first=False)
    for before, after in itertools.pairwise(stored):
        assert after.event.prev_events == [before.event_id]
        assert after.event.depth == before.event.depth + 1
    assert [head.event_id for head in live.extremities] == [stored[-1].event_id]
    assert live.pending == 0
    assert not live.overlay
    return stored


@pytest.mark.parametrize("step", ["begin", "run", "commit"])
@pytest.mark.parametrize("error", [Unavailable("disk full"), ConstraintViolated("no")])
async def test_failed_commit_voids_the_draft_and_leaves_the_room_whole(step: Any, error: Exception) -> None:
    server, engine = faulty_server()
    alice = await server.register()
    room = await alice.create_room()
    await alice.say(room, "before")
    engine.failures[step] = error
    answer = await alice.request("PUT", f"/rooms/{room}/state/m.room.topic/", {"topic": "lost"})
    assert answer.status >= 500 or step == "run"
    failed = answer.status != 200
    engine.failures.clear()
    await alice.say(room, "after")
    stored = await line_of(server, room)
    assert [one.event.type for one in stored].count("m.room.topic") == (0 if failed else 1)
    read = await alice.request("GET", f"/rooms/{room}/state/m.room.topic")
    assert read.status == (404 if failed else 200)
    assert failed is ("lost" not in repr(await alice.sync()))
    await server.close()


@pytest.mark.parametrize("seed", range(8))
async def test_commits_that_fail_among_many_writers_lose_only_their_own_events(seed: int) -> None:
    server, engine = faulty_server()
    chance = random.Random(seed)
    people = [await server.register(name) for name in ("alice", "bob", "carol")]
    room = await people[0].create_room(preset="public_chat")
    for user in people[1:]:
        await user.join(room)
    sent: dict[str, int] = {}

    async def talk(user: User) -> None:
        for number in range(10):
            if chance.random() < 0.3:
                step = chance.choice(["begin", "run", "commit"])
                engine.failures[step] = chance.choice([Unavailable("full"), ConstraintViolated("no")])  # type: ignore[index]
            text = f"{user.user_id} {number}"
            body = {"msgtype": "m.text", "body": text}
            sent[text] = (await user.request("PUT", f"/rooms/{room}/send/m.room.message/n{number}", body)).status
            await asyncio.sleep(0)

    await asyncio.gather(*(talk(user) for user in people))
    engine.failures.clear()
    stored = await line_of(server, room)
    said = [one.event.content["body"] for one in stored if one.event.type == "m.room.message"]
    assert set(said) == {text for text, status in sent.items() if status == 200}
    assert len(said) == len(set(said))
    for user in people:
        mine = [int(text.split()[1]) for text in said if text.startswith(user.user_id)]
        assert mine == sorted(mine)
    await server.close()


@pytest.mark.parametrize("seed", range(20))
async def test_A21_who_is_banned_sends_nothing_after_the_ban(seed: int) -> None:
    server = open_server()
    chance = random.Random(seed)
    alice, bob = await server.register("alice"), await server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    path = f"/rooms/{room}"

    async def later(user: User, method: str, where: str, body: Any) -> int:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        return (await user.request(method, path + where, body)).status

    target = {"user_id": bob.user_id}
    tasks = [later(bob, "PUT", f"/send/m.room.message/n{n}", {"msgtype": "m.text", "body": f"{n}"}) for n in range(6)]
    tasks += [later(alice, "POST", "/ban", target), later(bob, "POST", "/leave", {}), later(bob, "POST", "/join", {})]
    chance.shuffle(tasks)
    statuses = await asyncio.gather(*tasks)
    assert set(statuses) <= {200, 403}
    membership = "leave"
    for stored in await line_of(server, room):
        if stored.event.type == "m.room.member" and stored.event.state_key == bob.user_id:
            membership = stored.event.content["membership"]
        elif stored.event.sender == bob.user_id:
            assert membership == "join"
    live = await server.homeserver.rooms.live.get(room)
    assert live.membership(bob.user_id) == membership == "ban"
    row = await server.homeserver.rooms.store.find_membership(room, bob.user_id)
    assert row is not None
    assert row.membership == "ban"
    await server.close()


async def test_ban_races_with_sends_on_each_engine(stored_server: Server) -> None:
    alice, bob = await stored_server.register("alice"), await stored_server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    sends = [
        bob.request("PUT", f"/rooms/{room}/send/m.room.message/n{n}", {"msgtype": "m.text", "body": f"{n}"})
        for n in range(10)
    ]
    ban = alice.request("POST", f"/rooms/{room}/ban", {"user_id": bob.user_id})
    answers = await asyncio.gather(*sends[:5], ban, *sends[5:])
    assert answers[5].status == 200
    stored = await line_of(stored_server, room)
    assert stored[-1].event.content.get("membership") == "ban"
    assert sum(answer.status == 200 for answer in answers) == 1 + sum(
        one.event.type == "m.room.message" for one in stored
    )


async def test_coming_back_in_the_same_batch_begins_a_new_stay(stored_server: Server) -> None:
    """Several memberships in one commit are each counted: who left and came back is shown the room anew."""
    alice, bob = await stored_server.register("alice"), await stored_server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    store = stored_server.homeserver.rooms.store
    before = await store.find_membership(room, bob.user_id)
    path = f"/rooms/{room}/state/m.room.member/{bob.user_id}"
    left, joined = await asyncio.gather(
        bob.request("PUT", path, {"membership": "leave"}), bob.request("PUT", path, {"membership": "join", "a": 1})
    )
    assert (left.status, joined.status) == (200, 200)
    after = await store.find_membership(room, bob.user_id)
    assert before is not None
    assert after is not None
    last = (await line_of(stored_server, room))[-1]
    if last.event.content["membership"] == "join":
        assert after.position == last.position > before.position


async def test_redaction_between_draft_and_commit_leaves_no_old_content_in_memory() -> None:
    server = open_server()
    alice = await server.register()
    room = await alice.create_room()
    topic = await alice.set_state(room, "m.room.topic", {"topic": "SECRET"})
    await asyncio.gather(
        alice.request("PUT", f"/rooms/{room}/redact/{topic}/r", {}),
        alice.request("PUT", f"/rooms/{room}/state/m.room.topic/", {"topic": "plain"}),
    )
    assert "SECRET" not in repr(await alice.get(f"/rooms/{room}/state"))
    assert "SECRET" not in repr(await alice.sync())
    await server.close()
