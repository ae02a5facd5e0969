"""The pushers of everybody who has some, in memory: whom the reader of the stream has to think of at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from homeserver.storage.push_queue import PusherKey
from homeserver.storage.pushers import Pusher, PusherStore

NO_BADGES: Final = ("disable_badge_count", "org.matrix.msc4076.disable_badge_count")
"""Members of a pusher's `data` with which a client says that it counts for itself (MSC4076)."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def data_of(pusher: Pusher) -> dict[str, Any]:
    """The `data` that the client gave."""
    return _decode(pusher.data)


def wants_badges(pusher: Pusher) -> bool:
    """Whether the pusher is to be told how much is unread."""
    data = data_of(pusher)
    return not any(data.get(name) is True for name in NO_BADGES)


def key_of(pusher: Pusher) -> PusherKey:
    return PusherKey(pusher.user_id, pusher.app_id, pusher.pushkey)


def _nothing() -> None: ...


class KnownPushers:
    """Enabled pushers of the kinds that this server can serve. `on_change` is called when there is something to
    `refresh`."""

    def __init__(self, store: PusherStore, kinds: Collection[str]) -> None:
        self._store = store
        self._kinds = kinds
        self._by_user: dict[str, tuple[Pusher, ...]] = {}
        self._dirty: set[str] = set()
        self._is_stale = False
        self.on_change: Callable[[], None] = _nothing

    @property
    def any(self) -> bool:
        """Whether anybody has one, or may have."""
        return bool(self._by_user) or bool(self._dirty) or self._is_stale

    @property
    def users(self) -> Mapping[str, tuple[Pusher, ...]]:
        """Those who have some."""
        return self._by_user

    @property
    def oldest_position(self) -> int:
        """Where in the stream the first of them was made; 0 for none."""
        return min((pusher.position for own in self._by_user.values() for pusher in own), default=0)

    def of_user(self, user_id: str) -> tuple[Pusher, ...]:
        return self._by_user.get(user_id, ())

    def find(self, key: PusherKey) -> Pusher | None:
        """The pusher, as far as it was not removed or switched off."""
        return next((pusher for pusher in self.of_user(key.user_id) if key_of(pusher) == key), None)

    def changed(self, user_id: str) -> None:
        """The pushers of somebody changed: they are read again at the next `refresh`."""
        self._dirty.add(user_id)
        self.on_change()

    def forget_all(self) -> None:
        """Another process wrote: anybody's may have changed."""
        self._is_stale = True
        self.on_change()

    async def load(self) -> None:
        """Read everybody's."""
        self._is_stale = False
        found: dict[str, list[Pusher]] = {}
        for pusher in await self._store.list_all_pushers():
            if self._serves(pusher):
                found.setdefault(pusher.user_id, []).append(pusher)
        self._by_user = {user_id: tuple(own) for user_id, own in found.items()}

    async def refresh(self) -> list[str]:
        """Read again what changed; whose it was."""
        if self._is_stale:
            await self.load()
        dirty, self._dirty = self._dirty, set()
        for user_id in dirty:
            try:
                own = tuple(pusher for pusher in await self._store.list_pushers(user_id) if self._serves(pusher))
            except Exception:
                self._dirty |= dirty
                raise
            if own:
                self._by_user[user_id] = own
            else:
                self._by_user.pop(user_id, None)
        return list(dirty)

    def _serves(self, pusher: Pusher) -> bool:
        return pusher.enabled and pusher.kind in self._kinds
