"""The work between servers: what others send, a big room joined elsewhere, a room that was forked.

The other side is `elsewhere.py`, so both servers get the same events in the same way.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from urllib.parse import quote

from benchmarks.elsewhere import FarServer, Transaction
from benchmarks.far_rooms import FarRoom, Place
from benchmarks.http_client import HttpClient
from benchmarks.machine import cpu_seconds, wait_until_idle
from benchmarks.person import Person
from benchmarks.town import Town
from homeserver.protocol.events import Event

IN_A_TRANSACTION = 50
EVENTS_READY = 10_000
SECONDS = 4.0
ORIGINS = 4
IN_A_BRANCH = 20
"""Four of these are under way at once; Synapse drops from its queue of a room what is beyond 100."""
BIG_ROOM = 5_000
BIG_ROOM_SERVERS = 50
LOOK_AGAIN_SECONDS = 0.1
PATIENCE_SECONDS = 300.0
LAZY_FILTER = '{"room":{"timeline":{"limit":20},"state":{"lazy_load_members":true}}}'
FORK = 1_000


def report(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)


async def inbound(town: Town) -> float:
    """Events a second of one server's transactions of fifty, until a client sees the last."""
    return await _inbound(town, 1)


async def inbound4(town: Town) -> float:
    """The same of four servers at once, each with a room of its own."""
    return await _inbound(town, ORIGINS)


