"""Joining rooms: a user of ours elsewhere, and users of others here.

Spec: Server-Server API, "Joining Rooms", "Restricted rooms".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from signedjson.types import SigningKey

from federation.client import RemoteFailed, RemoteRefused, list_of
from federation.events import EventChecks
from federation.joins_under_way import JoinsUnderWay
from federation.membership_events import MembershipEvents
from federation.missing_events import MissingEvents
from federation.partial_state import StateCompletion
from federation.transactions import takes_part
from homeserver.clock import Clock
from homeserver.protocol.errors import (
    BadJson,
    Forbidden,
    MatrixError,
    NotFound,
    UnableToAuthoriseJoin,
    UnableToGrantJoin,
)
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of, is_server_name, parse_user_id
from homeserver.protocol.signatures import required_signers, sign_event
from homeserver.rooms.importing import BadState
from homeserver.rooms.live_room import MEMBER, LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.storage.partial_state import PartialState
from homeserver.storage.rooms import StateKey
from homeserver.sync.summary import heroes

FEW_MEMBERS: Final = 50
"""Up to so many member events, a join is answered with the whole state, asked for or not."""
SERVERS_MAX: Final = 20_000

_log = logging.getLogger("federation.joining")


class Joining:
    """Both sides of the dance."""

    def __init__(
        self,
        *,
        events: MembershipEvents,
        checks: EventChecks,
        missing: MissingEvents,
        rooms: RoomServices,
        completion: StateCompletion,
        under_way: JoinsUnderWay,
        clock: Clock,
        own_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._events = events
        self._checks = checks
        self._missing = missing
        self._rooms = rooms
        self._completion = completion
        self._under_way = under_way
        self._clock = clock
        self._own_name = own_name
        self._signing_key = signing_key
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    # ---- a user of ours, elsewhere

    async def join(self, user_id: str, room_id: str, content: dict[str, Any], servers: Sequence[str]) -> str:
        """Join by way of the first of `servers` that lets the user in. Returns the room's id as soon as the room can be
        read and written; the rest of its state may still be on its way."""
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        self._waiting[room_id] = self._waiting.get(room_id, 0) + 1
        try:
            async with lock:  # whoever joins second finds the room here
                room = await self._rooms.live.find(room_id)
                if room is not None and room.has_server(self._own_name) and room.partial is None:
                    return await self._rooms.memberships.join(user_id, room_id, content=content)
                with self._under_way.joining(room_id):
                    return await self._join_by_any(user_id, room_id, content, servers)
        finally:
            self._waiting[room_id] -= 1
            if not self._waiting[room_id]:
                del self._waiting[room_id], self._locks[room_id]

    async def _join_by_any(self, user_id: str, room_id: str, content: dict[str, Any], servers: Sequence[str]) -> str:
        failure: MatrixError = NotFound("No server was named that could let the user in")
        for server in servers:
            try:
                await self._join_by(server, user_id, room_id, content)
            except (RemoteFailed, BadJson, BadState, Forbidden) as error:
                _log.info("%s does not let %s into %s: %s", server, user_id, room_id, error)
                failure = error.as_answer() if isinstance(error, RemoteRefused) else error
            else:
                return room_id
        raise failure

    async def _join_by(self, server: str, user_id: str, room_id: str, content: dict[str, Any]) -> None:
        wanted = {**content, "membership": "join"}
        wanted.pop("join_authorised_via_users_server", None)
        begun = self._clock.monotonic()
        event = await self._events.make(server, "join", room_id, user_id, wanted)
        answer = await self._send(server, event, omit_members=True)
        if isinstance(answer, list) and len(answer) == 2:  # v1
            answer = answer[1]
        if not isinstance(answer, dict):
            raise BadJson(f"{server} does not tell the state of the room")
        version = event.room_version
        if isinstance(answer.get("event"), dict):
            event = self._countersigned(event, answer["event"])
        room = await self._rooms.live.find(room_id)
        if room is not None and self._own_name in room.servers:
            # Another user of ours is in the room already; whether this one may join is for a server to say that has
            # all of its state. Its word is an event as any other.
            self._events.check_accepted(await self._missing.receive(server, event))
            return
        chain, state, _ = await asyncio.gather(
            self._checks.check_all(list_of(answer, "auth_chain"), version, room_id),
            self._checks.check_all(list_of(answer, "state"), version, room_id),
            self._checks.check(event.pdu, version, room_id),
        )
        partial = self._partial_of(server, event, answer) if answer.get("members_omitted") is True else None
        await self._rooms.room_import.take_in(state, chain, event, partial=partial)
        seconds = self._clock.monotonic() - begun
        if partial is None:
            _log.info("%s is in %s by way of %s after %.1f s", user_id, room_id, server, seconds)
            return
        _log.info(
            "%s is in %s by way of %s after %.1f s; its members (of %d servers) follow",
            user_id,
            room_id,
            server,
            seconds,
            len(partial.servers),
        )
        self._completion.begin(room_id)

    async def _send(self, server: str, event: Event, *, omit_members: bool) -> Any:
        return await self._events.send(
            server,
            "/_matrix/federation/v2/send_join/{}/{}",
            event,
            "/_matrix/federation/v1/send_join/{}/{}",
            {"omit_members": "true"} if omit_members else None,
        )

    def _partial_of(self, server: str, join: Event, answer: dict[str, Any]) -> PartialState:
        named = list_of(answer, "servers_in_room")[:SERVERS_MAX]
        servers = {name for name in named if isinstance(name, str) and is_server_name(name)} - {self._own_name}
        return PartialState(
            join.room_id, server, frozenset(servers | {server}), join.event_id, base=0, begun_ms=self._clock.now_ms()
        )

    def _countersigned(self, ours: Event, theirs: dict[str, Any]) -> Event:
        """Our event with the signatures that the resident server added, and nothing else of its answer."""
        given = theirs.get("signatures")
        signatures = dict(ours.pdu["signatures"])
        for name, by_key in given.items() if isinstance(given, dict) else ():
            if name not in signatures and name in required_signers(ours) and isinstance(by_key, dict):
                signatures[name] = by_key
        return Event({**ours.pdu, "signatures": signatures}, ours.room_version, ours.event_id)

    # ---- users of others, here

    async def make_join(self, origin: str, room_id: str, user_id: str, versions: Sequence[str]) -> dict[str, Any]:
        """`GET /make_join`."""
        room = await self._events.resident_room(origin, room_id)
        content: dict[str, Any] = {"membership": "join"}
        if self._rooms.memberships.needs_authorising_user(room, parse_user_id(user_id)):
            content["join_authorised_via_users_server"] = await self._authoriser(room, user_id)
        elif room.join_rule not in ("public",) and room.membership(user_id) not in ("invite", "join"):
            raise Forbidden("The user is not invited to this room")
        if room.membership(user_id) == "ban":
            raise Forbidden("The user is banned from this room")
        return await self._events.template(origin, room_id, user_id, content, versions)

    async def _authoriser(self, room: LiveRoom, user_id: str) -> str:
        """Who of this server lets the user in. Spec: "Restricted rooms"."""
        memberships = self._rooms.memberships
        try:
            return await memberships.authorising_user(room, user_id)
        except Forbidden as error:
            if await memberships.may_join_restricted(room, user_id):
                raise UnableToGrantJoin("Nobody of this server may let the user in") from error
            if not await self._sees_conditions(room):
                raise UnableToAuthoriseJoin("This server is not in all the rooms whose members may join") from error
            raise Forbidden("The user is in none of the rooms whose members may join") from error

    async def _sees_conditions(self, room: LiveRoom) -> bool:
        """Whether this server can say of each of the rooms whose members may join who is there."""
        allow = room.content("m.room.join_rules").get("allow")
        for entry in allow if isinstance(allow, list) else ():
            named = entry.get("room_id") if isinstance(entry, dict) else None
            other = await self._rooms.live.find(named) if isinstance(named, str) else None
            if isinstance(named, str) and (other is None or not takes_part(other, self._own_name)):
                return False
        return True

    async def send_join(
        self, origin: str, room_id: str, event_id: str, pdu: Any, *, omit_members: bool = False
    ) -> dict[str, Any]:
        """`PUT /send_join` v2."""
        room, event = await self._events.take(
            origin, room_id, event_id, await self._with_our_signature(room_id, pdu), "join"
        )
        authoriser = event.content.get("join_authorised_via_users_server")
        is_ours = isinstance(authoriser, str) and domain_of(authoriser) == self._own_name
        if is_ours and not await self._rooms.memberships.may_join_restricted(room, event.sender):
            raise Forbidden("The user is in none of the rooms whose members may join")
        servers = self._servers_before(room, event)
        self._events.accept(origin, await self._missing.receive(origin, event))
        before = await self._rooms.branches.whole(room, await self._rooms.branches.before(room, event.event_id))
        told = self._without_members(room, event, before) if omit_members else before
        found = await self._rooms.branches.with_auth_chains(room, told.values())
        in_state = frozenset(told.values())
        return {
            "origin": self._own_name,
            "event": event.pdu,
            "state": [found[one][0].pdu for one in told.values()],
            "auth_chain": [one.pdu for name, (one, _) in found.items() if not (omit_members and name in in_state)],
            "members_omitted": len(told) < len(before),
            "servers_in_room": servers,
        }

    def _servers_before(self, room: LiveRoom, join: Event) -> list[str]:
        """ "A list of the servers active in the room (ie, those with joined members) before the join." """
        own = domain_of(join.sender)
        is_new = room.membership(join.sender) != "join" and not room.servers.get(own)
        return sorted(name for name in room.servers if not (is_new and name == own))

    def _without_members(self, room: LiveRoom, join: Event, state: dict[StateKey, str]) -> dict[StateKey, str]:
        """A state with those members alone that whoever joins needs at once: whom the room is named after, who
        authorised the join, and what is known here of users of the joining server."""
        members = [key[1] for key in state if key[0] == MEMBER]
        if len(members) <= FEW_MEMBERS:
            return state
        wanted = {user_id for user_id in members if domain_of(user_id) == domain_of(join.sender)}
        named = set(join.auth_events)
        if not room.content("m.room.name").get("name") and not room.content("m.room.canonical_alias").get("alias"):
            wanted.update(heroes(room, join.sender))
        return {
            key: event_id
            for key, event_id in state.items()
            if key[0] != MEMBER or key[1] in wanted or event_id in named
        }

    async def _with_our_signature(self, room_id: str, pdu: Any) -> Any:
        """A join that a user of ours authorises needs our signature; whether it may have it is checked before it is
        received, and nothing is signed but a join."""
        if not isinstance(pdu, dict) or pdu.get("type") != "m.room.member":
            return pdu
        content = pdu.get("content")
        authoriser = content.get("join_authorised_via_users_server") if isinstance(content, dict) else None
        if not isinstance(authoriser, str) or not isinstance(content, dict) or content.get("membership") != "join":
            return pdu
        room = await self._rooms.live.find(room_id) if pdu.get("room_id") == room_id else None
        version = None if room is None else room.version
        if version is None or not version.restricted or domain_of(authoriser) != self._own_name:
            return pdu
        return sign_event(pdu, version, self._own_name, self._signing_key)
