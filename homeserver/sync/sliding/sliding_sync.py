"""Sliding sync: the rooms that a client looks at, newest first, and of each what it asked for and does not have yet.

An answer is made in steps: which rooms there are and which of them the request means (`lists.py`); of those that have
news what is new (`rooms.py`); what stands beside them (`extensions.py`); and what the client has with it
(`connections.py`). Spec: MSC4186, in the form of `org.matrix.simplified_msc3575`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from homeserver.protocol.errors import UnknownPos
from homeserver.rooms.live_room import MEMBER, LiveRooms
from homeserver.storage.purges import PurgeStore
from homeserver.storage.receipts import Receipt, ReceiptStore
from homeserver.storage.sliding_sync import ConnectionKey
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRequest, SyncRun
from homeserver.sync.sliding.activity import RoomActivity
from homeserver.sync.sliding.connections import LIVE, Connection, Connections, Place, Sent, SentRoom
from homeserver.sync.sliding.extensions import ExtensionsAnswer, ExtensionSections, Look
from homeserver.sync.sliding.lists import RoomLists, Selection
from homeserver.sync.sliding.request import Extensions, SlidingSyncRequest
from homeserver.sync.sliding.rooms import RoomAnswer, RoomAnswers, RoomTask
from homeserver.sync.sync import Sync
from homeserver.sync.waiting import LongPolls

T = TypeVar("T")

AT_ONCE: Final = 16
"""How many rooms are read at once."""
_COUNTS = frozenset({"notification_count", "highlight_count"})


@dataclass(slots=True)
class _Found:
    """One look."""

    run: SyncRun
    chosen: Selection
    rooms: dict[str, Any]
    extensions: ExtensionsAnswer
    added: Sent


class SlidingSync:
    """Answers sliding sync."""

    def __init__(
        self,
        *,
        sync: Sync,
        polls: LongPolls,
        stream: Stream,
        connections: Connections,
        activity: RoomActivity,
        lists: RoomLists,
        answers: RoomAnswers,
        extensions: ExtensionSections,
        live: LiveRooms,
        receipts: ReceiptStore,
        purges: PurgeStore,
    ) -> None:
        self._sync = sync
        self._polls = polls
        self._stream = stream
        self.connections = connections
        self._activity = activity
        self._lists = lists
        self._answers = answers
        self._extensions = extensions
        self._live = live
        self._receipts = receipts
        self._purges = purges

    async def sync(self, request: SlidingSyncRequest) -> dict[str, Any]:
        """The answer's body. Waits up to `timeout_ms` while there is nothing new. Raises UnknownPos, InvalidParam."""
        request.body.check()
        requester, body = request.requester, request.body
        key = ConnectionKey(requester.user_id, requester.device_id or "", body.conn_id or "")
        place = None if request.pos is None else Place.parse(request.pos)
        if place is not None and place.stream.position > self._stream.position:
            raise UnknownPos("This position is of a time that is gone; begin anew.")
        connection = self.connections.begin(key) if place is None else await self.connections.resume(key, place)
        connection.turn += 1
        turn = connection.turn
        extensions = body.extensions or Extensions()
        await self._extensions.acknowledge(requester.user_id, requester.device_id, extensions)

        async def look() -> tuple[_Found, bool]:
            found = await self._look(request, connection, place, extensions)
            is_over = connection.turn != turn
            return found, bool(place is None or found.rooms or found.extensions.is_news or is_over)

        async with self._polls.present(requester, request.set_presence):
            found = await self._polls.wait(requester, request.timeout_ms, look)
        if connection.turn != turn and request.pos is not None:
            # The client has asked again meanwhile, so that nobody reads this answer; nothing may follow from it.
            return {"pos": request.pos, "lists": {}, "rooms": {}, "extensions": {}}
        number = await self.connections.answer(connection, found.added, is_new=place is None)
        return {
            "pos": str(Place(found.run.now, number)),
            "lists": found.chosen.lists,
            "rooms": found.rooms,
            "extensions": found.extensions.body,
        }

    def forget_all(self) -> None:
        """Drop what is in memory: another process may have changed anything."""
        self.connections.forget_all()
        self._activity.forget_all()
        self._lists.forget_all()

    async def _look(
        self, request: SlidingSyncRequest, connection: Connection, place: Place | None, extensions: Extensions
    ) -> _Found:
        sent = connection.confirmed
        since = None if place is None else place.stream
        run = await self._sync.begin(SyncRequest(request.requester, since=since, with_partial=True))
        chosen = await self._lists.select(run, request.body, sent)
        for room_id in [one for one, wanted in chosen.wanted.items() if wanted.state.all_members]:
            if self._live.partial.find(room_id) is not None:
                del chosen.wanted[room_id]  # it is told of when its members are here
        added = Sent()
        own = await self._own_receipts(run)
        answers = await self._room_answers(run, chosen, sent, added, own)
        self._note_unsent(run, chosen, sent, added, own)
        rooms = {room_id: answer.body for room_id, answer in answers.items() if answer.body is not None}
        rooms |= await self._deleted(run, sent)
        found = await self._extensions.answer(extensions, Look(run, chosen, answers, sent, added))
        return _Found(run, chosen, rooms, found, added)

    async def _deleted(self, run: SyncRun, sent: Sent) -> dict[str, Any]:
        """Rooms that the client has and an operator deleted. No event of them is left, so the one by which clients know
        that they are out of a room is made for the answer."""
        if run.is_initial or not self._stream.changed_since(Change.MEMBERSHIP, run.user_id, run.after):
            return {}
        left = {"content": {"membership": "leave"}, "sender": run.user_id, "state_key": run.user_id, "type": MEMBER}
        return {
            room_id: {
                "initial": True,
                "bump_stamp": run.now.position,
                "required_state": [{**left, "event_id": f"$deleted-{room_id[1:]}", "origin_server_ts": 0}],
            }
            for room_id in await self._purges.list_deleted(run.user_id, run.after, run.now.position)
            if room_id in sent.rooms
        }

    async def _own_receipts(self, run: SyncRun) -> dict[str, list[Receipt]] | None:
        """The reader's receipts by room, where they are of use; None where they have not changed."""
        if not run.is_initial and not self._stream.changed_since(Change.PRIVATE_RECEIPTS, run.user_id, run.after):
            return None
        found: dict[str, list[Receipt]] = {}
        for receipt in await self._receipts.list_own(run.user_id):
            found.setdefault(receipt.room_id, []).append(receipt)
        return found

    async def _room_answers(
        self,
        run: SyncRun,
        chosen: Selection,
        sent: Sent,
        added: Sent,
        own: Mapping[str, list[Receipt]] | None,
    ) -> dict[str, RoomAnswer]:
        """Of the rooms that the request means, those that have news; what the client has of them is noted."""
        due: list[tuple[str, SentRoom | None, int | None, bool]] = []
        for room_id, wanted in chosen.wanted.items():
            before = sent.room(room_id)
            after = None if before is None else (run.after if before.place == LIVE else before.place)
            read = after is not None and own is not None and any(one.position > after for one in own.get(room_id, ()))
            if (
                before is None
                or after is None
                or chosen.activity[room_id] > after
                or chosen.rooms[room_id].position > after
                or read
                or before.is_direct != (room_id in chosen.direct)
                or wanted.events > before.events
                or not (wanted.state is before.state or wanted.state.is_within(before.state))
            ):
                due.append((room_id, before, after, read))
            elif before.place != LIVE or wanted.state != before.state:
                added.rooms[room_id] = replace(before, place=LIVE, state=wanted.state)
        bumps = await self._bumps(chosen, [room_id for room_id, _, _, _ in due])
        tasks = [
            RoomTask(
                membership=chosen.rooms[room_id],
                wanted=chosen.wanted[room_id],
                sent=before,
                after=after,
                is_direct=room_id in chosen.direct,
                known_members=sent.members.get(room_id, {}),
                bump=bumps.get(room_id, 0),
                own_receipts=None if own is None else own.get(room_id, []),
            )
            for room_id, before, after, _ in due
        ]
        answers = await _side_by_side([partial(self._answers.of_room, run, task) for task in tasks])
        found: dict[str, RoomAnswer] = {}
        for (room_id, before, _, read), answer in zip(due, answers, strict=True):
            found[room_id] = answer
            if answer.sent != before:
                added.rooms[room_id] = answer.sent
            if answer.flushes:
                added.flushed.add(room_id)
            if answer.members:
                added.members[room_id] = answer.members
            if answer.body is not None and not read and answer.body.keys() <= _COUNTS and not run.is_initial:
                answer.body = None  # what happened is nothing that the reader sees
        return found

    async def _bumps(self, chosen: Selection, room_ids: list[str]) -> dict[str, int]:
        joined = [room_id for room_id in room_ids if chosen.rooms[room_id].membership == "join"]
        rooms = await _side_by_side([partial(self._live.find, room_id) for room_id in joined])
        return await self._activity.bumped([room for room in rooms if room is not None])

    def _note_unsent(
        self, run: SyncRun, chosen: Selection, sent: Sent, added: Sent, own: Mapping[str, list[Receipt]] | None
    ) -> None:
        """Rooms that the client has, that changed, and that this answer does not tell of: it has them as they were."""
        for room_id, before in sent.rooms.items():
            if before is None or room_id in chosen.wanted:
                continue
            membership = chosen.rooms.get(room_id)
            if membership is None:
                added.rooms[room_id] = None  # forgotten by its user, or deleted
                continue
            if before.place != LIVE:
                continue
            read = own is not None and any(one.position > run.after for one in own.get(room_id, ()))
            if max(chosen.activity[room_id], membership.position) > run.after or read:
                added.rooms[room_id] = replace(before, place=run.after)


async def _side_by_side(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """The results of calls of which each waits for the database a few times: some at once, so that it is kept busy."""
    found: list[T] = []
    for start in range(0, len(calls), AT_ONCE):
        found += await asyncio.gather(*(call() for call in calls[start : start + AT_ONCE]))
    return found
