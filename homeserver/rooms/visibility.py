"""Which events of a room a user may see: the one filter that every way of reading goes through (A17, G01, G05)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, cast

from homeserver.protocol.history_visibility import DEFAULT_VISIBILITY, Visibility, allows, may_see, visibility_of
from homeserver.rooms.live_room import MEMBER, LiveRoom, membership_of
from homeserver.storage.events import ACCEPTED, EventStore, StoredEvent
from homeserver.storage.rooms import RoomStore

VISIBILITY_KEY: Final = ("m.room.history_visibility", "")
DUMMY: Final = "org.matrix.dummy_event"
"""Events by which servers merge the ends of a room: they say nothing, and nobody is shown them."""
KEPT_KEYS: Final = 500
"""Of how many members (and the visibility) the history is kept with a room."""


class RoomView:
    """What one user may see of one room, and as what; asked event by event."""

    def __init__(
        self,
        user_id: str,
        memberships: list[tuple[int, str]],
        visibilities: list[tuple[int, Visibility]],
        oldest_ms: int | None = None,
    ) -> None:
        """`oldest_ms`: messages that were sent before this time have expired."""
        self._oldest_ms = oldest_ms
        self._user_id = user_id
        self._membership_places = [place for place, _ in memberships]
        self._memberships = [membership for _, membership in memberships]
        self._visibility_places = [place for place, _ in visibilities]
        self._visibilities = [visibility for _, visibility in visibilities]
        self._last_join = max((place for place, membership in memberships if membership == "join"), default=None)

    @property
    def was_joined(self) -> bool:
        """Whether the user was ever in the room."""
        return self._last_join is not None

    @property
    def has_returned(self) -> bool:
        """Whether the user was in the room, away, and then in it again."""
        was_here = was_away = False
        for membership in self._memberships:
            if membership != "join":
                was_away = was_here
            elif was_away:
                return True
            else:
                was_here = True
        return False

    @property
    def left_at(self) -> int | None:
        """Where the user's last stay in the room ended; None when it has not, or there was none."""
        if self._last_join is None:
            return None
        for place, membership in zip(self._membership_places, self._memberships, strict=True):
            if place > self._last_join and membership != "join":
                return place
        return None

    def shows_place(self, position: int) -> bool:
        """Whether the user may know how the room was just after `position` (G01)."""
        place = bisect_right(self._visibility_places, position)
        visibility = self._visibilities[place - 1] if place else DEFAULT_VISIBILITY
        joined_later = self._last_join is not None and self._last_join > position
        return allows(visibility, self.membership_at(position), joined_later)

    def membership_at(self, position: int) -> str:
        """The user's membership just after `position`."""
        index = bisect_right(self._membership_places, position)
        return self._memberships[index - 1] if index else "leave"

    def shows(self, stored: StoredEvent) -> bool:
        """Whether the user may see the event."""
        if stored.status != ACCEPTED or stored.event.type == DUMMY:
            return False
        if self._oldest_ms is not None and has_expired(stored, self._oldest_ms):
            return False
        index = bisect_left(self._membership_places, stored.position)
        membership = self._memberships[index - 1] if index else None
        place = bisect_left(self._visibility_places, stored.position)
        return may_see(
            stored.event,
            self._user_id,
            visibility=self._visibilities[place - 1] if place else DEFAULT_VISIBILITY,
            membership=membership,
            joined_later=self._last_join is not None and self._last_join > stored.position,
        )


class RoomVisibility:
    """Makes views of rooms."""

    def __init__(self, store: RoomStore, events: EventStore) -> None:
        self._store = store
        self._events = events
        self.oldest_ms: Callable[[LiveRoom], int | None] = lambda room: None
        """The retention of rooms: messages that were sent before this time have expired (None: none have)."""
        self.before_view: Callable[[], Awaitable[None]] | None = None
        """Called before a room is looked at."""

    async def view(self, room: LiveRoom, user_id: str) -> RoomView:
        """What `user_id` may see of a room."""
        if self.before_view is not None:
            await self.before_view()
        return RoomView(
            user_id,
            await self._values(room, (MEMBER, user_id), membership_at),
            [
                (place, cast(Visibility, value))
                for place, value in await self._values(room, VISIBILITY_KEY, visibility_at)
            ],
            self.oldest_ms(room),
        )

    async def filter(
        self, room: LiveRoom, user_id: str, events: Iterable[StoredEvent]
    ) -> list[tuple[StoredEvent, str]]:
        """Those of `events` that the user may see, each with the user's membership when it was sent."""
        if room.membership(user_id) != "join" and not await self.may_read(room, user_id):
            return []
        view = await self.view(room, user_id)
        return [(stored, view.membership_at(stored.position)) for stored in events if view.shows(stored)]

    async def may_read(self, room: LiveRoom, user_id: str) -> bool:
        """Whether the user may ask about the room at all: is or was a member and has not forgotten it, is invited, or
        anybody may read it."""
        if room.membership(user_id) == "join" or room.history_visibility == "world_readable":
            return True
        membership = await self._store.find_membership(room.room_id, user_id)
        if membership is None or membership.forgotten:
            return False
        return membership.membership == "invite" or (await self.view(room, user_id)).was_joined

    async def is_open_to_members(self, room: LiveRoom) -> bool:
        """Whether members may see whatever was ever sent, by every visibility that the room is known to have had."""
        values = await self._values(room, VISIBILITY_KEY, visibility_at)
        return all(value in ("shared", "world_readable") for _, value in values)

    async def _values(
        self, room: LiveRoom, key: tuple[str, str], value_at: Callable[[StoredEvent | None], str]
    ) -> list[tuple[int, str]]:
        """Where the values of a state key began, and which. Kept with the room until the key changes: values outlive
        redactions."""
        known = room.key_values.get(key)
        if known is not None:
            return known
        newest = room.state_ids.get(key)
        if room.is_whole_in_memory:
            values = [
                (stored.position, value_at(stored))
                for stored in room.timeline
                if stored.event.state_key == key[1] and stored.event.type == key[0]
            ]
        else:
            history = await self._store.list_key_history(room.room_id, key)
            ids = [event_id for _, event_id in history if event_id is not None]
            found = await self._events.find_events(room.room_id, room.version, ids) if ids else []
            by_id = {stored.event_id: stored for stored in found}
            values = [(place, value_at(None if one is None else by_id.get(one))) for place, one in history]
        if room.state_ids.get(key) == newest:
            if len(room.key_values) >= KEPT_KEYS:
                room.key_values.clear()
            room.key_values[key] = values
        return values


def has_expired(stored: StoredEvent, oldest_ms: int) -> bool:
    """Whether a message is older than its room keeps them. State never is."""
    return stored.event.state_key is None and stored.event.origin_server_ts < oldest_ms


def membership_at(stored: StoredEvent | None) -> str:
    """The membership that a member event gives; "leave" where there is none."""
    return "leave" if stored is None else membership_of(stored.event)


def visibility_at(stored: StoredEvent | None) -> str:
    """The history visibility that an event gives, or the default."""
    return DEFAULT_VISIBILITY if stored is None else visibility_of(stored.event)
