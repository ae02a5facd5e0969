"""Invites by address across servers: whoever's address it turns out to be has an account elsewhere.

The identity server tells the server of that account (`onbind`), which asks the server of who invited the address to
make an invite of it (`exchange_third_party_invite`). What proves it is the identity server's signature, by a key that
the invite names; who brings it needs no proof of their own.

Spec: Server-Server API, "Third-party invites".
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from federation.client import FederationClient, encoded
from federation.transactions import acl_of, takes_part
from homeserver.protocol.errors import BadJson, Forbidden, MatrixError, NotFound
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.services import RoomServices
from homeserver.users.services import UserServices

INVITES_MAX: Final = 20
TIMEOUT_SECONDS: Final = 20.0

_log = logging.getLogger("federation.third_party_invites")


class ThirdPartyExchange:
    """Both sides."""

    def __init__(self, client: FederationClient, rooms: RoomServices, users: UserServices, own_name: str) -> None:
        self._client = client
        self._rooms = rooms
        self._users = users
        self._own_name = own_name

    async def bound(self, body: dict[str, Any]) -> None:
        """`PUT /3pid/onbind`: a user of ours has an address that was invited. Raises BadJson, NotFound."""
        user_id, invites = body.get("mxid"), body.get("invites")
        if not isinstance(user_id, str) or not isinstance(invites, list):
            raise BadJson("'mxid' and 'invites' are needed")
        account = await self._users.accounts.find_account(user_id)
        if domain_of(user_id) != self._own_name or account is None or account.is_deactivated:
            raise NotFound("There is no such user")
        if len(invites) > INVITES_MAX:
            raise BadJson(f"More than {INVITES_MAX} invites at once are not taken")
        await asyncio.gather(*(self._redeem(user_id, invite) for invite in invites))

    async def _redeem(self, user_id: str, invite: Any) -> None:
        said = invite if isinstance(invite, dict) else {}
        room_id, sender, signed = said.get("room_id"), said.get("sender"), said.get("signed")
        if not isinstance(room_id, str) or not isinstance(sender, str) or not isinstance(signed, dict):
            return
        try:
            if signed.get("mxid") != user_id or not isinstance(signed.get("token"), str):
                raise BadJson("The invite is signed for somebody else")
            if domain_of(sender) == self._own_name:
                await self._rooms.third_party_invites.accept(user_id, room_id, signed)
                return
            event = {
                "type": "m.room.member",
                "room_id": room_id,
                "sender": sender,
                "state_key": user_id,
                "content": {"membership": "invite", "third_party_invite": {"display_name": "", "signed": signed}},
            }
            path = encoded("/_matrix/federation/v1/exchange_third_party_invite/{}", room_id)
            await self._client.request(domain_of(sender), "PUT", path, body=event, timeout=TIMEOUT_SECONDS)
        except MatrixError as error:
            _log.info("An invite of an address into %s came to nothing: %s", room_id, error)

    async def exchange(self, origin: str, room_id: str, body: Any) -> None:
        """`PUT /exchange_third_party_invite`: make an invite of one by address. Raises BadJson, Forbidden, NotFound."""
        said = body if isinstance(body, dict) else {}
        content = said.get("content")
        proof = content.get("third_party_invite") if isinstance(content, dict) else None
        signed = proof.get("signed") if isinstance(proof, dict) else None
        target, sender = said.get("state_key"), said.get("sender")
        if (
            said.get("type") != "m.room.member"
            or said.get("room_id") != room_id
            or not isinstance(content, dict)
            or content.get("membership") != "invite"
            or not isinstance(signed, dict)
            or not isinstance(target, str)
            or not isinstance(sender, str)
        ):
            raise BadJson("That is no invite of somebody known by an address")
        if domain_of(target) != origin:
            raise Forbidden("Servers take up invites of their own users")
        room = await self._rooms.live.find(room_id)
        if room is None or not takes_part(room, self._own_name) or domain_of(sender) != self._own_name:
            raise NotFound("This server is not in that room")
        if not acl_of(room).allows(origin):
            raise Forbidden("The room's access control list denies this server")
        await self._rooms.third_party_invites.accept(target, room_id, signed)
        if (await self._rooms.live.get(room_id)).membership(target) not in ("invite", "join"):
            raise Forbidden("There is no such invite")
