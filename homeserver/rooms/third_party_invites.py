"""Inviting somebody who is known by an e-mail address alone.

Who has an account here with that address is invited as any user. Else the identity server that the client names is
asked: it knows the user id, or writes to the address and gives a token and keys, which go into the room; whoever can
show by its signature that the address is theirs then comes in with them.
Spec: Client-Server API, "Third-party invites", `POST /rooms/{roomId}/invite`, `third_party_signed` of a join.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.protocol.authorization import NotAuthorized
from homeserver.protocol.authorization_third_party import is_signed_by_any
from homeserver.protocol.errors import BadJson, Forbidden, InvalidParam, MissingParam, NotInRoom
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.membership import Memberships, ProfileOf
from homeserver.rooms.pipeline import Draft, Pipeline
from homeserver.rooms.remote import MAY_NOT_JOIN
from homeserver.users.identity_servers import IdentityServer, IdentityServers
from homeserver.users.threepids import canonical_threepid

THIRD_PARTY_INVITE: Final = "m.room.third_party_invite"
_MAX_KEYS: Final = 20

FindUser = Callable[[str, str], Awaitable[str | None]]
"""The local user who has (medium, address), or None."""


async def find_nobody(medium: str, address: str) -> str | None:
    """Where the operator wants nobody to learn whose account an address belongs to."""
    return None


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """Whom to invite, and the identity server to ask about them; None where the client named none."""

    medium: str
    address: str
    identity_server: IdentityServer | None


class ThirdPartyInvites:
    """Invites by address, and what comes of them."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        memberships: Memberships,
        pipeline: Pipeline,
        identity_servers: IdentityServers,
        find_user: FindUser,
        profile_of: ProfileOf,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._memberships = memberships
        self._pipeline = pipeline
        self._identity_servers = identity_servers
        self._find_user = find_user
        self._profile_of = profile_of
        self._server_name = server_name

    def check(self, third_party: ThirdParty) -> str:
        """The canonical address. Raises InvalidParam."""
        address = canonical_threepid(third_party.medium, third_party.address)
        if address is None:
            raise InvalidParam("'address' is no address of this 'medium'.")
        return address

    async def invite(
        self,
        sender: str,
        room_id: str,
        third_party: ThirdParty,
        *,
        reason: str | None = None,
        is_direct: bool = False,
    ) -> None:
        """Raises Forbidden, MissingParam (nobody to ask), ConnectionFailed, RefusedElsewhere."""
        address = self.check(third_party)
        room = await self._rooms.get(room_id)
        if room.membership(sender) != "join":
            raise NotInRoom()
        if room.power_levels.of(sender) < room.power_levels.invite:
            raise Forbidden("You do not have the power to invite users")
        user_id = await self._find_user(third_party.medium, address)
        server = third_party.identity_server
        if user_id is None and server is None:
            raise MissingParam("'id_server' and 'id_access_token' are needed to invite by an address.")
        if user_id is None and server is not None:
            user_id = await self._identity_servers.look_up(server, third_party.medium, address)
        if user_id is not None:
            extra = {"is_direct": True} if is_direct else None
            await self._memberships.invite(sender, room_id, user_id, reason=reason, extra=extra)
            return
        assert server is not None
        await self._invite_stranger(room, sender, server, third_party.medium, address)

    async def accept(self, user_id: str, room_id: str, signed: Mapping[str, Any]) -> None:
        """Turn an invite by address into one of `user_id`, who shows by `signed` that the address is theirs. Does
        nothing where there is no need or no such invite. Raises BadJson, Forbidden."""
        token = signed.get("token")
        if not isinstance(token, str) or signed.get("mxid") != user_id:
            raise BadJson("'third_party_signed' must be signed for you, and have a token.")
        room = await self._rooms.find(room_id)
        if room is None or room.membership(user_id) in ("join", "invite", "ban"):
            return
        invite = room.state_event(THIRD_PARTY_INVITE, token)
        if invite is None or domain_of(invite.event.sender) != self._server_name:
            return
        if not await self._is_signed_by_a_valid_key(dict(signed), invite.event.content):
            raise Forbidden(MAY_NOT_JOIN)
        shown = str(invite.event.content.get("display_name", ""))
        proof = {"display_name": shown, "signed": dict(signed)}
        try:
            await self._memberships.invite_by_address(invite.event.sender, room, user_id, proof)
        except NotAuthorized as refusal:
            raise Forbidden(MAY_NOT_JOIN) from refusal

    async def _invite_stranger(
        self, room: LiveRoom, sender: str, server: IdentityServer, medium: str, address: str
    ) -> None:
        wanted = {"medium": medium, "address": address, "room_id": room.room_id, "sender": sender}
        told = {
            "room_alias": room.content("m.room.canonical_alias").get("alias"),
            "room_avatar_url": room.content("m.room.avatar").get("url"),
            "room_join_rules": room.join_rule,
            "room_name": room.content("m.room.name").get("name"),
            "room_type": room.content("m.room.create").get("type"),
        }
        profile = await self._profile_of(sender)
        told["sender_display_name"] = profile.get("displayname")
        told["sender_avatar_url"] = profile.get("avatar_url")
        wanted |= {name: value for name, value in told.items() if isinstance(value, str)}
        stored = await self._identity_servers.store_invite(server, wanted)
        draft = Draft(sender, THIRD_PARTY_INVITE, stored.content(), state_key=stored.token)
        await self._pipeline.send(room.room_id, draft)

    async def _is_signed_by_a_valid_key(self, signed: dict[str, Any], content: Mapping[str, Any]) -> bool:
        """Whether a key of the invite has signed, and its `key_validity_url` says that it is still good."""
        for key, url in _keys_of(content):
            if is_signed_by_any(signed, [key]) and (url is None or await self._identity_servers.is_valid_key(url, key)):
                return True
        return False


def _keys_of(content: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """(public key, the address that says whether it is valid) of an m.room.third_party_invite event."""
    listed = content.get("public_keys")
    entries = [content, *(listed if isinstance(listed, list) else ())]
    found = {
        (key, url if isinstance(url, str) else None): None
        for entry in entries
        if isinstance(entry, dict)
        for key, url in [(entry.get("public_key"), entry.get("key_validity_url"))]
        if isinstance(key, str)
    }
    return list(found)[:_MAX_KEYS]
