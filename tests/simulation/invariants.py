"""What must hold in a room when quiet has come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.storage.events import ACCEPTED, FOR_GOOD_REJECTED, WITHOUT_A_PLACE
from tests.support.simulated_server import SimulatedServer

if TYPE_CHECKING:
    from tests.simulation.world import Acknowledged, Room, World


@dataclass
class View:
    """What a server takes a room for. `events`: (status, event) by id; `problems`: where its memory is not what its
    database says."""

    state: dict[tuple[str, str], str]
    heads: list[str]
    members: dict[str, str]
    servers: frozenset[str]
    events: dict[str, tuple[int, Event]]
    problems: list[str] = field(default_factory=list)


async def check_rooms(world: World) -> list[str]:
    """What does not hold."""
    problems: list[str] = []
    for room in world.rooms:
        views = await _views(world, room)
        for view in views.values():
            problems += view.problems
        problems += [f"{room.room_id} (version {room.version}): {one}" for one in _compare(world, room, views)]
    return problems


async def _views(world: World, room: Room) -> dict[str, View]:
    """How each server that knows a room sees it, with all of its past that it can have."""
    views: dict[str, View] = {}
    for server in world.servers.values():
        await _scroll_back(server, room)
        view = await _view(server, room)
        if view is not None:
            views[server.name] = view
    return views


async def check_told(world: World) -> list[str]:
    """Whoever is in a room has heard of everything that was acknowledged in it, before anybody says more; but for what
    was said when they had just come in, by somebody who did not know that: nobody sends it to them, and they learn of
    it from the next event."""
    problems: list[str] = []
    for room in world.rooms:
        views = await _views(world, room)
        inside = _inside(views)
        graph = {event_id: event for name in inside for event_id, (_, event) in views[name].events.items()}
        arrivals = {name: _arrivals(graph, name) for name in inside}
        for one in world.acknowledged:
            if one.room_id == room.room_id and one.server in inside and not _is_left_behind(world, one, views):
                lacking = [name for name in inside if not _has(views[name], one.event_id)]
                unaware = [name for name in lacking if not arrivals[name] <= _past(graph, {one.event_id})]
                world.count("told by the next event", len(unaware))
                lacking = [name for name in lacking if name not in unaware]
                if lacking:
                    problems.append(f"{room.room_id}: {lacking} never heard of {one.event_id} ({one.what})")
    return problems


def _arrivals(graph: dict[str, Event], name: str) -> set[str]:
    """The joins by which a server came into the room while none of its users was there: as whoever let it in knew, or
    as it knew itself, whose last words were on their way (what a server says while it is in stands on all of that)."""
    own = {event_id: _past(graph, {event_id}) for event_id, each in graph.items() if domain_of(each.sender) == name}
    found: set[str] = set()
    for event_id in own:
        if not _is_join(graph[event_id]):
            continue
        newest: dict[str | None, Event] = {}
        for each in sorted((graph[one] for one in own[event_id] - {event_id} if one in graph), key=_depth):
            if each.type == "m.room.member" and domain_of(each.state_key or "") == name:
                newest[each.state_key] = each
        is_first = not any(_is_join(each) for each in newest.values())
        if is_first or any(one not in own[event_id] and event_id not in own[one] for one in own):
            found.add(event_id)
    return found


def _depth(event: Event) -> int:
    return event.depth


def _is_join(event: Event) -> bool:
    return event.type == "m.room.member" and event.content.get("membership") == "join"


def _is_left_behind(world: World, one: Acknowledged, views: dict[str, View]) -> bool:
    """Whether its own server came back into the room after it and began anew with what the others knew: then it is told
    only if nothing else goes wrong, such as a crash. It must be rare; it is counted."""
    view = views[one.server]
    graph = {event_id: event for event_id, (_, event) in view.events.items()}
    is_left_behind = one.event_id not in _past(graph, set(view.heads))
    world.count("left behind", int(is_left_behind))
    return is_left_behind


def _inside(views: dict[str, View]) -> list[str]:
    """The servers that are in a room as all of them have it."""
    claiming = [name for name, view in views.items() if name in view.servers]
    return [name for name in claiming if all(name in views[other].servers for other in claiming)]


async def check_whispers(world: World) -> list[str]:
    """Every message between devices has arrived, and none twice."""
    problems: list[str] = []
    for server in world.servers.values():
        for user in sorted(world.whispered & server.tokens.keys()):
            heard: list[str] = []
            since: dict[str, str] = {}
            while True:
                answer = await server.request(user, "GET", "/sync", filter='{"room":{"rooms":[]}}', **since)
                assert answer is not None
                events = answer.json.get("to_device", {}).get("events", [])
                if not events:
                    break
                heard += [event["content"]["name"] for event in events]
                since = {"since": answer.json["next_batch"]}
            sent = [name for name, target in world.whispers.items() if target == user]
            problems += [f"{user} has never heard {name!r}" for name in sent if name not in heard]
            problems += [f"{user} has heard {name!r} twice" for name in {*heard} if heard.count(name) > 1]
    return problems


async def _scroll_back(server: SimulatedServer, room: Room) -> None:
    """Fetch what the server does not have of the room's past, as it does when a client scrolls there."""
    live = await server.process.run(server.homeserver.rooms.live.find(room.room_id))
    if live is not None and live.has_server(server.name):
        for _ in range(20):
            if not await server.process.run(server.federation.backfill.backfill(live)):
                break


