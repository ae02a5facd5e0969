"""Rows of the known attacks at the size that they name, by a server that lies; and the smaller tests once more on
PostgreSQL.

What is bounded is what is written, and that the last of many costs no more than the first ones: times are those of the
processor, compared with one another, so that a busy machine changes nothing.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from homeserver.protocol.events import Event
from homeserver.storage.database import Database, Params, Row
from tests.federation import (
    test_attacks_on_events,
    test_attacks_on_patience,
    test_attacks_on_requests,
    test_attacks_on_signatures,
)
from tests.federation.lies import Scene, open_scene
from tests.federation.malformed import run
from tests.support.federation import Network, open_federated
from tests.support.liar import V1

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

LONG = 10_000
FORKS = 1_000
CYCLE = 1_000
MALFORMED = 1_000
SLACK_SECONDS = 0.5
"""Of the processor, in comparisons: the garbage collector comes when it likes."""


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    network = Network()
    await open_federated(network, "one.test")
    yield network
    for server in network.servers.values():
        await server.close()


async def scene_in(network: Network, version: str = "11") -> Scene:
    return await open_scene(network, network.servers["one.test"], version)


async def rows(scene: Scene, *tables: str) -> int:
    db = scene.one.homeserver.db
    return sum([(await db.fetch_all(f"SELECT COUNT(*) FROM {table}"))[0][0] for table in tables])


async def send_in_fifties(scene: Scene, count: int, make: Callable[[int], Event]) -> list[float]:
    """Send so many events that are all taken; the seconds of the processor that each fifty cost, making them aside."""
    spent: list[float] = []
    for start in range(0, count, 50):
        events = [make(start + number) for number in range(50)]
        began = time.process_time()
        assert not any((await scene.liar.send(scene.one, *events)).values())
        spent.append(time.process_time() - began)
    return spent


def grows_not(spent: list[float], *, factor: float = 4) -> bool:
    """Whether the last fifth costs what the first fifth did, but for a factor that a busy machine may make of it."""
    part = max(1, len(spent) // 5)
    return sum(spent[-part:]) <= factor * sum(spent[:part]) + SLACK_SECONDS


async def test_A09_a_cycle_of_a_thousand_redactions_costs_what_a_thousand_events_do(network: Network) -> None:
    scene = await scene_in(network, "1")
    said = await scene.alice.say(scene.room_id, "to stay")
    names = [f"$r{number}:liar.test" for number in range(CYCLE)]

    def redaction(number: int) -> Event:
        target = names[(number + 1) % CYCLE]
        return scene.liar.event(
            scene.room, "m.room.redaction", {}, redacts=target, event_id=names[number], advance=True
        )

    before = await rows(scene, "events")
    spent = await send_in_fifties(scene, CYCLE, redaction)
    assert grows_not(spent), spent
    assert await rows(scene, "events") - before == CYCLE
    shown = await scene.alice.get(f"/rooms/{scene.room_id}/event/{names[3]}")
    assert len(str(shown)) < 3_000
    page = await scene.alice.get(f"/rooms/{scene.room_id}/messages", dir="b", limit=1_000)
    assert len(str(page)) < 3_000 * 1_000
    assert (await scene.alice.get(f"/rooms/{scene.room_id}/event/{said}"))["content"]["body"] == "to stay"
    await scene.good_event_arrives()


async def test_A11_an_auth_chain_of_ten_thousand_events_costs_as_much_by_the_event_as_a_short_one(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await scene_in(network)
    liar, room = scene.liar, scene.room

    def renamed(number: int) -> Event:
        content = {"membership": "join", "displayname": f"{number}"}
        return liar.event(room, "m.room.member", content, state_key=liar.user, advance=True)

    before = await rows(scene, "events", "state_changes", "branch_states")
    spent = await send_in_fifties(scene, LONG, renamed)
    assert grows_not(spent), spent
    assert await rows(scene, "events", "state_changes", "branch_states") - before <= 3 * LONG
    base = room.last

    def fork(number: int) -> Event:
        content = {"membership": "join", "displayname": f"fork {number}"}
        return liar.event(room, "m.room.member", content, state_key=liar.user, prev=[base])

    await scene.liar.send(scene.one, *map(fork, range(10)))  # the chain is read once
    before = await rows(scene, "events", "state_changes", "branch_states")
    asked = scene.one.homeserver.db.fetch_all
    queries = 0

    async def counted(sql: str, params: Params = ()) -> list[Row]:
        nonlocal queries
        queries += 1
        return await asked(sql, params)

    monkeypatch.setattr(scene.one.homeserver.db, "fetch_all", counted)
    assert not any((await scene.liar.send(scene.one, *map(fork, range(10, 20)))).values())
    assert queries < LONG, "resolutions walk the chain in memory: it is not read ten times"
    assert await rows(scene, "events", "state_changes", "branch_states") - before <= 4 * 10
    await scene.good_event_arrives()


async def test_A11_of_a_long_auth_chain_that_an_event_brings_along_only_its_own_is_kept(network: Network) -> None:
    scene = await scene_in(network)
    liar, room = scene.liar, scene.room
    foundation = [room.state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    rules = room.state["m.room.join_rules", ""]
    chain = [room.state["m.room.member", liar.user]]
    for number in range(LONG):
        auth = [*foundation, rules, chain[-1]]
        content = {"membership": "join", "displayname": f"{number}"}
        chain.append(liar.event(room, "m.room.member", content, state_key=liar.user, auth=auth))
    stray = [
        liar.event(room, "m.room.member", {"membership": "join", "stray": number}, state_key=liar.user)
        for number in range(500)
    ]
    liar.answers = {"/event_auth/": (200, {"auth_chain": [event.pdu for event in (*stray, *chain)]})}
    before = await rows(scene, "events")
    for number in range(20):
        lie = liar.event(room, auth=[*foundation, chain[-1 - number]])
        await liar.send(scene.one, lie)
    assert await rows(scene, "events") - before <= LONG + 20
    liar.answers = {}
    await scene.good_event_arrives()


@pytest.mark.parametrize("kind", ["messages", "state"])
async def test_A12_a_thousand_branches_cost_what_a_thousand_events_do_and_lose_nothing(
    network: Network, kind: str
) -> None:
    scene = await scene_in(network)
    liar, base = scene.liar, scene.room.last
    await scene.alice.set_state(scene.room_id, "m.room.topic", {"topic": "stays"})
    bob = await scene.one.register("bob")
    await bob.join(scene.room_id)
    before = await scene.state()

    def fork(number: int) -> Event:
        if kind == "messages":
            return liar.event(scene.room, prev=[base], content={"body": f"{number}"}, depth=10**6 + number)
        content = {"membership": "join", "displayname": f"{number}"}
        return liar.event(scene.room, "m.room.member", content, state_key=liar.user, prev=[base], depth=10**6 + number)

    written = await rows(scene, "events", "state_changes", "branch_states")
    spent = await send_in_fifties(scene, FORKS, fork)
    assert grows_not(spent), spent
    assert await rows(scene, "events", "state_changes", "branch_states") - written <= 4 * FORKS
    room = await scene.one.homeserver.rooms.live.get(scene.room_id)
    assert len(room.extremities) <= 50
    own = ("m.room.member", liar.user)
    now = await scene.state()
    assert {key: value for key, value in now.items() if key != own} == {
        key: value for key, value in before.items() if key != own
    }
    for number in range(4):
        said = await bob.say(scene.room_id, f"together {number}")
    (stored,) = await scene.one.homeserver.rooms.events.find_events(scene.room_id, room.version, [said])
    assert len(stored.event.prev_events) <= 20
    assert len((await scene.one.homeserver.rooms.live.get(scene.room_id)).extremities) <= 5
    await scene.good_event_arrives()


async def test_A22_a_space_of_ten_thousand_children_is_told_of_by_the_page(network: Network) -> None:
    one = network.servers["one.test"]
    levels = {"events": {"m.space.child": 0}}
    scene = await open_scene(network, one, creation_content={"type": "m.space"}, power_level_content_override=levels)

    def child(number: int) -> Event:
        key = scene.room_id if number % 10 == 0 else f"!c{number}:liar.test"
        return scene.liar.event(
            scene.room, "m.space.child", {"via": ["liar.test"], "n": number}, state_key=key, advance=True
        )

    spent = await send_in_fifties(scene, LONG, child)
    assert grows_not(spent), spent
    before = len(scene.liar.asked)
    page = await scene.alice.get(f"/_matrix/client/v1/rooms/{scene.room_id}/hierarchy", limit=50)
    assert len(scene.liar.asked) - before <= 200
    assert len(page["rooms"][0]["children_state"]) <= 1_000
    room = scene.room_id.replace("!", "%21").replace(":", "%3A")
    told = await scene.liar.request(one, "GET", f"{V1}/hierarchy/{room}")
    assert told.status == 200
    assert len(told.body) < 2_000_000
    await scene.good_event_arrives()


@pytest.fixture
async def stored(database: Database) -> AsyncIterator[Scene]:
    """A scene on a database of its own."""
    network = Network()
    one = await open_federated(network, "one.test", database)
    yield await open_scene(network, one)
    for server in network.servers.values():
        await server.close()


async def test_A15_malformed_events_stop_no_good_one_on_any_database(stored: Scene) -> None:
    assert await run(stored, MALFORMED, seed=15) > MALFORMED / 50
    await stored.good_event_arrives()


def _of_a_scene() -> dict[str, Callable[[Scene], Awaitable[None]]]:
    """The liar's tests that need nothing but a scene."""
    modules = (
        test_attacks_on_events,
        test_attacks_on_patience,
        test_attacks_on_requests,
        test_attacks_on_signatures,
    )
    return {
        name: test
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_") and list(inspect.signature(test).parameters) == ["scene"]
    }


@pytest.mark.parametrize("database_engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("test", _of_a_scene().values(), ids=_of_a_scene().keys())
async def test_lies_on_postgresql(stored: Scene, test: Callable[[Scene], Awaitable[None]]) -> None:
    await test(stored)
