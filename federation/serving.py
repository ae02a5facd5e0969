"""What other servers may read of rooms: events, states, history. Every answer names one room and leaves nothing of
another out or in (B18, B19), and only servers that are in the room get one (B20).

Spec: Server-Server API, "Retrieving events", "Backfilling and retrieving missing events", "Event authorisation".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from federation.transactions import acl_of, takes_part
from homeserver.protocol.errors import Forbidden, NotFound
from homeserver.protocol.events import Event
from homeserver.protocol.history_visibility import server_may_see, visibility_of
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.redaction import redact
from homeserver.rooms.branches import UnknownEvents
from homeserver.rooms.live_room import MEMBER, LiveRoom
from homeserver.rooms.room_summaries import summary_of
from homeserver.rooms.services import RoomServices
from homeserver.storage.events import ACCEPTED, OUTLIER, SOFT_FAILED, StoredEvent
from homeserver.storage.rooms import StateKey

BACKFILL_MAX: Final = 100
MISSING_MAX: Final = 20
WALK_MAX: Final = 1_000
TOLD: Final = (ACCEPTED, SOFT_FAILED)
"""What is soft-failed is handled as any other event but towards clients and as an end of the room."""


class Serving:
    """Answers servers that are in a room."""

    def __init__(self, rooms: RoomServices, own_name: str) -> None:
        self._rooms = rooms
        self._own_name = own_name

    async def room_for(self, origin: str, room_id: str) -> LiveRoom:
        """The room, if the origin is in it as far as this server knows. It may have left itself: others still ask for
        what they missed of its last words. Raises NotFound, Forbidden."""
        room = await self._rooms.live.find(room_id)
        if room is None:
            raise NotFound("This server is not in that room")
        if not acl_of(room).allows(origin):
            raise Forbidden("The room's access control list denies this server")
        if not takes_part(room, origin):
            raise Forbidden("Your server is not in the room")
        return room

    async def _find(self, room: LiveRoom, event_id: str) -> StoredEvent:
        found = await self._rooms.events.find_events(room.room_id, room.version, [event_id])
        if not found or found[0].status not in TOLD:
            raise NotFound("The event is not known here")
        return found[0]

    async def get_event(self, origin: str, event_id: str) -> dict[str, Any]:
        """`GET /event/{eventId}`: the event as the origin may see it."""
        room_id = await self._rooms.events.find_room_id_of_any(event_id)
        if room_id is None:
            raise NotFound("The event is not known here")
        room = await self.room_for(origin, room_id)
        for stored in await self._rooms.events.find_events(room_id, room.version, [event_id]):
            if stored.status == OUTLIER and stored.event.is_state:  # as in the answers to /state and /event_auth
                return stored.event.pdu
        return (await self.visible(origin, room, [await self._find(room, event_id)]))[0]

    async def state_ids(self, origin: str, room_id: str, event_id: str) -> dict[str, Any]:
        """`GET /state_ids`: the ids of the state before an event, and of its auth chain."""
        state, found = await self._state_before(origin, room_id, event_id)
        in_state = frozenset(state)
        return {"pdu_ids": state, "auth_chain_ids": [one for one in found if one not in in_state]}

    async def state(self, origin: str, room_id: str, event_id: str) -> dict[str, Any]:
        """`GET /state`: the same with the events themselves."""
        state, found = await self._state_before(origin, room_id, event_id)
        in_state = frozenset(state)
        return {
            "pdus": [found[one][0].pdu for one in state],
            "auth_chain": [event.pdu for one, (event, _) in found.items() if one not in in_state],
        }

    async def _state_before(
        self, origin: str, room_id: str, event_id: str
    ) -> tuple[list[str], dict[str, tuple[Event, bool]]]:
        """The ids of the state, and its events with their auth chain."""
        room = await self.room_for(origin, room_id)
        if room.partial is not None:
            raise NotFound("This server has just joined that room, and does not have its whole state yet")
        await self._find(room, event_id)
        try:
            before = await self._rooms.branches.before(room, event_id)
        except UnknownEvents:
            raise NotFound("The state before that event is not known here") from None
        ids = list((await self._rooms.branches.whole(room, before)).values())
        return ids, await self._rooms.branches.with_auth_chains(room, ids)

    async def event_auth(self, origin: str, room_id: str, event_id: str) -> dict[str, Any]:
        """`GET /event_auth`: the auth chain of an event."""
        room = await self.room_for(origin, room_id)
        stored = await self._find(room, event_id)
        chain = await self._rooms.branches.with_auth_chains(room, stored.event.auth_events)
        return {"auth_chain": [event.pdu for event, _ in chain.values()]}

    async def backfill(self, origin: str, room_id: str, start: Sequence[str], limit: int) -> list[dict[str, Any]]:
        """`GET /backfill`: events and what came before them, newest first."""
        room = await self.room_for(origin, room_id)
        found = await self._rooms.events.find_events(room_id, room.version, list(start)[:20])
        found = [stored for stored in found if stored.status in TOLD]
        if not found:
            return []
        newest = max(stored.position for stored in found)
        limit = min(max(limit, 1), BACKFILL_MAX)
        page = await self._rooms.events.list_timeline(
            room_id, room.version, before=newest + 1, limit=limit, newest_first=True
        )
        here = {stored.event_id for stored in page}
        named = [stored for stored in found if stored.event_id not in here]  # soft-failed, or long before the newest
        return await self.visible(origin, room, [*page[: max(limit - len(named), 0)], *named])

    async def missing_events(
        self, origin: str, room_id: str, earliest: Sequence[str], latest: Sequence[str], limit: int, min_depth: int
    ) -> list[dict[str, Any]]:
        """`POST /get_missing_events`: what lies between, oldest first. The walk never leaves the room (B18)."""
        room = await self.room_for(origin, room_id)
        limit = min(max(limit, 1), MISSING_MAX)
        seen = set(earliest) | set(latest)
        found: list[StoredEvent] = []
        level = [
            one
            for stored in await self._rooms.events.find_events(room_id, room.version, list(latest)[:20])
            if stored.status in TOLD
            for one in stored.event.prev_events
        ]
        while level and len(found) < limit:
            wanted = [one for one in dict.fromkeys(level) if one not in seen]
            seen.update(wanted)
            level = []
            for stored in await self._rooms.events.find_events(room_id, room.version, wanted) if wanted else ():
                if stored.status in TOLD and stored.event.depth >= min_depth and len(found) < limit:
                    found.append(stored)
                    level += stored.event.prev_events
        found.sort(key=lambda stored: (stored.event.depth, stored.position))
        return await self.visible(origin, room, found)

    async def event_at(self, origin: str, room_id: str, timestamp_ms: int, *, forward: bool) -> dict[str, Any]:
        """`GET /timestamp_to_event`: the event nearest to a time."""
        room = await self.room_for(origin, room_id)
        for event_id, sent in await self._rooms.events.list_nearest(room_id, timestamp_ms, forward=forward, limit=50):
            if await self._may_see(origin, room, await self._find(room, event_id)):
                return {"event_id": event_id, "origin_server_ts": sent}
        raise NotFound("There is no event near that time")

    async def hierarchy(self, origin: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        """`GET /hierarchy`: a space and the rooms right below it that the origin may know of."""
        room = await self._rooms.live.find(room_id)
        if room is None or not await self._may_know(origin, room):
            raise NotFound("There is no such room")
        children: list[dict[str, Any]] = []
        inaccessible: list[str] = []
        for child_id in self._rooms.hierarchy.children_of(room, suggested_only=suggested_only):
            child = await self._rooms.live.find(child_id)
            if child is None or not takes_part(child, self._own_name):
                continue  # somebody else is to be asked about it
            if await self._may_know(origin, child):
                summary = summary_of(child).room_summary()
                if summary.get("room_type") == "m.space":
                    summary["children_state"] = self._rooms.hierarchy.children_state(child)
                children.append(summary)
            else:
                inaccessible.append(child_id)
        whole = {**summary_of(room).room_summary(), "children_state": self._rooms.hierarchy.children_state(room)}
        return {"room": whole, "children": children, "inaccessible_children": inaccessible}

    async def _may_know(self, origin: str, room: LiveRoom) -> bool:
        """Whether any user of a server may know of a room."""
        if not acl_of(room).allows(origin):
            return False
        if takes_part(room, origin) or await self._rooms.summaries.may_know(room, None):
            return True
        if any(value == "invite" and domain_of(user_id) == origin for user_id, value in room.members.items()):
            return True
        for allowed in summary_of(room).allowed_room_ids:
            other = await self._rooms.live.find(allowed)
            if other is not None and takes_part(other, origin):
                return True
        return False

    # ---- what a server may see

    async def visible(self, origin: str, room: LiveRoom, events: Sequence[StoredEvent]) -> list[dict[str, Any]]:
        """Events for a server: whole where one of its users may see them, else redacted."""
        answers: list[dict[str, Any]] = []
        for stored in events:
            if await self._may_see(origin, room, stored):
                answers.append(stored.event.pdu)
            else:
                answers.append(redact(stored.event.pdu, room.version))
        return answers

    async def _may_see(self, origin: str, room: LiveRoom, stored: StoredEvent) -> bool:
        if domain_of(stored.event.sender) == origin:
            return True
        if await self._rooms.visibility.is_open_to_members(room):
            return True
        if room.partial is not None and stored.position > room.partial.base:
            return takes_part(room, origin)  # who was there is not known yet; whoever is has been sent it too
        key: StateKey = ("m.room.history_visibility", "")
        try:
            before = await self._rooms.branches.whole(room, await self._rooms.branches.before(room, stored.event_id))
        except UnknownEvents:  # of before this server was in the room: the log says what others told of it
            before = await self._rooms.store.list_state_ids_at(room.room_id, stored.position - 1)
        members = [user_id for kind, user_id in before if kind == MEMBER and domain_of(user_id) == origin]
        wanted = [before[key]] if key in before else []
        wanted += [before[MEMBER, user_id] for user_id in members]
        found = {
            one.event_id: one.event for one in await self._rooms.events.find_events(room.room_id, room.version, wanted)
        }
        return server_may_see(
            stored.event,
            origin,
            visibility=visibility_of(found.get(before.get(key, ""))),
            memberships=[
                str(found[before[MEMBER, user_id]].content.get("membership"))
                for user_id in members
                if before[MEMBER, user_id] in found
            ],
            joined_later=takes_part(room, origin),
        )
