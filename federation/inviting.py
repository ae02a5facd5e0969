"""Invites across servers: each is signed by both, before anybody else hears of it.

What another server asks us to sign is signed only when it is nothing but an invite of a user of ours by a user of its
own (B01).

Spec: Server-Server API, "Inviting to a room".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from signedjson.types import SigningKey

from federation.client import FederationClient, RemoteRefused, encoded
from federation.events import EventChecks
from federation.membership_events import shown_state
from federation.missing_events import MissingEvents
from federation.transactions import acl_of, takes_part
from homeserver.hooks import Hooks, InviteToCheck
from homeserver.protocol.errors import (
    BadJson,
    Forbidden,
    IncompatibleRoomVersion,
    InvalidParam,
    InviteBlocked,
    MatrixError,
    NotFound,
    Unrecognized,
)
from homeserver.protocol.event_format import parse_event
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.protocol.signatures import sign_event
from homeserver.rooms.invites_from_elsewhere import InvitesFromElsewhere
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.users.services import UserServices

V1_VERSIONS: Final = ("1", "2")
"""The room versions that there were when invites had their older form."""


class Inviting:
    """Both sides."""

    def __init__(
        self,
        *,
        client: FederationClient,
        checks: EventChecks,
        missing: MissingEvents,
        rooms: RoomServices,
        users: UserServices,
        invites: InvitesFromElsewhere,
        hooks: Hooks,
        own_name: str,
        signing_key: SigningKey,
    ) -> None:
        self._client = client
        self._checks = checks
        self._missing = missing
        self._rooms = rooms
        self._users = users
        self._invites = invites
        self._hooks = hooks
        self._own_name = own_name
        self._signing_key = signing_key

    # ---- a user of ours is invited

    async def receive_invite(self, origin: str, room_id: str, event_id: str, body: Any) -> Event:
        """`PUT /invite` v2: the invite, with our signature. Raises what `check` finds, Forbidden, NotFound."""
        said = body if isinstance(body, dict) else {}
        known = await self._rooms.live.find(room_id)
        if known is not None and not acl_of(known).allows(origin):
            raise Forbidden("The room's access control list denies this server")
        version = ROOM_VERSIONS.get(str(said.get("room_version")))
        if version is None:
            raise IncompatibleRoomVersion("This server does not know that room version", room_version="")
        if known is not None and known.version is not version:
            raise BadJson("The room is of another version")  # A14
        _check_create(said.get("invite_room_state"), version, room_id)
        event = await self._checks.check(said.get("event"), version, room_id)
        target = event.state_key
        if event.event_id != event_id:
            raise InvalidParam("The event id in the path is not that of the event")
        if event.type != "m.room.member" or event.content.get("membership") != "invite" or target is None:
            raise InvalidParam("That is not an invite")
        if domain_of(event.sender) != origin or domain_of(target) != self._own_name:
            raise InvalidParam("Servers invite on behalf of their own users, and users of this server")
        account = await self._users.accounts.find_account(target)
        if account is None or account.is_deactivated:
            raise NotFound("There is no such user")
        for check in self._hooks.check_invite:
            await check(InviteToCheck(room_id, event.sender, target))
        signed = Event(sign_event(event.pdu, version, self._own_name, self._signing_key), version, event.event_id)
        if known is not None and takes_part(known, self._own_name):
            return signed  # the event itself arrives as any other of the room
        await self._invites.add(signed, said.get("invite_room_state"))
        return signed

    async def receive_invite_v1(self, origin: str, room_id: str, event_id: str, body: Any) -> Event:
        """`PUT /invite` v1, whose body is the event, and what is told of the room stands beside it in `unsigned`.

        "Servers which receive a v1 invite request must assume that the room version is either "1" or "2"": which of
        them, only the room itself says, and both have the same events.
        """
        known = await self._rooms.live.find(room_id)
        version = known.version.identifier if known is not None and known.version.identifier in V1_VERSIONS else "1"
        beside = body.get("unsigned") if isinstance(body, dict) else None
        told = beside.get("invite_room_state") if isinstance(beside, dict) else None
        said = {"room_version": version, "event": body, "invite_room_state": told}
        return await self.receive_invite(origin, room_id, event_id, said)

    async def receive_removal(self, origin: str, pdu: Mapping[str, Any]) -> bool:
        """Whether a member event that came for a room this server is not in takes back an invite of a user of ours, or
        refuses a knock; then that is over. Whoever may do so is known to the room alone, so it is believed of servers
        that know our user's membership, and of an invite of the inviter's own server."""
        room_id, user_id = pdu.get("room_id"), pdu.get("state_key")
        if pdu.get("type") != "m.room.member" or not isinstance(room_id, str) or not isinstance(user_id, str):
            return False
        membership = await self._rooms.store.find_membership(room_id, user_id)
        if membership is None or membership.membership not in ("invite", "knock"):
            return False
        told = await self._invites.stripped_state(room_id, user_id) or ()
        created: dict[str, Any] = next((one["content"] for one in told if one["type"] == "m.room.create"), {})
        version = ROOM_VERSIONS.get(str(created.get("room_version", "1")))
        if version is None:
            return False
        event = await self._checks.check(pdu, version, room_id)
        if event.content.get("membership") not in ("leave", "ban") or domain_of(event.sender) != origin:
            return False
        if membership.event_id not in event.auth_events:
            return False
        if membership.membership == "invite" and domain_of(membership.sender) != origin:
            return False
        await self._invites.end(user_id, room_id)
        return True

    # ---- a user of ours invites

    async def countersign(self, room: LiveRoom, event: Event) -> Event:
        """Our invite of a user of another server, with that server's signature. Raises Forbidden, RemoteFailed."""
        target = event.state_key
        assert target is not None, "an invite is a state event"
        # Whole events, by which the other server can tell what room this is (v1.16, MSC4311).
        shown = shown_state(room)
        inviter = await self._rooms.live.member_event(room, event.sender)
        if inviter is not None:
            shown.append(inviter.event.pdu)
        body = {
            "room_version": room.version.identifier,
            "event": event.pdu,
            "invite_room_state": shown,
            "via": [self._own_name],
        }
        try:
            answer = await self._bring(domain_of(target), event, body)
        except RemoteRefused as error:
            if error.status == 403 and error.remote_errcode == InviteBlocked.errcode:
                raise InviteBlocked(f"{target} does not accept invites from you.") from error
            if error.status == 403:
                raise Forbidden(str(error.remote_body.get("error", "The invite was refused"))[:300]) from error
            raise
        theirs = answer.get("event") if isinstance(answer, dict) else None
        given = theirs.get("signatures") if isinstance(theirs, dict) else None
        signatures = given.get(domain_of(target)) if isinstance(given, dict) else None
        if not isinstance(signatures, dict):
            raise BadJson("The invited user's server has not signed the invite")
        pdu = {**event.pdu, "signatures": {**event.pdu["signatures"], domain_of(target): signatures}}
        signed = Event(pdu, event.room_version, event.event_id)
        await self._checks.check(pdu, event.room_version, event.room_id)
        return signed

    async def _bring(self, server: str, event: Event, body: dict[str, Any]) -> Any:
        """Ask by the newer form, and by the older one where the server does not know that."""
        path = "/_matrix/federation/{}/invite/{}/{}"
        try:
            return await self._client.request(
                server, "PUT", encoded(path, "v2", event.room_id, event.event_id), body=body
            )
        except RemoteRefused as error:
            is_unknown = error.status in (404, 405) or (error.status == 400 and not error.remote_errcode)
            is_unknown = is_unknown and error.remote_errcode in ("", Unrecognized.errcode)
            if not is_unknown or event.room_version.identifier not in V1_VERSIONS:
                raise
        older = {**event.pdu, "unsigned": {"invite_room_state": body["invite_room_state"]}}
        answer = await self._client.request(
            server, "PUT", encoded(path, "v1", event.room_id, event.event_id), body=older
        )
        return answer[1] if isinstance(answer, list) and len(answer) == 2 else answer


def _check_create(told: Any, version: RoomVersion, room_id: str) -> None:
    """What is told of a room must not be of another one: where the id is the hash of the create event, a whole create
    event proves it (MSC4311). Of stripped events, which others still send, nothing can be checked. Raises InvalidParam.
    """
    if not version.room_id_is_create_hash or not isinstance(told, list):
        return
    for one in told:
        if isinstance(one, dict) and one.get("type") == "m.room.create" and "hashes" in one:
            try:
                is_of_it = parse_event(one, version).room_id == room_id
            except MatrixError:
                is_of_it = False
            if not is_of_it:
                raise InvalidParam("invite_room_state tells of another room")
