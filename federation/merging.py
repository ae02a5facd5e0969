"""Brings a room's ends together again: forward extremities are merged by an event of ours that says nothing.

Each end costs whoever receives an event of the room a state resolution, and an event of ours names at most twenty. So
when a room has ten ends for a while, a local user who may write sends an `org.matrix.dummy_event` that names them, as
other homeservers do; from twenty ends on, at once. The event itself is told to nobody: no client sees it, and other
servers ask for it when the next event names it. Where no local user may write, somebody joins once more, which every
member may.

What a hostile server makes of branches meanwhile is bounded in `rooms/received_alone.py`: beyond fifty ends a new
branch is stored and shown, and is no end that counts until an event stands on it together with others. No end is ever
dropped for a newer one: whoever makes many cannot push the others out.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any, Final

from homeserver.clock import Clock, Timer
from homeserver.protocol.authorization import NotAuthorized, auth_keys, check_authorized
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.branches import Branches, UnknownEvents
from homeserver.rooms.live_room import MEMBER, Head, LiveRoom, LiveRooms
from homeserver.rooms.pipeline import CREATE, MAX_PREV_EVENTS, Draft, Pipeline
from homeserver.rooms.receiving import Accepted, Receiver
from homeserver.rooms.visibility import DUMMY
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStore
from homeserver.storage.rooms import StateKey
from homeserver.stream import Change, Stream

MANY: Final = 10
PAUSE_SECONDS: Final = 30.0
SENDERS_MAX: Final = 5

_log = logging.getLogger(__name__)


class Merging:
    """Looks after the rooms in which something happens."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        events: EventStore,
        branches: Branches,
        pipeline: Pipeline,
        receiver: Receiver,
        stream: Stream,
        clock: Clock,
        chance: random.Random,
        server_name: str,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._events = events
        self._branches = branches
        self._pipeline = pipeline
        self._receiver = receiver
        self._clock = clock
        self._chance = chance
        self._server_name = server_name
        self._due: dict[str, Timer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        stream.listen(self._changed)

    async def close(self) -> None:
        """End what is under way."""
        for timer in self._due.values():
            timer.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is not Change.EVENTS:
            return
        for room_id in rooms:
            room = self._rooms.peek(room_id)
            if room is None or len(room.extremities) < MANY or room_id in self._tasks:
                continue
            if len(room.extremities) >= MAX_PREV_EVENTS:
                self._begin(room_id)
            elif room_id not in self._due:  # perhaps another server, or somebody who speaks, is faster
                pause = PAUSE_SECONDS * (0.5 + self._chance.random())
                self._due[room_id] = self._clock.call_later(pause, lambda room_id=room_id: self._begin(room_id))  # type: ignore[misc]

    def _begin(self, room_id: str) -> None:
        timer = self._due.pop(room_id, None)
        if timer is not None:
            timer.cancel()
        if room_id not in self._tasks:
            task = asyncio.create_task(self._run(room_id), name=f"merging the ends of {room_id}")
            self._tasks[room_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(room_id, None))

    async def _run(self, room_id: str) -> None:
        try:
            while (room := self._rooms.peek(room_id)) is not None and len(room.extremities) >= MANY:
                if not await self.merge(room_id):
                    return
        except (MatrixError, UnknownEvents) as error:
            _log.info("The ends of %s are not merged: %s", room_id, error)
        except Exception:
            _log.exception("The ends of %s could not be merged", room_id)

    async def merge_all(self, room_id: str) -> None:
        """Until an event can name all ends of the room, or nothing more can be done."""
        while (room := self._rooms.peek(room_id)) is not None and len(room.extremities) > MAX_PREV_EVENTS:
            if not await self.merge(room_id):
                return

    async def merge(self, room_id: str) -> bool:
        """Send one event that names the ends that are the longest; whether there are fewer now."""
        room = await self._rooms.get(room_id)
        async with room.hold():
            await self._db.write(_nothing)  # what was drafted is committed then, or void
            count = len(room.extremities)
            if self._rooms.peek(room_id) is not room or count < 2 or room.partial is not None:
                return False
            event = await self._event(room, room.extremities[:MAX_PREV_EVENTS])
        if event is None:
            return False
        outcome = await self._receiver.receive(event)
        now = self._rooms.peek(room_id)
        return isinstance(outcome, Accepted) and now is not None and len(now.extremities) < count

    async def _event(self, room: LiveRoom, heads: list[Head]) -> Event | None:
        _, state = await self._branches.merged(
            room, await self._branches.after(room, [head.event_id for head in heads])
        )
        for draft in await self._drafts(room):
            try:
                return await self._sign(room, draft, heads, state)
            except NotAuthorized:
                continue
        return None

    async def _drafts(self, room: LiveRoom) -> list[Draft]:
        """What could merge the ends, the best first."""
        levels = room.power_levels
        ours = [user_id for user_id in room.joined_members() if domain_of(user_id) == self._server_name]
        able = [user_id for user_id in ours if levels.of(user_id) >= levels.needed_for(DUMMY, is_state=False)]
        drafts = [Draft(user_id, DUMMY, {}) for user_id in able[:SENDERS_MAX]]
        for user_id, stored in (await self._rooms.load_member_events(room, ours[:SENDERS_MAX])).items():
            content: dict[str, Any] = dict(stored.event.content)
            content.pop("join_authorised_via_users_server", None)
            drafts.append(Draft(user_id, MEMBER, content, user_id))
        return drafts

    async def _sign(self, room: LiveRoom, draft: Draft, heads: list[Head], state: Mapping[StateKey, str]) -> Event:
        keys = auth_keys(draft.type, draft.sender, draft.state_key, draft.content, room.version)
        wanted = [state[key] for key in {*keys, CREATE} if key in state]
        found = {
            stored.event.key: stored.event
            for stored in await self._events.find_events(room.room_id, room.version, wanted)
        }
        event = self._pipeline.sign_on(room, draft, heads, {key: found[key] for key in keys if key in found})
        check_authorized(event, found)
        return event


async def _nothing(txn: Transaction) -> None:
    return None
