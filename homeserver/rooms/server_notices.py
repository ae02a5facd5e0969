"""What the server itself has to say to a user: a room with each, in which only the server speaks.

Spec: Client-Server API, "Server Notices". The room is made with the first notice and tagged `m.server_notice`; its user
cannot leave it while the account exists (M_CANNOT_LEAVE_SERVER_NOTICE_ROOM).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.hooks import EventToCheck, RegistrationToCheck
from homeserver.protocol.errors import CannotLeaveServerNoticeRoom, Forbidden, InvalidParam, NotFound, UserInUse
from homeserver.protocol.identifiers import UserId, domain_of, parse_user_id
from homeserver.rooms.creation import RoomCreation, RoomRequest
from homeserver.rooms.live_room import MEMBER, LiveRooms
from homeserver.rooms.membership import Memberships
from homeserver.rooms.pipeline import Draft, Pipeline
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStore
from homeserver.storage.server_notices import ServerNoticeStore
from homeserver.users.accounts import Accounts
from homeserver.users.profiles import Profiles
from homeserver.users.requester import Requester
from homeserver.users.tags import Tags

TAG: Final = "m.server_notice"


@dataclass(frozen=True, slots=True)
class ServerNoticeSettings:
    """Who speaks: `localpart` is kept for that account alone."""

    localpart: str = "server-notices"
    display_name: str = "Server notices"
    avatar_url: str | None = None
    room_name: str = "Server notices"


class ServerNotices:
    """Sends notices, and keeps the rooms where they are read."""

    def __init__(
        self,
        *,
        db: Database,
        store: ServerNoticeStore,
        rooms: LiveRooms,
        events: EventStore,
        creation: RoomCreation,
        memberships: Memberships,
        pipeline: Pipeline,
        accounts: Accounts,
        profiles: Profiles,
        tags: Tags,
        settings: ServerNoticeSettings,
        server_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._rooms = rooms
        self._events = events
        self._creation = creation
        self._memberships = memberships
        self._pipeline = pipeline
        self._accounts = accounts
        self._profiles = profiles
        self._tags = tags
        self._settings = settings
        self._server_name = server_name
        self._known: dict[str, str] | None = None
        self._released: set[str] = set()
        self._lock = asyncio.Lock()
        self.sender = UserId(f"@{settings.localpart}:{server_name}")

    async def send(
        self,
        user_id: str,
        content: Mapping[str, Any],
        *,
        event_type: str = "m.room.message",
        state_key: str | None = None,
        txn_id: str | None = None,
    ) -> str:
        """Tell a user of this server something; the event's id. A `txn_id` that was used before for this user gives
        that event's. Raises InvalidParam, NotFound."""
        if domain_of(parse_user_id(user_id)) != self._server_name:
            raise InvalidParam("Notices are for users of this server.")
        if user_id == self.sender:
            raise InvalidParam("This is the account that notices come from.")
        if not await self._accounts.exists(user_id):
            raise NotFound("There is no such account.")
        room_id = await self._room_of(user_id)
        key = None if txn_id is None else f"operator/notice/{txn_id}"
        if key is not None:
            earlier = await self._events.find_by_transaction(self.sender, room_id, key)
            if earlier is not None:
                return earlier
        draft = Draft(self.sender, event_type, content, state_key=state_key, transaction_key=key)
        return (await self._pipeline.send(room_id, draft)).event_id

    async def check_event(self, event: EventToCheck) -> None:
        """The hook: whoever is spoken to stays. Raises CannotLeaveServerNoticeRoom."""
        if event.type != MEMBER or event.sender != event.state_key or event.content.get("membership") != "leave":
            return
        if event.room_id in self._released:
            return
        if (await self._rooms_by_id()).get(event.room_id) == event.sender and await self._accounts.exists(event.sender):
            raise CannotLeaveServerNoticeRoom("You cannot leave the room in which the server speaks to you.")

    async def check_registration(self, wish: RegistrationToCheck) -> None:
        """The hook: nobody else gets the name. Raises UserInUse."""
        if wish.username == self._settings.localpart:
            raise UserInUse("This user name is taken.")

    def release(self, room_id: str) -> None:
        """The room is being closed: its user may leave."""
        self._released.add(room_id)

    def forget_all(self) -> None:
        """Another process may have made rooms."""
        self._known = None

    async def _room_of(self, user_id: str) -> str:
        """The user's room with the server, in which the user is at least invited."""
        async with self._lock:
            for room_id, reader in (await self._rooms_by_id()).items():
                is_open = reader == user_id and room_id not in self._released
                room = await self._rooms.find(room_id) if is_open else None
                if room is not None:
                    if room.membership(user_id) not in ("join", "invite"):
                        await self._memberships.invite(self.sender, room_id, user_id)
                    return room_id
            return await self._make_room(user_id)

    async def _make_room(self, user_id: str) -> str:
        await self._ensure_account()
        room_id = await self._creation.create(
            self.sender,
            RoomRequest(
                name=self._settings.room_name,
                preset="private_chat",
                invite=[user_id],
                creation_content={"m.federate": False},
                power_level_content_override={"users_default": -10, "invite": 50},
            ),
        )

        async def keep(txn: Transaction) -> None:
            await self._store.set_room(txn, user_id, room_id)
            if self._known is not None:
                known = self._known
                txn.on_commit(lambda: known.update({room_id: user_id}))

        await self._db.write(keep)
        await self._tags.set_tag(Requester(user_id), user_id, room_id, TAG, {})
        return room_id

    async def _ensure_account(self) -> None:
        """Make the account that speaks. Somebody who could log in to it would speak for the server."""
        account = await self._accounts.find_account(self.sender)
        if account is None:
            await self._accounts.create_account(self.sender, display_name=self._settings.display_name)
            if self._settings.avatar_url:
                own = Requester(self.sender)
                await self._profiles.set_field(own, self.sender, "avatar_url", self._settings.avatar_url)
        elif account.password_hash is not None or account.is_guest or account.is_deactivated:
            raise Forbidden(
                f"{self.sender} is somebody's own account: set server_notices.localpart to a name that nobody has."
            )

    async def _rooms_by_id(self) -> dict[str, str]:
        if self._known is None:
            found = await self._store.list_rooms()
            if self._known is None:
                self._known = found
        return self._known
