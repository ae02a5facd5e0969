"""Joining rooms: a user of ours elsewhere, and users of others here.

Spec: Server-Server API, "Joining Rooms", "Restricted rooms".
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from signedjson.types import SigningKey

from federation.client import RemoteFailed, RemoteRefused, list_of
from federation.events import EventChecks
from federation.membership_events import MembershipEvents
from federation.missing_events import MissingEvents
from homeserver.protocol.errors import BadJson, Forbidden, MatrixError, NotFound, UnableToAuthoriseJoin
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of, parse_user_id
from homeserver.protocol.signatures import required_signers, sign_event
from homeserver.rooms.importing import BadState
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices

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
        own_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._events = events
        self._checks = checks
        self._missing = missing
        self._rooms = rooms
        self._own_name = own_name
        self._signing_key = signing_key

    # ---- a user of ours, elsewhere

    async def join(self, user_id: str, room_id: str, content: dict[str, Any], servers: Sequence[str]) -> str:
        """Join by way of the first of `servers` that lets the user in. Returns the room's id."""
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
        event = await self._events.make(server, "join", room_id, user_id, wanted)
        answer = await self._events.send(
            server, "/_matrix/federation/v2/send_join/{}/{}", event, "/_matrix/federation/v1/send_join/{}/{}"
        )
        if isinstance(answer, list) and len(answer) == 2:  # v1
            answer = answer[1]
        if not isinstance(answer, dict):
            raise BadJson(f"{server} does not tell the state of the room")
        version = event.room_version
        if isinstance(answer.get("event"), dict):
            event = self._countersigned(event, answer["event"])
        chain = await self._checks.check_all(list_of(answer, "auth_chain"), version, room_id)
        state = await self._checks.check_all(list_of(answer, "state"), version, room_id)
        await self._checks.check(event.pdu, version, room_id)
        await self._rooms.room_import.take_in(state, chain, event)

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
        try:
            return await self._rooms.memberships.authorising_user(room, user_id)
        except Forbidden as error:
            if await self._rooms.memberships.may_join_restricted(room, user_id):
                raise
            raise UnableToAuthoriseJoin("The user is in none of the rooms whose members may join") from error

    async def send_join(self, origin: str, room_id: str, event_id: str, pdu: Any) -> dict[str, Any]:
        """`PUT /send_join` v2."""
        room, event = await self._events.take(
            origin, room_id, event_id, await self._with_our_signature(room_id, pdu), "join"
        )
        authoriser = event.content.get("join_authorised_via_users_server")
        is_ours = isinstance(authoriser, str) and domain_of(authoriser) == self._own_name
        if is_ours and not await self._rooms.memberships.may_join_restricted(room, event.sender):
            raise Forbidden("The user is in none of the rooms whose members may join")
        self._events.check_accepted(await self._missing.receive(origin, event))
        before = await self._rooms.branches.whole(room, await self._rooms.branches.before(room, event.event_id))
        stored = await self._rooms.events.find_events(room_id, room.version, list(before.values()))
        chain = await self._rooms.branches.with_auth_chains(room, before.values())
        return {
            "origin": self._own_name,
            "event": event.pdu,
            "state": [one.event.pdu for one in stored],
            "auth_chain": [one.pdu for one, _ in chain.values()],
            "members_omitted": False,
            "servers_in_room": sorted(room.servers),
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
