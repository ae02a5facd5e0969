"""Who waits for what: long polls and other readers that want to be woken when the stream moves past their place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from homeserver.clock import Clock
from homeserver.stream import Change, Stream

IDLE_SECONDS = 300.0
"""How long a listener without waiters stays registered before it is forgotten."""


class Listener:
    """A user who polls. Registered under the user's rooms, so that waking a room touches only those who listen."""

    __slots__ = ("follows", "idle_since", "rooms", "user_id", "waiters")

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.follows = False
        self.rooms: set[str] = set()
        self.waiters: list[asyncio.Future[None]] = []
        self.idle_since = 0.0

    def wake(self) -> None:
        """Let every waiter look again."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Notifier:
    """Wakes the waiting by user and by room, and calls the plain listeners of the stream (push, senders, bridges)."""

    def __init__(self, stream: Stream, clock: Clock) -> None:
        self._clock = clock
        self._listeners: dict[str, Listener] = {}
        self._by_room: dict[str, set[Listener]] = {}
        self._next_sweep = clock.monotonic() + IDLE_SECONDS
        self._closed = False
        stream.listen(self._changed)

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        self.wake(rooms=rooms, users=users)
        if kind in (Change.PRESENCE, Change.DEVICE_LISTS):
            # This is news for those who share a room with the user.
            for user_id in users:
                found = self._listeners.get(user_id)
                if found is not None:
                    self.wake(rooms=found.rooms)

    def wake(self, *, rooms: Iterable[str] = (), users: Iterable[str] = ()) -> None:
        """Wake everybody who listens to these rooms or is one of these users."""
        for room_id in rooms:
            for listener in self._by_room.get(room_id, ()):
                if listener.waiters:
                    listener.wake()
        for user_id in users:
            found = self._listeners.get(user_id)
            if found is not None and found.waiters:
                found.wake()

    def wake_all(self) -> None:
        """Wake everybody who waits: anything may have changed."""
        for listener in list(self._listeners.values()):
            listener.wake()

    def follow_rooms(self, user_id: str, room_ids: Iterable[str]) -> None:
        """From now on wake `user_id` for exactly these rooms."""
        listener = self._listeners.setdefault(user_id, Listener(user_id))
        rooms = set(room_ids)
        for room_id in listener.rooms - rooms:
            self._leave(listener, room_id)
        for room_id in rooms - listener.rooms:
            self._by_room.setdefault(room_id, set()).add(listener)
        listener.rooms = rooms
        listener.follows = True

    def follow_room(self, user_id: str, room_id: str, follow: bool) -> None:
        """Add or drop one room of somebody who listens already; nothing for those who do not."""
        listener = self._listeners.get(user_id)
        if listener is None:
            return
        if follow:
            listener.rooms.add(room_id)
            self._by_room.setdefault(room_id, set()).add(listener)
        elif room_id in listener.rooms:
            listener.rooms.discard(room_id)
            self._leave(listener, room_id)

    def follows(self, user_id: str) -> bool:
        """Whether `user_id` is registered with rooms, since `follow_rooms`."""
        listener = self._listeners.get(user_id)
        return listener is not None and listener.follows

    async def wait(self, user_id: str, seconds: float) -> bool:
        """Wait until something for `user_id` changes; False when `seconds` passed first or the server stops.

        Register interest before looking: callers take `waiter = expect(user_id)`, look, then `wait_for(waiter)`.
        """
        return await self.wait_for(self.expect(user_id), seconds)

    def expect(self, user_id: str) -> asyncio.Future[None]:
        """A future that is done at the next change for `user_id`. Hand it to `wait_for`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            waiter.set_result(None)
            return waiter
        self._listeners.setdefault(user_id, Listener(user_id)).waiters.append(waiter)
        self._sweep()
        return waiter

    async def wait_for(self, waiter: asyncio.Future[None], seconds: float) -> bool:
        """Wait for what `expect` gave; False when `seconds` passed first or the server is stopping."""

        def expire() -> None:
            if not waiter.done():
                waiter.cancel()

        timer = self._clock.call_later(seconds, expire)
        try:
            await waiter
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return False
        finally:
            timer.cancel()
            waiter.cancel()
        return not self._closed

    @property
    def closed(self) -> bool:
        """Whether the server is stopping, so that nobody should wait any more."""
        return self._closed

    def close(self) -> None:
        """Wake everybody for good: the server is stopping."""
        self._closed = True
        self.wake_all()

    def _leave(self, listener: Listener, room_id: str) -> None:
        members = self._by_room.get(room_id)
        if members is not None:
            members.discard(listener)
            if not members:
                del self._by_room[room_id]

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + IDLE_SECONDS
        for user_id, listener in list(self._listeners.items()):
            listener.waiters = [waiter for waiter in listener.waiters if not waiter.done()]
            if listener.waiters:
                listener.idle_since = 0.0
            elif not listener.idle_since:
                listener.idle_since = now
            elif now - listener.idle_since >= IDLE_SECONDS:
                for room_id in listener.rooms:
                    self._leave(listener, room_id)
                del self._listeners[user_id]
