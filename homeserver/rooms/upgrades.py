"""Replacing a room by one of another version. Spec: Client-Server API, "Room Upgrades", "Server behaviour"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeserver.protocol.errors import Forbidden, InvalidParam, MatrixError, NotInRoom
from homeserver.protocol.identifiers import is_user_id
from homeserver.protocol.room_versions import RoomVersion, get_room_version
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.membership import Memberships, ProfileOf
from homeserver.rooms.pipeline import Draft, Pipeline
from homeserver.storage.aliases import AliasStore
from homeserver.storage.database import Database, Transaction

TOMBSTONE: Final = "m.room.tombstone"
POWER_LEVELS: Final = "m.room.power_levels"
COPIED: Final = (
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
)
"""The state that the spec recommends to transfer, power levels excepted, which come last."""
MAX_BANS: Final = 5_000


class Upgrades:
    """Upgrades rooms for local users."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        pipeline: Pipeline,
        memberships: Memberships,
        aliases: AliasStore,
        profile_of: ProfileOf,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._pipeline = pipeline
        self._memberships = memberships
        self._aliases = aliases
        self._profile_of = profile_of

    async def upgrade(
        self, user_id: str, room_id: str, new_version: str, additional_creators: Sequence[str] = ()
    ) -> str:
        """Replace a room; returns the id of the new one. Raises Forbidden, InvalidParam, UnsupportedRoomVersion."""
        version = get_room_version(new_version)
        for creator in additional_creators:
            if not is_user_id(creator):
                raise InvalidParam(f"additional_creators: {creator[:80]!r} is not a user id")
        room = await self._rooms.find(room_id)
        if room is None or room.membership(user_id) != "join":
            raise NotInRoom()
        levels = room.power_levels
        if levels.of(user_id) < levels.needed_for(TOMBSTONE, is_state=True):
            raise Forbidden("You may not upgrade this room")
        if room.partial is not None:  # who is banned is copied
            room = await self._rooms.whole(room_id)
        create = _create_content(room, version, user_id, additional_creators)
        creators = {user_id, *(additional_creators if version.privileged_creators else ())}
        drafts = [
            Draft(user_id, MEMBER, {**await self._profile_of(user_id), "membership": "join"}, state_key=user_id),
            *await self._copied(room, version, user_id),
            Draft(user_id, POWER_LEVELS, _power_levels(room, version, user_id, creators), state_key=""),
        ]
        new_room_id = await self._pipeline.create(
            version, Draft(user_id, "m.room.create", create, state_key=""), lambda _: drafts
        )
        tombstone = {"body": "This room has been replaced", "replacement_room": new_room_id}
        await self._pipeline.send(room_id, Draft(user_id, TOMBSTONE, tombstone, state_key=""))
        await self._move_names(room, user_id, new_room_id)
        await self._close(room, user_id)
        await self._memberships.tell_joined(user_id, new_room_id)
        return new_room_id

    async def _copied(self, room: LiveRoom, version: RoomVersion, user_id: str) -> list[Draft]:
        drafts: list[Draft] = []
        for event_type in COPIED:
            content = dict(room.content(event_type))
            if event_type == "m.room.join_rules":
                content = _join_rules(content, version)
            if content:
                drafts.append(Draft(user_id, event_type, content, state_key=""))
        if room.content("m.room.create").get("type") == "m.space":
            drafts += [
                Draft(user_id, event_type, stored.event.content, state_key=state_key)
                for (event_type, state_key), stored in room.pinned.items()
                if event_type == "m.space.child" and stored.event.content.get("via")
            ]
        banned = [member for member, membership in room.members.items() if membership == "ban"][:MAX_BANS]
        for member, stored in (await self._rooms.load_member_events(room, banned)).items():
            reason = stored.event.content.get("reason")
            ban = {"membership": "ban", **({"reason": reason} if isinstance(reason, str) else {})}
            drafts.append(Draft(user_id, MEMBER, ban, state_key=member))
        return drafts

    async def _move_names(self, room: LiveRoom, user_id: str, new_room_id: str) -> None:
        """Local aliases and the place in the directory. Both rooms are ours and the tombstone is sent (B16)."""
        listed = await self._aliases.is_published(room.room_id)

        async def job(txn: Transaction) -> None:
            await self._aliases.move_aliases(txn, room.room_id, new_room_id)
            if listed:
                await self._aliases.set_published(txn, room.room_id, published=False)
                await self._aliases.set_published(txn, new_room_id, published=True)

        canonical = room.content("m.room.canonical_alias")
        await self._db.write(job)
        if canonical:
            await self._try(new_room_id, Draft(user_id, "m.room.canonical_alias", canonical, state_key=""))
            await self._try(room.room_id, Draft(user_id, "m.room.canonical_alias", {}, state_key=""))

    async def _close(self, room: LiveRoom, user_id: str) -> None:
        """ "If possible, the power levels in the old room should also be modified to prevent sending of events and
        inviting new users." """
        content = dict(room.content(POWER_LEVELS))
        default = _level(content.get("users_default"), 0)
        quiet = max(50, default + 1)
        content["events_default"] = max(quiet, _level(content.get("events_default"), 0))
        content["invite"] = max(quiet, _level(content.get("invite"), 0))
        await self._try(room.room_id, Draft(user_id, POWER_LEVELS, content, state_key=""))

    async def _try(self, room_id: str, draft: Draft) -> None:
        try:
            await self._pipeline.send(room_id, draft)
        except MatrixError:
            return  # the room is replaced all the same


