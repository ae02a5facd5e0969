"""Who is to be notified of what: a reader of the stream with a stored place, so that no sender of events waits for it.

For each new event, the members of its room who have pushers are looked at, each by their own push rules; what notifies
is written down for each of their pushers in the transaction that moves the place (`storage/push_queue.py`), and from
there it is delivered (`deliveries.py`). So a crash at any moment loses nothing and queues nothing twice. A server
without pushers reads nothing.

Spec: Client-Server API, "Push Notifications", "Server behaviour".
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.push_rules import compact_json, notifies
from homeserver.protocol.push_rules_evaluation import EventForPush, compile_rules
from homeserver.push.deliveries import Deliveries
from homeserver.push.pushers import KnownPushers, wants_badges
from homeserver.rooms.live_room import MEMBER, LiveRoom, membership_of
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.push_queue import PusherKey, PushQueue, QueuedPush
from homeserver.storage.pushers import Pusher
from homeserver.stream import Change, Stream
from homeserver.users.pushers import HTTP
from homeserver.users.services import UserServices

BATCH: Final = 100
AT_ONCE: Final = 100
"""Members of a room that are looked at before others have their turn."""
KEPT_PLACE_EVERY: Final = 1_000
"""After how many positions without notifications the place is written down."""
RETRY_SECONDS: Final = 5.0

Rows = list[tuple[PusherKey, QueuedPush]]

_log = logging.getLogger("homeserver.push")


class PushSender:
    """Reads the stream for pushers."""

    def __init__(
        self,
        *,
        db: Database,
        queue: PushQueue,
        pushers: KnownPushers,
        deliveries: Deliveries,
        users: UserServices,
        rooms: RoomServices,
        stream: Stream,
        clock: Clock,
    ) -> None:
        self._db = db
        self._queue = queue
        self._pushers = pushers
        self._deliveries = deliveries
        self._users = users
        self._rooms = rooms
        self._stream = stream
        self._clock = clock
        self._moved = asyncio.Event()
        self._place = 0
        self._kept = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin where the last run ended; what waited then is delivered now."""
        place = await self._queue.find_place()
        if place is None:
            place = self._db.position
            await self._db.write(lambda txn: self._queue.start_at(txn, place))
        self._place = self._kept = place
        await self._pushers.load()
        self._stream.listen(self._changed)
        self._pushers.on_change = self._moved.set
        self._deliveries.start()
        for key in await self._queue.list_waiting():
            self._deliveries.wake(key)
        self._moved.set()
        self._task = asyncio.create_task(self._run(), name="push sender")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self._deliveries.stop()
            await self._keep_place()

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if self._pushers.any and (kind is Change.EVENTS or kind is Change.PRIVATE_RECEIPTS):
            self._moved.set()

    async def _run(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self._follow()
            except Unavailable as error:
                _log.warning("push waits for the database: %s", error)
                await self._clock.sleep(RETRY_SECONDS)
                self._moved.set()
            except Exception:
                _log.exception("push could not follow the stream; trying again in %.0f s", RETRY_SECONDS)
                await self._clock.sleep(RETRY_SECONDS)
                self._moved.set()

    async def _follow(self) -> None:
        """Read up to where the stream is now."""
        goal = self._stream.position
        for user_id in await self._pushers.refresh():
            self._deliveries.nudge(user_id)
        if not self._pushers.any:
            return
        # Nothing of before the oldest pusher was made is anybody's business.
        self._place = max(self._place, min(self._pushers.oldest_position, goal))
        while self._place < goal:
            await self._step(goal)

    async def _step(self, goal: int) -> None:
        place, up_to = self._place, goal
        events = await self._rooms.events.list_stream(place, up_to, BATCH)
        if len(events) == BATCH:
            up_to = events[-1].position
        rows: Rows = []
        for stored in events:
            rows += await self._rows_of(stored)
        rows += await self._badges(place, up_to, events)
        if rows or up_to - self._kept >= KEPT_PLACE_EVERY:
            if not await self._db.write(lambda txn: self._write(txn, up_to, rows)):
                kept = await self._queue.find_place()  # another process has read these
                self._place = self._kept = self._place if kept is None else kept
                return
            self._kept = up_to
        self._place = up_to
        for key in dict.fromkeys(key for key, _ in rows):
            self._deliveries.wake(key)

    async def _write(self, txn: Transaction, up_to: int, rows: Rows) -> bool:
        if not await self._queue.move_place(txn, self._kept, up_to):
            return False
        if rows:
            await self._queue.add_pushes(txn, rows)
        return True

    async def _keep_place(self) -> None:
        if self._place > self._kept and await self._db.write(lambda txn: self._write(txn, self._place, [])):
            self._kept = self._place

    async def _rows_of(self, stored: StoredEvent) -> Rows:
        """What an event is to the pushers of its room's members."""
        event = stored.event
        if stored.redacted_because is not None:
            return []
        room = await self._rooms.live.find(event.room_id)
        candidates = [] if room is None else self._candidates(room, stored)
        if room is None or not candidates:
            return []
        rules = await self._users.push_rules.rules_of_many(candidates)
        members = await self._rooms.live.load_member_events(room, candidates)
        flattened = EventForPush(event, member_count=room.joined_count, levels=room.power_levels)
        now = self._clock.now_ms()
        rows: Rows = []
        for number, user_id in enumerate(candidates):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            name = None if user_id not in members else members[user_id].event.content.get("displayname")
            follows = await self._rooms.thread_subscriptions.state_of(user_id, stored)
            actions = compile_rules(rules[user_id]).evaluate(
                flattened, user_id, name if isinstance(name, str) else None, follows
            )
            if not notifies(actions) or not await self._concerns(room, stored, user_id, members.get(user_id)):
                continue
            push = QueuedPush(stored.position, event.room_id, event.event_id, compact_json(list(actions or ())), now)
            rows += [
                (PusherKey(user_id, pusher.app_id, pusher.pushkey), push)
                for pusher in self._pushers.of_user(user_id)
                if pusher.position < stored.position
            ]
        return rows

    def _candidates(self, room: LiveRoom, stored: StoredEvent) -> list[str]:
        """Who may have to be notified: those who have pushers, of the members and of whom the event invites."""
        event, watched = stored.event, self._pushers.users
        if len(watched) < room.joined_count:
            found = [user_id for user_id in watched if room.membership(user_id) == "join"]
        else:
            found = [user_id for user_id in room.joined_members() if user_id in watched]
        invited = event.state_key if event.type == MEMBER and membership_of(event) == "invite" else None
        if invited is not None and invited in watched and invited not in found:
            found.append(invited)
        return [user_id for user_id in found if user_id != event.sender]

    async def _concerns(self, room: LiveRoom, stored: StoredEvent, user_id: str, member: StoredEvent | None) -> bool:
        """Whether the user was there when the event came, may see it (A17), and does not ignore who sent it."""
        event, users = stored.event, self._users
        if event.sender in await users.account_data.ignored_users(user_id):
            return False
        if event.state_key == user_id and await users.invite_permissions.hides(user_id, event.sender):
            return False
        if stored.event.type == MEMBER and stored.event.state_key == user_id:
            return True  # whom an event invites is told of it by the event itself
        if member is not None and member.position < stored.position and membership_of(member.event) == "join":
            return True
        view = await self._rooms.visibility.view(room, user_id)
        return view.shows(stored) and view.membership_at(stored.position) in ("join", "invite")

    async def _badges(self, after: int, up_to: int, events: list[StoredEvent]) -> Rows:
        """Pushers of those who read something, or came or went: their devices may show another number now."""
        newest: dict[str, int] = {}
        for stored in events:
            user_id = stored.event.state_key if stored.event.type == MEMBER else None
            if user_id is not None and user_id in self._pushers.users:
                newest[user_id] = stored.position
        if self._stream.any_since(Change.PRIVATE_RECEIPTS, after):
            for receipts in (await self._rooms.receipts.list_stream(after, up_to)).values():
                for receipt in receipts:
                    if receipt.user_id in self._pushers.users:
                        newest[receipt.user_id] = max(newest.get(receipt.user_id, 0), receipt.position)
        now = self._clock.now_ms()
        return [
            (PusherKey(user_id, pusher.app_id, pusher.pushkey), QueuedPush(position, "", "", "[]", now))
            for user_id, position in newest.items()
            for pusher in self._pushers.of_user(user_id)
            if _is_for_badges(pusher)
        ]


def _is_for_badges(pusher: Pusher) -> bool:
    return pusher.kind == HTTP and wants_badges(pusher)
