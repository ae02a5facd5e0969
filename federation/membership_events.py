"""What the dances of joining, leaving and knocking share: the template that a resident server gives, and the event that
the other makes of it.

Of a template, only what this server cannot know is taken: predecessors, auth events, depth. All else is ours (B02).

Spec: Server-Server API, "Joining Rooms", "Leaving Rooms", "Knocking upon a room".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from signedjson.types import SigningKey

from federation.client import FederationClient, RemoteRefused, encoded
from federation.events import EventChecks
from federation.transactions import acl_of, takes_part
from homeserver.clock import Clock
from homeserver.protocol.authorization import auth_keys
from homeserver.protocol.errors import BadJson, Forbidden, IncompatibleRoomVersion, NotFound
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import reference_hash
from homeserver.protocol.identifiers import domain_of, is_user_id
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.protocol.signatures import seal_event
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.receiving import Accepted, Known, Outcome
from homeserver.rooms.services import RoomServices
from homeserver.storage.events import ACCEPTED, StoredEvent


class MembershipEvents:
    """Makes and takes member events across servers."""

    def __init__(
        self,
        *,
        rooms: RoomServices,
        client: FederationClient,
        checks: EventChecks,
        clock: Clock,
        own_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._rooms = rooms
        self._client = client
        self._checks = checks
        self._clock = clock
        self._own_name = own_name
        self._signing_key = signing_key
        self.pass_on: Callable[[StoredEvent, str], None] = _to_nobody
        """Tells the other servers of an event that one has brought; federation's sender does it."""

    # ---- the server that is in the room

    async def resident_room(self, origin: str, room_id: str) -> LiveRoom:
        """A room that this server takes part in and that lets `origin` in. Raises NotFound, Forbidden; NotFound too
        while this server itself has only a part of the state: others can say more."""
        room = await self._rooms.live.find(room_id)
        if room is None or not takes_part(room, self._own_name):
            raise NotFound("This server is not in that room")
        if not acl_of(room).allows(origin):
            raise Forbidden("The room's access control list denies this server")
        if room.partial is not None:
            raise NotFound("This server has just joined that room, and does not have its whole state yet")
        return room

    async def template(
        self, origin: str, room_id: str, user_id: str, content: Mapping[str, Any], versions: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """What `/make_*` answers: an event that is neither signed nor hashed."""
        room = await self.resident_room(origin, room_id)
        if domain_of(user_id) != origin:
            raise Forbidden("Servers ask for their own users only")
        if versions is not None and room.version.identifier not in versions:
            raise IncompatibleRoomVersion(
                f"The room is of version {room.version.identifier}", room_version=room.version.identifier
            )
        users = [user_id, *(one for one in (content.get("join_authorised_via_users_server"),) if isinstance(one, str))]
        await self._rooms.live.load_member_events(room, users)
        auth = [
            found
            for key in auth_keys("m.room.member", user_id, user_id, content, room.version)
            if (found := _committed(room, key)) is not None
        ]
        heads = room.extremities[:20]
        event: dict[str, Any] = {
            "type": "m.room.member",
            "sender": user_id,
            "state_key": user_id,
            "room_id": room_id,
            "content": dict(content),
            "origin": self._own_name,
            "origin_server_ts": self._clock.now_ms(),
            "depth": max((head.depth for head in heads), default=0) + 1,
            "prev_events": [head.event_id for head in heads],
            "auth_events": [one.event_id for one in auth],
        }
        if room.version.has_event_ids_in_pdus:
            event["prev_events"] = [[head.event_id, {"sha256": head.sha256}] for head in heads]
            event["auth_events"] = [[one.event_id, {"sha256": reference_hash(one.pdu, room.version)}] for one in auth]
        return {"event": event, "room_version": room.version.identifier}

    async def take(self, origin: str, room_id: str, event_id: str, pdu: Any, membership: str) -> tuple[LiveRoom, Event]:
        """The event that `/send_*` brings, checked to be what it should be (B03); it is not received yet."""
        room = await self.resident_room(origin, room_id)
        event = await self._checks.check(pdu, room.version, room_id)
        if event.event_id != event_id:
            raise BadJson("The event id in the path is not that of the event")
        if event.type != "m.room.member" or event.state_key != event.sender or domain_of(event.sender) != origin:
            raise BadJson("That is not a membership of a user of yours, by themselves")
        if event.content.get("membership") != membership:
            raise BadJson(f"The membership is not {membership!r}")
        return room, event

    def accept(self, origin: str, outcome: Outcome) -> None:
        """What became of an event that a server brought us for all servers in the room, which are told of it now.
        Raises Forbidden unless the event is in the room."""
        if isinstance(outcome, Accepted):
            self.pass_on(outcome.stored, origin)
        self.check_accepted(outcome)

    def check_accepted(self, outcome: Outcome) -> None:
        """Raises Forbidden unless the event is in the room now."""
        if isinstance(outcome, Accepted) or (isinstance(outcome, Known) and outcome.status == ACCEPTED):
            return
        raise Forbidden(getattr(outcome, "reason", "The event was not accepted")[:300])

    # ---- the server that is not

    async def make(self, destination: str, verb: str, room_id: str, user_id: str, content: Mapping[str, Any]) -> Event:
        """Our event after the template of `destination`, signed. `verb`: join, leave or knock.

        Raises RemoteFailed, BadJson.
        """
        query = {"ver": list(ROOM_VERSIONS)} if verb != "leave" else None
        answer = await self._client.get(
            destination, encoded(f"/_matrix/federation/v1/make_{verb}/{{}}/{{}}", room_id, user_id), query
        )
        template = answer.get("event") if isinstance(answer, dict) else None
        identifier = answer.get("room_version", "1") if isinstance(answer, dict) else None
        version = ROOM_VERSIONS.get(identifier) if isinstance(identifier, str) else None
        if not isinstance(template, dict) or version is None:
            raise BadJson(f"The template of {destination} cannot be used")
        return self._build(version, room_id, user_id, content, template)

    def _build(
        self, version: RoomVersion, room_id: str, user_id: str, content: Mapping[str, Any], template: dict[str, Any]
    ) -> Event:
        if domain_of(user_id) != self._own_name:
            raise Forbidden("Only events of this server's own users are signed here")
        depth = template.get("depth")
        pdu: dict[str, Any] = {
            "type": "m.room.member",
            "sender": user_id,
            "state_key": user_id,
            "room_id": room_id,
            "content": dict(content),
            "origin_server_ts": self._clock.now_ms(),
            "depth": min(max(depth, 1), 2**53 - 1) if isinstance(depth, int) else 1,
            "prev_events": template.get("prev_events"),
            "auth_events": template.get("auth_events"),
        }
        told = template.get("content")
        authoriser = told.get("join_authorised_via_users_server") if isinstance(told, dict) else None
        if version.restricted and isinstance(authoriser, str) and content.get("membership") == "join":
            if not is_user_id(authoriser) or domain_of(authoriser) == self._own_name:
                raise BadJson("The template names somebody who cannot authorise the join")  # our signature would
            pdu["content"]["join_authorised_via_users_server"] = authoriser
        if version.has_event_ids_in_pdus:
            pdu["event_id"] = self._rooms.pipeline.new_event_id()
        # `seal_event` checks the form of the whole, so of what the template gave too.
        return seal_event(pdu, version, self._own_name, self._signing_key)

    async def send(
        self,
        destination: str,
        path_of: str,
        event: Event,
        older_path: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Bring an event to a server. `path_of` has `{}` for the room and the event; `older_path` is tried when the
        server does not know the first."""
        path = encoded(path_of, event.room_id, event.event_id)
        try:
            return await self._client.request(
                destination, "PUT", path, query, event.pdu, timeout=SEND_SECONDS, max_bytes=STATE
            )
        except RemoteRefused as error:
            if (
                older_path is None
                or error.status not in (400, 404)
                or error.remote_errcode not in ("M_UNRECOGNIZED", "")
            ):
                raise
        return await self._client.request(
            destination,
            "PUT",
            encoded(older_path, event.room_id, event.event_id),
            body=event.pdu,
            timeout=SEND_SECONDS,
            max_bytes=STATE,
        )


STATE = 200 * 1024 * 1024
SEND_SECONDS = 180.0
"""A server that does not leave members out may take long to tell a big room."""

SHOWN = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


def shown_state(room: LiveRoom) -> list[dict[str, Any]]:
    """What somebody who is invited, or knocks, is told of a room: whole events (v1.16)."""
    return [stored.event.pdu for one in SHOWN if (stored := room.state_event(one)) is not None]


def _to_nobody(stored: StoredEvent, origin: str) -> None:
    """As long as nothing is sent."""


def _committed(room: LiveRoom, key: tuple[str, str]) -> Event | None:
    if key[0] == "m.room.member":
        stored = room.member_events.get(key[1]) if key in room.state_ids else None
    else:
        stored = room.state_event(*key)
    return None if stored is None else stored.event
