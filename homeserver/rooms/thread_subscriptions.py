"""Which threads somebody follows, so that they are notified of those and of no others (MSC4306, MSC4308).

Clients subscribe: by the wish of their user, or automatically when the user writes in a thread or is mentioned in it.
For users who never had a subscription nothing changes: the push rules about threads do not match for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from homeserver.protocol.errors import (
    ConflictingUnsubscription,
    InvalidParam,
    NotFound,
    NotInThread,
    TooLarge,
)
from homeserver.protocol.relations import THREAD, relation_of
from homeserver.rooms.timeline import Timeline
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.thread_subscriptions import ThreadSubscription, ThreadSubscriptionStore
from homeserver.stream import Announcer, Change

MAX_OF_USER: Final = 50_000
REMEMBERED: Final = 5_000
"""How many users have their subscriptions in memory."""


class ThreadSubscriptions:
    """Subscribes people to threads."""

    def __init__(
        self, *, db: Database, store: ThreadSubscriptionStore, timeline: Timeline, announcer: Announcer
    ) -> None:
        self._db = db
        self._store = store
        self._timeline = timeline
        self._announcer = announcer
        self._known: OrderedDict[str, Mapping[tuple[str, str], bool]] = OrderedDict()
        self._forgotten = 0

    async def get(self, user_id: str, room_id: str, root_id: str) -> ThreadSubscription:
        """Raises NotFound where there is no such thread, or no subscription to it."""
        await self._check_root(user_id, room_id, root_id)
        found = await self._store.find_subscription(user_id, room_id, root_id)
        if found is None or not found.is_subscribed:
            raise NotFound("You are not subscribed to this thread.")
        return found

    async def subscribe(self, user_id: str, room_id: str, root_id: str, *, cause_id: str | None = None) -> None:
        """Subscribe; `cause_id`: the event in the thread because of which a client does so on its own.

        Raises NotFound, NotInThread, ConflictingUnsubscription when the user has unsubscribed since that event.
        """
        await self._check_root(user_id, room_id, root_id)
        cause: StoredEvent | None = None
        if cause_id is not None:
            _, cause, _ = await self._timeline.find_visible(user_id, room_id, cause_id)
            relation = relation_of(cause.event.content)
            if relation.rel_type != THREAD or relation.event_id != root_id:
                raise NotInThread("An automatic subscription needs an event that is in the thread.")

        async def write(txn: Transaction) -> None:
            before = await self._store.find_subscription(user_id, room_id, root_id, txn)
            if before is None and await self._store.count(user_id, txn) >= MAX_OF_USER:
                raise TooLarge(f"There may be at most {MAX_OF_USER} subscriptions to threads.")
            unsubscribed_at = 0 if before is None else before.unsubscribed_at
            if cause is not None and before is not None:
                if before.is_subscribed:
                    return  # automatic subscriptions change nothing of what is there
                if cause.position <= unsubscribed_at:
                    raise ConflictingUnsubscription("You have unsubscribed from this thread since that event.")
            if before is not None and before.is_subscribed and not before.is_automatic:
                return
            await self._set(txn, user_id, room_id, root_id, True, cause is not None, unsubscribed_at)

        await self._db.write(write)

    async def unsubscribe(self, user_id: str, room_id: str, root_id: str) -> None:
        """Unsubscribe; doing so twice is doing so once. Raises NotFound."""
        await self._check_root(user_id, room_id, root_id)

        async def write(txn: Transaction) -> None:
            before = await self._store.find_subscription(user_id, room_id, root_id, txn)
            if before is not None and before.is_subscribed:
                await self._set(txn, user_id, room_id, root_id, False, False, None)

        await self._db.write(write)

    async def list_changes(
        self, user_id: str, after: int, up_to: int, limit: int
    ) -> tuple[list[ThreadSubscription], int | None]:
        """(the newest `limit` changes of (after, up_to], oldest first; the place up to which there may be more).

        For the sliding sync extension `io.element.msc4308.thread_subscriptions`: the second is its `prev_batch`, and
        `as_json` shapes the first.
        """
        found = await self._store.list_changes(user_id, after, up_to, limit)
        more = found[-1].position - 1 if len(found) == limit else None
        return found[::-1], more

    async def of_user(self, user_id: str) -> Mapping[tuple[str, str], bool]:
        """(room, root) → whether the user is subscribed, for every thread that they ever were; empty for most."""
        known = self._known.get(user_id)
        if known is None:
            forgotten = self._forgotten
            known = {(one.room_id, one.root_id): one.is_subscribed for one in await self._store.list_of_user(user_id)}
            if forgotten == self._forgotten:
                self._known[user_id] = known
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return known

    async def state_of(self, user_id: str, stored: StoredEvent) -> bool | None:
        """What an event is to the push rules of a user: in a thread that they follow (True) or do not (False).

        None: it is in no thread, or the user does not use subscriptions.
        """
        return follows_thread(stored, await self.of_user(user_id)) if _thread_of(stored) is not None else None

    def forget_all(self) -> None:
        """Drop what is in memory: another process may have changed anything."""
        self._forgotten += 1
        self._known.clear()

    async def forget_user(self, user_id: str) -> None:
        """The account has ended."""
        await self._db.write(lambda txn: self._store.remove_of_user(txn, user_id))
        self._forgotten += 1
        self._known.pop(user_id, None)

    async def _set(
        self,
        txn: Transaction,
        user_id: str,
        room_id: str,
        root_id: str,
        is_subscribed: bool,
        is_automatic: bool,
        unsubscribed_at: int | None,
    ) -> None:
        position = txn.next_position()
        at = position if unsubscribed_at is None else unsubscribed_at
        await self._store.set_subscription(
            txn, ThreadSubscription(user_id, room_id, root_id, is_subscribed, is_automatic, at, position)
        )

        def announce() -> None:
            self._forgotten += 1
            self._known.pop(user_id, None)
            self._announcer.announce(Change.THREAD_SUBSCRIPTIONS, position, users=[user_id])

        txn.on_commit(announce)

    async def _check_root(self, user_id: str, room_id: str, root_id: str) -> None:
        if not root_id.startswith("$"):
            raise InvalidParam("A thread is named by the id of its first event.")
        await self._timeline.find_visible(user_id, room_id, root_id)


def follows_thread(stored: StoredEvent, subscriptions: Mapping[tuple[str, str], bool]) -> bool | None:
    """Whether a user with these subscriptions follows the thread of an event; None as `state_of` has it."""
    root_id = _thread_of(stored) if subscriptions else None
    return None if root_id is None else subscriptions.get((stored.event.room_id, root_id), False)


def _thread_of(stored: StoredEvent) -> str | None:
    if stored.event.state_key is not None:
        return None
    relation = relation_of(stored.event.content)
    return relation.event_id if relation.rel_type == THREAD else None


def as_json(changes: list[ThreadSubscription]) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """`subscribed` and `unsubscribed`, by room and root, as the endpoint and the extension of MSC4308 have them."""
    body: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    for one in changes:
        name = "subscribed" if one.is_subscribed else "unsubscribed"
        entry: dict[str, object] = {"bump_stamp": one.position}
        if one.is_subscribed:
            entry["automatic"] = one.is_automatic
        body.setdefault(name, {}).setdefault(one.room_id, {})[one.root_id] = entry
    return body
