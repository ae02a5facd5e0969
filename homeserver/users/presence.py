"""Presence: who is there. Alive in memory, its last state stored, told to others at most every ten seconds (row D16).

A user is online while a device syncs (or just did), unavailable after five idle minutes or by wish, and offline half a
minute after the last sync. Spec: Client-Server API, "Presence".
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from homeserver.clock import Clock, Timer
from homeserver.protocol.errors import Forbidden, InvalidParam, NotFound, Unavailable
from homeserver.protocol.identifiers import ServerName, domain_of, parse_user_id
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.presence import PresenceStore, StoredPresence
from homeserver.stream import Announcer, Change
from homeserver.users.hooks import UserHooks
from homeserver.users.requester import Requester

State = Literal["online", "unavailable", "offline"]
STATES: tuple[State, ...] = ("online", "unavailable", "offline")

IDLE_MS = 300_000
OFFLINE_MS = 30_000
CURRENTLY_ACTIVE_MS = 60_000
COALESCE_MS = 10_000
TICK_SECONDS = 5.0
MAXIMUM_STATUS_LENGTH = 512
"""Characters of a status message (row D08)."""


@dataclass(slots=True)
class _Living:
    """One user in memory. Times in milliseconds; `syncing` counts the open syncs of each device, `idle` is
    whether its last sync said so, `told` is what others last heard: (state, status, currently active)."""

    state: State
    status_msg: str | None
    last_active: int
    position: int
    wished: State | None = None
    syncing: dict[str, int] = field(default_factory=dict)
    idle: dict[str, bool] = field(default_factory=dict)
    last_synced: int = 0
    told: tuple[str, str | None, bool] = ("offline", None, False)
    told_at: int = 0


class Presence:
    """The presence of local users, and what other servers told of theirs (`set_remote`). `enabled` False: everybody is
    offline and nothing is kept."""

    def __init__(
        self,
        db: Database,
        store: PresenceStore,
        accounts: AccountStore,
        clock: Clock,
        announcer: Announcer,
        server_name: ServerName,
        hooks: UserHooks,
        *,
        enabled: bool,
    ) -> None:
        self._db = db
        self._store = store
        self._accounts = accounts
        self._clock = clock
        self._announcer = announcer
        self._server_name = server_name
        self._hooks = hooks
        self._enabled = enabled
        self._living: dict[str, _Living] = {}
        self._timer: Timer | None = None
        self._tick_task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def set_presence(self, requester: Requester, user_id: str, state: str, status_msg: str | None) -> None:
        """By wish of the user. Raises Forbidden for somebody else, InvalidParam."""
        if user_id != requester.user_id:
            raise Forbidden("Only one's own presence can be set.")
        wished = parse_state(state)
        if status_msg is not None and len(status_msg) > MAXIMUM_STATUS_LENGTH:
            raise InvalidParam(f"A status message has at most {MAXIMUM_STATUS_LENGTH} characters.")
        if not self._enabled:
            return
        living = await self._alive(user_id)
        now = self._clock.now_ms()
        living.wished = wished
        living.status_msg = status_msg
        living.last_synced = now
        if wished == "online":
            living.last_active = now
        await self._tell_due(now, [user_id])

    async def get_presence(self, requester: Requester, user_id: str) -> dict[str, Any]:
        """As `GET /presence/{userId}/status`. Raises Forbidden to strangers, NotFound (row G06)."""
        parse_user_id(user_id)
        if user_id != requester.user_id:
            known = await self._hooks.acquaintances.share_room_with(requester.user_id, [user_id])
            if user_id not in known:
                raise Forbidden("You share no room with this user.")
        elif await self._accounts.find_account(user_id) is None:
            raise NotFound("There is no such user.")
        return await self.content_of(user_id)

    async def content_of(self, user_id: str) -> dict[str, Any]:
        """The content of an m.presence event as of now (without the profile)."""
        living = self._living.get(user_id)
        if living is not None:
            now = self._clock.now_ms()
            return _content(_state_at(living, now), living.status_msg, living.last_active, now)
        stored = await self._store.find_presence(user_id) if self._enabled else None
        if stored is None:
            return {"presence": "offline"}
        # What is stored of a local user who is not in memory is how they left; others are as their server last said.
        is_local = domain_of(user_id) == self._server_name
        state: State = "offline" if is_local else parse_state(stored.state)
        return _content(state, stored.status_msg, stored.last_active_ts, self._clock.now_ms())

    def is_here(self, user_id: str) -> bool:
        """Whether a local user was last told of as not offline."""
        living = self._living.get(user_id)
        return living is not None and living.told[0] != "offline"

    def who_is_here(self) -> list[str]:
        """The local users who were last told of as not offline."""
        return [user_id for user_id in self._living if self.is_here(user_id)]

    async def list_changed_users(self, after: int, up_to: int) -> list[str]:
        """For /sync: whose presence changed in (after, up_to], in the order of the changes."""
        if not self._enabled:
            return []
        return [each.user_id for each in await self._store.list_changes(after, up_to)]

    def note_activity(self, user_id: str) -> None:
        """The user did something, such as sending a message: "Any activity that bumps the last active time on any of
        the user's clients will cause the server to automatically set their presence to `online`"."""
        living = self._living.get(user_id)
        if living is not None:
            living.last_active = self._clock.now_ms()
            living.idle.clear()
            if living.wished == "unavailable":
                living.wished = None

    async def sync_begins(self, user_id: str, device_id: str, set_presence: State = "online") -> None:
        """A device begins to sync, with the `set_presence` of its request. `sync_ends` follows, whatever happens."""
        if not self._enabled or set_presence == "offline":
            return
        living = await self._alive(user_id)
        now = self._clock.now_ms()
        if living.wished == "offline":
            living.wished = None
        was_away = living.idle.get(device_id, False) or _state_at(living, now) == "offline"
        if set_presence == "online" and was_away:
            living.last_active = now
        living.syncing[device_id] = living.syncing.get(device_id, 0) + 1
        living.idle[device_id] = set_presence == "unavailable"
        living.last_synced = now
        await self._tell_due(now, [user_id])

    def sync_ends(self, user_id: str, device_id: str, set_presence: State = "online") -> None:
        """The counterpart of `sync_begins`, with the same arguments."""
        living = self._living.get(user_id)
        if living is None or set_presence == "offline":
            return
        living.last_synced = self._clock.now_ms()
        count = living.syncing.get(device_id, 0) - 1
        if count > 0:
            living.syncing[device_id] = count
        else:
            living.syncing.pop(device_id, None)

    async def set_remote(self, user_id: str, state: State, status_msg: str | None, last_active_ago: int) -> None:
        """What another server says of its user (checked to be its own: row B10)."""
        if not self._enabled:
            return
        last_active = self._clock.now_ms() - max(0, last_active_ago)

        async def write(txn: Transaction) -> None:
            position = txn.next_position()
            self._store.set_presence(txn, StoredPresence(user_id, state, status_msg, last_active, position))
            txn.on_commit(lambda: self._announcer.announce(Change.PRESENCE, position, users=[user_id]))

        await self._db.write(write)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def tick(self) -> None:
        """Tell what is due and forget who is offline; called every few seconds while somebody is there."""
        now = self._clock.now_ms()
        await self._tell_due(now, list(self._living))
        for user_id, living in list(self._living.items()):
            if not living.syncing and living.told[0] == "offline" and now - living.last_synced > OFFLINE_MS:
                del self._living[user_id]

    async def _alive(self, user_id: str) -> _Living:
        living = self._living.get(user_id)
        if living is None:
            stored = await self._store.find_presence(user_id)
            living = self._living.get(user_id)
            if living is None:
                status = stored.status_msg if stored else None
                living = _Living("offline", status, stored.last_active_ts if stored else 0, 0)
                living.told = ("offline", status, False)
                self._living[user_id] = living
        if self._timer is None:
            self._timer = self._clock.call_later(TICK_SECONDS, self._tick_soon)
        return living

    def _tick_soon(self) -> None:
        self._timer = None
        if self._living:
            self._timer = self._clock.call_later(TICK_SECONDS, self._tick_soon)
            if self._tick_task is None or self._tick_task.done():
                self._tick_task = asyncio.get_running_loop().create_task(self.tick())

    async def _tell_due(self, now: int, user_ids: Collection[str]) -> None:
        """Store and announce whose presence is not what others last heard, unless they heard of it just now."""
        due: list[str] = []
        for user_id in user_ids:
            living = self._living[user_id]
            living.state = _state_at(living, now)
            if _told_by(living, now) != living.told and now - living.told_at >= COALESCE_MS:
                due.append(user_id)
        if due:
            async with self._writing:
                await self._tell(now, due)

    async def _tell(self, now: int, due: Collection[str]) -> None:
        tellings = {
            user_id: _told_by(living, now) for user_id in due if (living := self._living.get(user_id)) is not None
        }
        tellings = {user_id: told for user_id, told in tellings.items() if told != self._living[user_id].told}
        if not tellings:
            return

        async def write(txn: Transaction) -> None:
            position = txn.next_position()
            for user_id, (state, status_msg, _) in tellings.items():
                last_active = self._living[user_id].last_active
                self._store.set_presence(txn, StoredPresence(user_id, state, status_msg, last_active, position))
            txn.on_commit(lambda: committed(position))

        def committed(position: int) -> None:
            for user_id, told in tellings.items():
                living = self._living[user_id]
                living.position, living.told, living.told_at = position, told, now
            self._announcer.announce(Change.PRESENCE, position, users=list(tellings))

        try:
            await self._db.write(write)
        except Unavailable:
            return  # presence is not worth an error: the next tick tries again


def parse_state(text: str) -> State:
    """Raises InvalidParam."""
    for state in STATES:
        if text == state:
            return state
    raise InvalidParam("'presence' must be one of: online, unavailable, offline.")


def _state_at(living: _Living, now: int) -> State:
    if living.wished == "offline" or (not living.syncing and now - living.last_synced > OFFLINE_MS):
        return "offline"
    is_idle = bool(living.idle) and all(living.idle.values())
    if living.wished == "unavailable" or is_idle or now - living.last_active > IDLE_MS:
        return "unavailable"
    return "online"


def _told_by(living: _Living, now: int) -> tuple[str, str | None, bool]:
    state = _state_at(living, now)
    return state, living.status_msg, state == "online" and now - living.last_active <= CURRENTLY_ACTIVE_MS


def _content(state: State, status_msg: str | None, last_active: int, now: int) -> dict[str, Any]:
    content: dict[str, Any] = {"presence": state}
    if last_active:
        content["last_active_ago"] = max(0, now - last_active)
    if state == "online":
        content["currently_active"] = now - last_active <= CURRENTLY_ACTIVE_MS
    if status_msg is not None:
        content["status_msg"] = status_msg
    return content