async def _inbound(town: Town, origins: int) -> float:
    elsewhere = await town.open_elsewhere(origins)
    jobs: list[tuple[FarServer, FarRoom, list[Transaction]]] = []
    for server in elsewhere.servers:
        room = elsewhere.make_room(server)
        await town.reader.join(room.room_id, via=server.name)
        events = [room.say(f"message {number} of elsewhere") for number in range(EVENTS_READY // origins)]
        parts = [events[at : at + IN_A_TRANSACTION] for at in range(0, len(events), IN_A_TRANSACTION)]
        jobs.append((server, room, [server.transaction(town.server_name, part) for part in parts]))
    await asyncio.to_thread(wait_until_idle, town.pid)
    used = cpu_seconds(town.pid)
    begun = time.perf_counter()
    done = await asyncio.gather(*(_send(town, room, ready, begun + SECONDS) for _, room, ready in jobs))
    seconds = max(moment for moment, _ in done) - begun
    used = cpu_seconds(town.pid) - used
    report(f"{used * 1000 / sum(len(sent) for _, sent in done):.2f} ms of CPU time an event, {used / seconds:.0%} busy")
    for (_, room, _), (_, sent) in zip(jobs, done, strict=True):
        await check_history(town.reader, room, sent)
    return sum(len(sent) for _, sent in done) / seconds


async def _send(town: Town, room: FarRoom, ready: Sequence[Transaction], deadline: float) -> tuple[float, list[str]]:
    """Put transactions one after the other, the next when a client can see the one before the last. Gives the moment
    when the last event was seen, and all that were sent."""
    http = HttpClient(town.port)
    reader = town.reader.second_connection()
    sent: list[str] = []
    before: Transaction | None = None
    for transaction in ready:
        await transaction.put(http)
        sent += transaction.event_ids
        if before is not None:
            await until_seen(reader, room.room_id, before.event_ids[-1])
        before = transaction
        if time.perf_counter() > deadline:
            break
    moment = await until_seen(reader, room.room_id, sent[-1])
    http.close()
    reader.http.close()
    return moment, sent


async def inbound_branches(town: Town) -> float:
    """Events a second of four servers that write in one room at once: each transaction is a branch of its own."""
    elsewhere = await town.open_elsewhere(ORIGINS)
    room = elsewhere.make_room()
    writers = [f"@writer:{server.name}" for server in elsewhere.servers]
    for writer in writers:
        room.join(writer)
    await town.reader.join(room.room_id, via=elsewhere.first.name)
    rounds: list[list[Transaction]] = []
    for number in range(EVENTS_READY // 2 // ORIGINS // IN_A_BRANCH):
        start = room.fork()
        tips: list[Event] = []
        made = []
        for server, writer in zip(elsewhere.servers, writers, strict=True):
            room.go_to(start)
            events = [room.say(f"message {number}.{each}", writer) for each in range(IN_A_BRANCH)]
            tips += room.tips
            made.append(server.transaction(town.server_name, events))
        room.go_to(Place(tips, start.state))
        rounds.append(made)
    await asyncio.to_thread(wait_until_idle, town.pid)
    connections = [HttpClient(town.port) for _ in writers]
    begun = time.perf_counter()
    sent: list[str] = []
    moment = begun
    for transactions in rounds:
        await asyncio.gather(*(one.put(http) for one, http in zip(transactions, connections, strict=True)))
        for one in transactions:
            moment = await until_seen(town.reader, room.room_id, one.event_ids[-1])
            sent += one.event_ids
        if moment > begun + SECONDS:
            break
    for http in connections:
        http.close()
    await check_history(town.reader, room, sent)
    return len(sent) / (moment - begun)


async def join_big(town: Town) -> float:
    """Seconds from a join of a room of 5,000 people elsewhere until the user has its timeline and a message of theirs
    has come to that server. The server there can leave the members out of its answer."""
    return await _join_big(town, may_omit_members=True)


async def join_big_whole(town: Town) -> float:
    """The same where that server always tells the whole state."""
    return await _join_big(town, may_omit_members=False)


async def _join_big(town: Town, *, may_omit_members: bool) -> float:
    elsewhere = await town.open_elsewhere(BIG_ROOM_SERVERS)
    room = elsewhere.make_room()
    room.may_omit_members = may_omit_members
    for number in range(BIG_ROOM):
        server = elsewhere.servers[number % BIG_ROOM_SERVERS]
        room.join(f"@member{number}:{server.name}", displayname=f"Member {number}")
    for number in range(50):
        room.say(f"message {number} of elsewhere", f"@member{number}:{elsewhere.servers[number].name}")
    room.encode_all()
    reader = await town.newcomer()
    since, _ = await reader.sync(filter_json=LAZY_FILTER)
    await asyncio.to_thread(wait_until_idle, town.pid)
    delivered = elsewhere.delivered("hello to five thousand")
    begun = time.perf_counter()
    await reader.join(room.room_id, via=elsewhere.first.name)
    answered = time.perf_counter()
    while True:
        since, body = await reader.sync(since, timeout_ms=10_000, filter_json=LAZY_FILTER)
        if b'"timeline"' in body and room.room_id.encode() in body:
            break
    synced = time.perf_counter()
    await reader.send(room.room_id, "hello to five thousand")
    async with asyncio.timeout(PATIENCE_SECONDS):
        moment = await delivered
    report(f"the join was answered after {answered - begun:.2f} s, the timeline was there after {synced - begun:.2f} s")
    report(f"the server asked {elsewhere.asked}")
    # What goes on behind it, the rest of the state, is not to be in the way of the next case.
    await asyncio.to_thread(wait_until_idle, town.pid, quiet_seconds=0.5, limit_seconds=25)
    return moment - begun


async def resolution(town: Town) -> float:
    return await forked(town, FORK)


async def resolution250(town: Town) -> float:
    return await forked(town, FORK // 4)


async def forked(town: Town, conflicted: int) -> float:
    """Seconds for a branch of a room with half of the conflicted events, where the other half is the current state, and
    the message that merges them, until a client sees it."""
    elsewhere = await town.open_elsewhere(1)
    server, room = elsewhere.first, elsewhere.make_room()
    for number in range(conflicted // 4):
        room.join(f"@member{number}:{server.name}")
    await town.reader.join(room.room_id, via=server.name)
    start = room.fork()
    ours = make_branch(room, conflicted // 2, "ours")
    left = room.fork()
    room.go_to(start)
    theirs = make_branch(room, conflicted // 2, "theirs")
    right = room.fork()
    room.go_to(Place([*left.tips, *right.tips], right.state))
    merge = room.say("The branches are one again")
    await _deliver(town, server, room, ours)
    await asyncio.to_thread(wait_until_idle, town.pid)
    begun = time.perf_counter()
    moment = await _deliver(town, server, room, [*theirs, merge])
    return moment - begun


async def _deliver(town: Town, server: FarServer, room: FarRoom, events: Sequence[Event]) -> float:
    http = HttpClient(town.port)
    moment = 0.0
    for at in range(0, len(events), IN_A_TRANSACTION):
        transaction = server.transaction(town.server_name, events[at : at + IN_A_TRANSACTION])
        await transaction.put(http)
        moment = await until_seen(town.reader, room.room_id, transaction.event_ids[-1])
    http.close()
    return moment


def make_branch(room: FarRoom, events: int, name: str) -> list[Event]:
    """State events of every kind that resolution treats in its own way, one on the other: settings of the room, names
    of members, members who are kicked, and now and then power levels."""
    made = []
    members = [key[1] for key in room.state if key[0] == "m.room.member" and key[1] != room.creator]
    for number in range(events):
        if number % 50 == 49:
            levels = {"users": {members[number % len(members)]: number}, "events": {"org.example.setting": 0}}
            made.append(room.add(room.creator, "m.room.power_levels", levels, state_key=""))
        elif number % 4 == 1:
            who = members[number // 2 % len(members)]
            made.append(room.join(who, displayname=f"{name} {number}"))
        elif number % 4 == 3:
            who = members[number // 2 % len(members)]
            content = {"membership": "leave", "reason": name}
            made.append(room.add(room.creator, "m.room.member", content, state_key=who))
        else:
            content = {"value": f"{name} {number}"}
            made.append(room.add(room.creator, "org.example.setting", content, state_key=f"setting {number}"))
    return made


async def until_seen(reader: Person, room_id: str, event_id: str) -> float:
    """When a client can read an event."""
    path = f"/_matrix/client/v3/rooms/{quote(room_id)}/event/{quote(event_id)}"
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while True:
        answer = await reader.http.request("GET", path, token=reader.token)
        now = time.perf_counter()
        if answer.status == 200:
            return now
        assert answer.status == 404, answer.body
        assert now < deadline, f"{event_id} was never seen"
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def check_history(reader: Person, room: FarRoom, sent: Sequence[str]) -> None:
    """Raises AssertionError unless every event that was sent is in the room's history."""
    missing = set(sent)
    position = ""
    while missing:
        page = await reader.call("GET", f"/rooms/{quote(room.room_id)}/messages?dir=b&limit=200{position}")
        missing -= {event["event_id"] for event in page["chunk"]}
        if "end" not in page or not page["chunk"]:
            break
        position = f"&from={quote(page['end'])}"
    assert not missing, f"{len(missing)} of {len(sent)} events are not in the room's history"
