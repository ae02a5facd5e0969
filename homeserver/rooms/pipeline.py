"""The one event pipeline: how an event of ours comes to be. The story in numbered steps:

1. **Draft**: load what the event will be authorised against; take the room's draft head.
2. **Ask the hooks** whether it may be sent.
3. **Sign**: built from our own fields, never from somebody else's template (B01, B02).
   A room's policy server, where it has one, signs the finished event too, or refuses it.
4. **Authorise** against the state at this very point of the room (A21).
5. **Resolve**: on top of all forward extremities the state after it is the state before it plus the event itself.
6. **Persist** by group commit; the caller hears of it only after COMMIT.
7. **Announce** to the stream, from the commit itself.

Steps 3 to 5 never wait, so that two events of one room cannot come between each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from signedjson.types import SigningKey

from homeserver.clock import Clock
from homeserver.hooks import EventToCheck, Hooks
from homeserver.protocol.authorization import auth_keys, check_authorized
from homeserver.protocol.errors import Forbidden, MatrixError, TooLarge, Unknown
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import reference_hash
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.room_versions import RoomVersion
from homeserver.protocol.signatures import seal_event
from homeserver.protocol.sticky_events import MAX_DURATION_MS, STICKY_FIELD
from homeserver.rooms.live_room import MEMBER, Head, LiveRoom, LiveRooms
from homeserver.rooms.persistence import Persistence, Prepared
from homeserver.rooms.policy_servers import (
    NoPolicyServers,
    PolicyServer,
    PolicyServers,
    check_recommended,
    needs_recommendation,
    policy_server_of,
    recommend,
)
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import StateKey

MAX_PREV_EVENTS: Final = 20
MAX_KEY_BYTES: Final = 255
MAX_ATTEMPTS: Final = 5
MAX_DEPTH: Final = 2**53 - 1
CREATE: Final = ("m.room.create", "")


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wants to send. `state_key` is None unless it is a state event.

    `transaction_key` (`device/type/txn_id`) makes a repeated request answer as the first one did.
    `origin_server_ts` (milliseconds) is only for application services, which may set it.
    `sticky_ms`: for how many milliseconds every member is told of it (MSC4354).
    `redaction_target` is the event that `redacts` names, once the sender was found to be allowed to redact it.
    """

    sender: str
    type: str
    content: Mapping[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    redaction_target: StoredEvent | None = None
    transaction_key: str | None = None
    origin_server_ts: int | None = None
    sticky_ms: int | None = None


class _Stale(Exception):
    """What this event was drafted on could not be committed; draft it again."""


class Pipeline:
    """Sends events of local users."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        persistence: Persistence,
        hooks: Hooks,
        clock: Clock,
        server_name: str,
        signing_key: SigningKey,
        policy_servers: PolicyServers | None = None,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._persistence = persistence
        self._hooks = hooks
        self._clock = clock
        self._server_name = server_name
        self._signing_key = signing_key
        self.policy_servers: PolicyServers = policy_servers or NoPolicyServers()
        """Who asks the policy servers of rooms; federation sets it when it begins."""
        self.merge_ends: Callable[[str], Awaitable[None]] | None = None
        """Merges the ends of a room that has more than an event can name; set as well."""
        self._last_creation_ms = 0

    async def send(self, room_id: str, draft: Draft) -> StoredEvent:
        """Send one event; returns it as stored, after COMMIT. Raises Forbidden and what the hooks raise."""
        return (await self.send_all(room_id, [draft]))[0]

    async def send_all(self, room_id: str, drafts: Sequence[Draft]) -> list[StoredEvent]:
        """Send several events of one room, in order, all or none of them."""
        await self._ask_hooks(room_id, drafts)
        for _ in range(MAX_ATTEMPTS):
            room = await self._prepare(room_id, drafts)
            if len(room.extremities) > MAX_PREV_EVENTS and self.merge_ends is not None:
                await self.merge_ends(room_id)
                room = await self._prepare(room_id, drafts)
            policy_server = policy_server_of(room, self._server_name)
            try:
                if policy_server is not None:
                    return await self._send_recommended(room, drafts, policy_server)
                return await self._persist(room, self._draft_all(room, drafts), new=False)
            except _Stale:
                continue
        raise Unknown("The room is too busy, try again")

    async def draft(self, room_id: str, draft: Draft) -> Event:
        """An event as it could be sent now, signed, and allowed by the room as it is; it is not in the room. For what
        another server has to sign first (`Receiver` takes it then). Raises Forbidden and what the hooks raise."""
        await self._ask_hooks(room_id, [draft])
        room = await self._prepare(room_id, [draft])
        return self._sign_on_head(room, draft)

    async def create(self, version: RoomVersion, create: Draft, following: Callable[[str], Sequence[Draft]]) -> str:
        """Make a room of its create event and the drafts that `following(room_id)` gives; returns the room's id."""
        # Two rooms of one creator made in the same millisecond would else be one: version 12 names a room by the hash.
        self._last_creation_ms = max(self._clock.now_ms(), self._last_creation_ms + 1)
        if create.origin_server_ts is None:
            create = replace(create, origin_server_ts=self._last_creation_ms)
        event = self._sign(version, create, self._new_room_id(version), [], {})
        check_authorized(event, {})
        room = LiveRoom(event.room_id, version, create.sender, self._db.position)
        first = Prepared.of(event, create.transaction_key)
        room.note_drafted(event)
        first.heads = room.extremities
        drafts = following(room.room_id)
        await self._ask_hooks(room.room_id, drafts)
        drafted = [first, *self._draft_all(room, drafts)]
        await self._persist(room, drafted, new=True)
        return room.room_id

    async def _send_recommended(
        self, room: LiveRoom, drafts: Sequence[Draft], server: PolicyServer
    ) -> list[StoredEvent]:
        """As `send_all`, in a room whose policy server is asked to sign each event before anybody gets to see it.

        One at a time, since an event that stands on a refused one would have to be signed anew. Raises the refusal.
        """
        async with room.hold():
            if await self._prepare(room.room_id, drafts, holding=True) is not room:
                raise _Stale
            drafted = self._draft_all(room, drafts)
            epoch = room.epoch
            try:
                for item in drafted:
                    if needs_recommendation(item.event):
                        await recommend(item.event, server, self.policy_servers)
                        item.encode_again()
            except BaseException:
                if room.epoch == epoch:
                    room.abandon_drafts()
                raise
            if room.epoch != epoch:
                raise _Stale
            return await self._persist(room, drafted, new=False)

    async def why_not_recommended(self, room: LiveRoom, event: Event) -> str | None:
        """Why the room's policy server does not recommend an event of another server, which is asked when the event has
        no valid signature of it; None when it does, or the room has none. Such events are soft failed."""
        server = policy_server_of(room, self._server_name)
        if server is None or not needs_recommendation(event):
            return None
        try:
            check_recommended(event, server)
        except Forbidden:
            try:
                await recommend(event, server, self.policy_servers)
            except MatrixError as refusal:
                return f"By the room's policy server: {refusal.message}"
        return None

    # 1. draft

    async def _prepare(self, room_id: str, drafts: Sequence[Draft], *, holding: bool = False) -> LiveRoom:
        """The room, with every state event in memory that the drafts are authorised against. `holding`: the caller
        holds the room."""
        while True:
            room = await self._rooms.get(room_id)
            users: set[str] = set()
            for draft in drafts:
                for key in self._auth_keys(room, draft):
                    if key[0] == MEMBER and key not in room.overlay:
                        users.add(key[1])
            missing = [
                user_id
                for user_id in users
                if (event_id := room.state_ids.get((MEMBER, user_id))) is not None
                and ((kept := room.member_events.get(user_id)) is None or kept.event_id != event_id)
            ]
            if missing:
                await self._rooms.load_member_events(room, missing)
                continue
            if room.is_held and not holding:
                await room.released()
            elif holding or self._rooms.peek(room_id) is room:
                return room

    def _auth_keys(self, room: LiveRoom, draft: Draft) -> list[StateKey]:
        keys = auth_keys(draft.type, draft.sender, draft.state_key, draft.content, room.version)
        if draft.state_key is not None and draft.type == MEMBER:
            keys = [*keys, (MEMBER, draft.state_key)]
        return keys

    def _draft_all(self, room: LiveRoom, drafts: Sequence[Draft]) -> list[Prepared]:
        drafted: list[Prepared] = []
        try:
            for draft in drafts:
                drafted.append(self._draft(room, draft))  # noqa: PERF401 - what was drafted matters when one fails
        except BaseException:
            if drafted:
                room.abandon_drafts()
            raise
        return drafted

    def _draft(self, room: LiveRoom, draft: Draft) -> Prepared:
        event = self._sign_on_head(room, draft)
        replaces = None if draft.state_key is None else room.draft_state((draft.type, draft.state_key))
        prepared = Prepared.of(event, draft.transaction_key, replaces, draft.redaction_target)
        room.note_drafted(event)
        prepared.heads = room.extremities
        return prepared

    def _sign_on_head(self, room: LiveRoom, draft: Draft) -> Event:
        state: dict[StateKey, Event] = {}
        for key in auth_keys(draft.type, draft.sender, draft.state_key, draft.content, room.version):
            event = room.draft_state(key)
            if event is not None:
                state[key] = event
        event = self._sign(room.version, draft, room.room_id, room.extremities[:MAX_PREV_EVENTS], state)
        create = room.draft_state(CREATE)
        assert create is not None, "every room has its create event"
        state[CREATE] = create
        check_authorized(event, state)
        return event

    def sign_on(
        self, room: LiveRoom, draft: Draft, heads: Sequence[Head], auth_state: Mapping[StateKey, Event]
    ) -> Event:
        """An event of ours that stands on some of the room's ends alone. Whoever asks for it authorises it, by the
        state that these make together."""
        return self._sign(room.version, draft, room.room_id, heads, auth_state)

    # 2. ask the hooks

    async def _ask_hooks(self, room_id: str, drafts: Sequence[Draft]) -> None:
        for check in self._hooks.check_event:
            for draft in drafts:
                target = draft.redaction_target
                author = None if target is None else target.event.sender
                await check(EventToCheck(room_id, draft.sender, draft.type, draft.state_key, draft.content, author))

    # 3. sign

    def _sign(
        self,
        version: RoomVersion,
        draft: Draft,
        room_id: str | None,
        heads: Sequence[Head],
        auth_state: Mapping[StateKey, Event],
    ) -> Event:
        if domain_of(draft.sender) != self._server_name:
            raise Forbidden("Only events of this server's own users are signed here")
        pdu: dict[str, Any] = {
            "type": draft.type,
            "sender": draft.sender,
            "content": draft.content,
            "origin_server_ts": self._clock.now_ms() if draft.origin_server_ts is None else draft.origin_server_ts,
            "depth": min(max((head.depth for head in heads), default=0) + 1, MAX_DEPTH),
        }
        if version.has_event_ids_in_pdus:
            pdu["event_id"] = self.new_event_id()
            pdu["prev_events"] = [[head.event_id, {"sha256": head.sha256}] for head in heads]
            pdu["auth_events"] = [
                [event.event_id, {"sha256": reference_hash(event.pdu, version)}] for event in auth_state.values()
            ]
        else:
            pdu["prev_events"] = [head.event_id for head in heads]
            pdu["auth_events"] = [event.event_id for event in auth_state.values()]
        if room_id is not None:
            pdu["room_id"] = room_id
        if draft.state_key is not None:
            pdu["state_key"] = draft.state_key
        if draft.sticky_ms is not None:
            pdu[STICKY_FIELD] = {"duration_ms": min(draft.sticky_ms, MAX_DURATION_MS)}
        if draft.redacts is not None:
            if version.redacts_in_content:
                pdu["content"] = {**draft.content, "redacts": draft.redacts}
            else:
                pdu["redacts"] = draft.redacts
        _check_keys(draft)
        return seal_event(pdu, version, self._server_name, self._signing_key)

    def new_event_id(self) -> str:
        """An id for an event of room version 1 or 2, where events say theirs."""
        return f"${_random_localpart()}:{self._server_name}"

    def _new_room_id(self, version: RoomVersion) -> str | None:
        """A random room id, or None where the create event's hash is the room's id (version 12)."""
        if version.room_id_is_create_hash:
            return None
        return f"!{_random_localpart()}:{self._server_name}"

    # 5 to 7. resolve, persist, announce

    async def _persist(self, room: LiveRoom, drafted: list[Prepared], *, new: bool) -> list[StoredEvent]:
        epoch = room.epoch

        async def job(txn: Transaction) -> list[StoredEvent]:
            if room.epoch != epoch:
                raise _Stale
            txn.on_abort(room.abandon_drafts)
            return await self._persistence.write(txn, room, drafted, new=new)

        try:
            return await self._db.write(job)
        except _Stale:
            raise
        except Exception:  # perhaps before the job could run: what stands on these drafts must not be written either
            if room.epoch == epoch:
                room.abandon_drafts()
            raise


def _check_keys(draft: Draft) -> None:
    """Size limits of an event's own names, in bytes (A19)."""
    for name, value in (("type", draft.type), ("state_key", draft.state_key or ""), ("sender", draft.sender)):
        if len(value) > MAX_KEY_BYTES or (not value.isascii() and len(value.encode()) > MAX_KEY_BYTES):
            raise TooLarge(f"The event's {name} is longer than {MAX_KEY_BYTES} bytes")


def _random_localpart() -> str:
    return secrets.token_urlsafe(18).replace("-", "A").replace("_", "B")