def _create_content(
    room: LiveRoom, version: RoomVersion, user_id: str, additional_creators: Sequence[str]
) -> dict[str, Any]:
    old = room.content("m.room.create")
    predecessor: dict[str, Any] = {"room_id": room.room_id}
    if room.extremities:
        predecessor["event_id"] = room.extremities[0].event_id
    content: dict[str, Any] = {"room_version": version.identifier, "predecessor": predecessor}
    for name in ("type", "m.federate"):
        if name in old:
            content[name] = old[name]
    if not version.creator_is_sender:
        content["creator"] = user_id
    others = [creator for creator in dict.fromkeys(additional_creators) if creator != user_id]
    if version.privileged_creators and others:
        content["additional_creators"] = others
    return content


def _join_rules(content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """The old room's join rules, or "invite" where the new version does not know them."""
    rule = content.get("join_rule")
    known = (
        rule in ("public", "invite", "private")
        or (rule == "knock" and version.knock)
        or (rule == "restricted" and version.restricted)
        or (rule == "knock_restricted" and version.knock_restricted)
    )
    return content if known else {"join_rule": "invite"}


def _power_levels(room: LiveRoom, version: RoomVersion, user_id: str, creators: set[str]) -> dict[str, Any]:
    """The old room's levels, as integers; whoever upgrades can do in the new room what they could in the old."""
    old = room.content(POWER_LEVELS)
    content: dict[str, Any] = {}
    for name, value in old.items():
        if name in ("users", "events", "notifications"):
            if isinstance(value, Mapping):
                content[name] = {key: _level(level, 0) for key, level in value.items()}
        elif isinstance(value, int | str) and not isinstance(value, bool):
            content[name] = _level(value, 0)
    users = dict(content.get("users", {}))
    if version.privileged_creators:
        # "users in power_levels must not list creators."
        content["users"] = {name: level for name, level in users.items() if name not in creators}
        if not room.version.privileged_creators:
            events = dict(content.get("events", {}))
            events[TOMBSTONE] = max(150, events.get(TOMBSTONE, 0))
            content["events"] = events
    else:
        content["users"] = users | {user_id: max(100, users.get(user_id, 0))}
    return content


def _level(value: Any, default: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return int(value)
    return default
