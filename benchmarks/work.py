"""The work that both servers do. A case measures one thing and gives one number; several rounds give several."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from benchmarks import abroad
from benchmarks.machine import cpu_seconds, wait_until_idle
from benchmarks.person import Person
from benchmarks.town import BIG_ACCOUNT_ROOMS, WRITERS, Town, at_once

SECONDS = 4.0
TURNS = 10
ELEMENT_FILTER = '{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}'
ELEMENT_X_LISTS = {
    "conn_id": "room-list",
    "lists": {
        "all_rooms": {
            "ranges": [[0, 19]],
            "timeline_limit": 1,
            "required_state": [
                ["m.room.name", ""],
                ["m.room.encryption", ""],
                ["m.room.member", "$LAZY"],
                ["m.room.member", "$ME"],
                ["m.room.topic", ""],
                ["m.room.canonical_alias", ""],
                ["m.room.power_levels", ""],
                ["m.room.join_rules", ""],
                ["m.room.create", ""],
                ["m.space.child", "*"],
            ],
        }
    },
    "extensions": {
        "account_data": {"enabled": True},
        "receipts": {"enabled": True, "rooms": ["*"]},
        "typing": {"enabled": True},
    },
}


async def rate(workers: Sequence[Callable[[], Awaitable[None]]], seconds: float = SECONDS) -> float:
    """Calls a second of several workers, each of which begins again as soon as it is answered."""
    calls = 0
    deadline = time.perf_counter() + seconds
    last = begun = time.perf_counter()

    async def work(call: Callable[[], Awaitable[None]]) -> None:
        nonlocal calls, last
        while time.perf_counter() < deadline:
            await call()
            calls += 1
            last = time.perf_counter()

    await asyncio.gather(*(work(call) for call in workers))
    return calls / (last - begun)


async def sends(town: Town, rooms: Sequence[str], writers: Sequence[Person]) -> float:
    """Messages a second."""

    def worker(person: Person, room_id: str) -> Callable[[], Awaitable[None]]:
        return lambda: person.send(room_id, "The quick brown fox jumps over the lazy dog")

    return await rate([worker(person, room_id) for person, room_id in zip(writers, rooms, strict=True)])


async def sends1(town: Town) -> float:
    return await sends(town, [town.shared_room], town.writers[:1])


async def sends16(town: Town) -> float:
    return await sends(town, [town.shared_room] * WRITERS, town.writers)


async def sends16_rooms(town: Town) -> float:
    return await sends(town, town.own_rooms, town.writers)


async def sends16_cpu(town: Town) -> float:
    """CPU milliseconds of the server for one message (without a PostgreSQL's)."""
    before = cpu_seconds(town.pid)
    begun = time.perf_counter()
    speed = await sends16(town)
    return (cpu_seconds(town.pid) - before) * 1000 / (speed * (time.perf_counter() - begun))


async def waiting(town: Town) -> float:
    """Milliseconds from the send's start until the last of the waiting members has the message; a median of several."""
    readers = town.people
    sender = readers[0].second_connection()
    tokens = [token for token, _ in await at_once(4, [reader.sync() for reader in readers])]
    times = []
    for turn in range(TURNS):
        marker = f"message-{time.monotonic_ns()}-{turn}".encode()
        polls = [asyncio.create_task(wait_for(reader, tokens[at], marker)) for at, reader in enumerate(readers)]
        await asyncio.to_thread(wait_until_idle, town.pid)
        begun = time.perf_counter()
        await sender.send(town.waiting_room, marker.decode())
        received = await asyncio.gather(*polls)
        times.append((max(moment for moment, _ in received) - begun) * 1000)
        tokens = [token for _, token in received]
    sender.http.close()
    return statistics.median(times)


async def wait_for(reader: Person, since: str, marker: bytes) -> tuple[float, str]:
    """When the message with that marker came to a long-polling reader, and the token after it."""
    while True:
        since, body = await reader.sync(since, timeout_ms=30_000)
        if marker in body:
            return time.perf_counter(), since


async def joins(town: Town) -> float:
    """Joins a second of a public room, eight people at a time."""
    town.rooms_made += 1
    room_id = await town.writers[0].create_room(f"Open {town.rooms_made}", preset="public_chat")
    joining = town.people[1:]
    begun = time.perf_counter()
    await at_once(8, [person.join(room_id) for person in joining])
    seconds = time.perf_counter() - begun
    members = (await town.writers[0].call("GET", f"/rooms/{quote(room_id)}/joined_members"))["joined"]
    assert set(members) == {person.user_id for person in town.people}, "not everybody who joined is a member"
    return len(joining) / seconds


async def creations(town: Town) -> float:
    """Rooms created a second, by four people."""

    def worker(person: Person) -> Callable[[], Awaitable[None]]:
        async def create() -> None:
            await person.create_room("A new room")

        return create

    return await rate([worker(person) for person in town.people[-4:]])


async def initial_sync(town: Town) -> float:
    """Milliseconds of a first /sync of an account in many rooms; each on a fresh device, which no cache knows."""
    assert town.owner is not None
    times = []
    for _ in range(5):
        device = await town.owner.fresh_device()
        await asyncio.to_thread(wait_until_idle, town.pid)
        begun = time.perf_counter()
        _, body = await device.sync(filter_json=ELEMENT_FILTER)
        times.append((time.perf_counter() - begun) * 1000)
        check_rooms(town, body)
        device.http.close()
    return statistics.median(times)


def check_rooms(town: Town, body: bytes) -> None:
    missing = [room_id for room_id in town.big_rooms if room_id.encode() not in body]
    assert not missing, f"the initial sync lacks {len(missing)} of {len(town.big_rooms)} rooms"


async def initial_of_many(town: Town) -> float:
    """Milliseconds of a first /sync of an account in a thousand rooms, on a fresh device."""
    assert town.traveller is not None
    times = []
    for _ in range(3):
        device = await town.traveller.fresh_device()
        await asyncio.to_thread(wait_until_idle, town.pid)
        begun = time.perf_counter()
        _, body = await device.sync(filter_json=ELEMENT_FILTER)
        times.append((time.perf_counter() - begun) * 1000)
        assert body.count(b'"prev_batch"') == len(town.many_rooms), "the initial sync lacks rooms"
        device.http.close()
    return statistics.median(times)


async def sliding(town: Town) -> float:
    """Milliseconds of the first answer of a sliding sync, as Element X begins it: the newest 20 of a thousand rooms."""
    assert town.traveller is not None
    times = []
    for _ in range(5):
        device = await town.traveller.fresh_device()
        await asyncio.to_thread(wait_until_idle, town.pid)
        begun = time.perf_counter()
        _, body = await device.slide(ELEMENT_X_LISTS)
        times.append((time.perf_counter() - begun) * 1000)
        assert body.count(b'"prev_batch"') == 20, body[:500]
        device.http.close()
    return statistics.median(times)


async def incremental_sync(town: Town) -> float:
    """Milliseconds of a /sync that brings one message to an account in many rooms."""
    assert town.owner is not None
    since, _ = await town.owner.sync(filter_json=ELEMENT_FILTER)
    times = []
    for turn in range(40):
        room = turn % BIG_ACCOUNT_ROOMS
        await town.people[room % WRITERS].send(town.big_rooms[room], f"news-{turn}")
        begun = time.perf_counter()
        since, body = await town.owner.sync(since, filter_json=ELEMENT_FILTER)
        times.append((time.perf_counter() - begun) * 1000)
        assert f"news-{turn}".encode() in body
    return statistics.median(times)


async def pagination(town: Town) -> float:
    """Milliseconds of a page of 100 messages, walking back through ten of them."""
    reader = town.writers[1]
    times = []
    position = ""
    for _ in range(10):
        path = f"/rooms/{quote(town.shared_room)}/messages?dir=b&limit=100{position}"
        begun = time.perf_counter()
        body = await reader.raw("GET", path)
        times.append((time.perf_counter() - begun) * 1000)
        page = decode_page(body)
        position = f"&from={quote(page)}"
    return statistics.median(times)


def decode_page(body: bytes) -> str:
    page = msgspec.json.decode(body)
    # Synapse now and then leaves one out of a page.
    assert len(page["chunk"]) >= 99, len(page["chunk"])
    end: str = page["end"]
    return end


@dataclass(frozen=True)
class Case:
    """One thing that is measured: `measure` does the work and gives a number of that unit."""

    name: str
    title: str
    unit: str
    higher_is_better: bool
    measure: Callable[[Town], Awaitable[float]]
    bar: float | None = None
    """How many times better than Synapse's Halfdoor's must be."""
    federated: bool = False
    """Whether it is played on servers that are open to others."""


def abroad_cases() -> list[Case]:
    """The work between servers."""

    def case(
        name: str, title: str, unit: str, measure: Callable[[Town], Awaitable[float]], bar: float | None = None
    ) -> Case:
        return Case(name, title, unit, unit == "/s", measure, bar, federated=True)

    return [
        case("inbound", "events of another server, 50 a transaction", "/s", abroad.inbound, 8),
        case("inbound4", "the same of 4 servers with a room each", "/s", abroad.inbound4, 8),
        case("branches", "events of 4 servers at once in one room", "/s", abroad.inbound_branches),
        case("resolution250", "a fork of 250 conflicted events: its other branch", "s", abroad.resolution250),
        case("resolution", "a fork of 1,000 conflicted events: its other branch", "s", abroad.resolution),
        case("join5000", "join of a room of 5,000, until a message is there", "s", abroad.join_big, 5),
        case("join5000_whole", "the same, where the whole state is told at once", "s", abroad.join_big_whole),
    ]


CASES = [
    Case("sends1", "messages, 1 writer", "/s", True, sends1),
    Case("sends16", "messages, 16 writers in one room", "/s", True, sends16, bar=15),
    Case("sends16_rooms", "messages, 16 writers in rooms of their own", "/s", True, sends16_rooms),
    Case("sends16_cpu", "CPU of the server for one of these messages", "ms", False, sends16_cpu),
    Case("waiting", "60 waiting members, the last has the message", "ms", False, waiting, bar=20),
    Case("joins", "joins of a public room", "/s", True, joins),
    Case("creations", "room creations", "/s", True, creations, bar=8),
    Case("initial_sync", "initial sync, 150 rooms", "ms", False, initial_sync, bar=5),
    Case("initial1000", "initial sync, 1,000 rooms", "ms", False, initial_of_many, bar=5),
    Case("sliding", "sliding sync, first 20 of 1,000 rooms", "ms", False, sliding),
    Case("incremental_sync", "incremental sync, 150 rooms", "ms", False, incremental_sync),
    Case("pagination", "page of 100 messages", "ms", False, pagination),
    *abroad_cases(),
]