async def _view(server: SimulatedServer, room: Room) -> View | None:
    """A server's view; None when it does not know the room."""
    rooms, db = server.homeserver.rooms, server.homeserver.db
    version = ROOM_VERSIONS[room.version]
    live = await server.process.run(rooms.live.find(room.room_id))
    if live is None:
        return None
    rows = await db.fetch_all("SELECT event_id, status, json FROM events WHERE room_id = ?", (room.room_id,))
    view = View(
        dict(live.state_ids),
        sorted(head.event_id for head in live.extremities),
        {user: membership for user, membership in sorted(live.members.items()) if membership != "leave"},
        frozenset(live.server_names),
        {row[0]: (row[1], Event(json.loads(row[2]), version, row[0])) for row in rows},
    )
    problems = view.problems
    stored_state = dict(await rooms.store.list_state_ids(room.room_id))
    if stored_state != view.state:
        problems.append(
            f"{server.name} remembers another state than it stored: {_difference(view.state, stored_state)}"
        )
    row = await rooms.store.find_room(room.room_id)
    assert row is not None
    if sorted(head[0] for head in row[2]) != view.heads:
        problems.append(f"{server.name} remembers other extremities than it stored")
    stored = {one.user_id: one.membership for one in await rooms.store.list_members(room.room_id)}
    stored = {user: membership for user, membership in sorted(stored.items()) if membership != "leave"}
    if stored != view.members and server.name in view.servers:  # else nobody follows who is there
        problems.append(f"{server.name} remembers the members {view.members}, and has stored {stored}")
    for key, event_id in view.state.items():
        if event_id not in view.events:
            problems.append(f"{server.name} has no event for its state at {key}")
    return view


def _compare(world: World, room: Room, views: dict[str, View]) -> Iterable[str]:
    inside = _inside(views)
    world.count("rooms")
    world.count("claiming", sum(name in view.servers for name, view in views.items()))
    world.count("inside", len(inside))
    for one in world.acknowledged:
        if one.room_id == room.room_id:
            status = views[one.server].events.get(one.event_id, (None, None))[0] if one.server in views else None
            if status != ACCEPTED:
                yield f"{one.server} has acknowledged {one.event_id} ({one.what}), and its status there is {status}"
    if not inside:
        return
    first = inside[0]
    for name in inside[1:]:
        if views[name].state != views[first].state:
            yield f"states of {first} and {name} differ: {_difference(views[first].state, views[name].state)}"
        if views[name].heads != views[first].heads:
            yield f"extremities of {first} and {name} differ: {views[first].heads} {views[name].heads}"
        if views[name].members != views[first].members:
            yield f"members of {first} and {name} differ: {views[first].members} {views[name].members}"
    graph: dict[str, Event] = {}
    for name in inside:
        graph.update((event_id, event) for event_id, (_, event) in views[name].events.items())
    line = _past(graph, {head for name in inside for head in views[name].heads})
    for event_id in sorted(line):
        if any(_has(views[name], event_id) for name in inside):  # else whoever had it has left
            lacking = [name for name in inside if not _has(views[name], event_id)]
            if lacking:
                event = graph[event_id]
                yield f"{lacking} have not {event_id} ({event.type} of {event.sender}, depth {event.depth})"
    for event_id in line:
        rejected = [n for n in inside if (found := views[n].events.get(event_id)) and found[0] in FOR_GOOD_REJECTED]
        accepted = [n for n in inside if (found := views[n].events.get(event_id)) and found[0] == ACCEPTED]
        if rejected and accepted:
            yield f"{event_id} ({graph[event_id].type}) is rejected by {rejected} and accepted by {accepted}"
    for one in world.acknowledged:
        if one.room_id != room.room_id or one.server not in inside or one.event_id in line:
            continue
        if not _is_left_behind(world, one, views):
            yield f"{one.event_id} ({one.what}), acknowledged by {one.server}, is not in the room's line"


def _has(view: View, event_id: str) -> bool:
    """Whether a server has an event at its place in the room's graph."""
    found = view.events.get(event_id)
    return found is not None and found[0] not in WITHOUT_A_PLACE


def _past(graph: dict[str, Event], start: set[str]) -> set[str]:
    """Events and all that comes before them."""
    found: set[str] = set()
    waiting = [*start]
    while waiting:
        event_id = waiting.pop()
        if event_id not in found:
            found.add(event_id)
            if event_id in graph:
                waiting += graph[event_id].prev_events
    return found


def _difference(one: dict[tuple[str, str], Any], other: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    return {key: (one.get(key), other.get(key)) for key in keys}
