"""What people who are not in a room may know of it, and who they are: for the directory, summaries and spaces (G02).

Spec: Client-Server API, "Room Summary API", "Published room directory", `GET /rooms/{roomId}/hierarchy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeserver.protocol.errors import NotFound
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.membership import Memberships
from homeserver.rooms.remote import RemoteServers

CREATE: Final = "m.room.create"
SUMMARY_TYPES: Final = (
    CREATE,
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
)
"""The state (with the key "") that a summary is made of."""


@dataclass(frozen=True, slots=True)
class RoomSummary:
    """A room from outside. Texts that nobody set are None."""

    room_id: str
    joined: int
    join_rule: str
    world_readable: bool
    guest_can_join: bool
    room_version: str
    name: str | None = None
    topic: str | None = None
    avatar_url: str | None = None
    canonical_alias: str | None = None
    room_type: str | None = None
    encryption: str | None = None
    allowed_room_ids: tuple[str, ...] = ()

    def public_room(self) -> dict[str, Any]:
        """An entry of the directory (`PublicRoomsChunk`)."""
        body: dict[str, Any] = {
            "room_id": self.room_id,
            "num_joined_members": self.joined,
            "join_rule": self.join_rule,
            "world_readable": self.world_readable,
            "guest_can_join": self.guest_can_join,
        }
        for name in ("name", "topic", "avatar_url", "canonical_alias", "room_type"):
            value = getattr(self, name)
            if value is not None:
                body[name] = value
        return body

    def room_summary(self) -> dict[str, Any]:
        """The same with what only summaries have (`RoomSummary`)."""
        body = self.public_room()
        body["room_version"] = self.room_version
        if self.encryption is not None:
            body["encryption"] = self.encryption
        if self.allowed_room_ids:
            body["allowed_room_ids"] = list(self.allowed_room_ids)
        return body


def summary_of(room: LiveRoom) -> RoomSummary:
    """The summary of a room that is in memory."""
    contents = {event_type: room.content(event_type) for event_type in SUMMARY_TYPES}
    return summary_from(room.room_id, room.version.identifier, room.joined_count, contents)


def summary_from(room_id: str, version: str, joined: int, contents: Mapping[str, Mapping[str, Any]]) -> RoomSummary:
    """The summary that a room's state makes: `contents` by event type, of the types in `SUMMARY_TYPES`."""
    rules = contents.get("m.room.join_rules", {})
    join_rule = _text(rules, "join_rule") or "invite"
    return RoomSummary(
        room_id=room_id,
        joined=joined,
        join_rule=join_rule,
        world_readable=contents.get("m.room.history_visibility", {}).get("history_visibility") == "world_readable",
        guest_can_join=contents.get("m.room.guest_access", {}).get("guest_access") == "can_join",
        room_version=version,
        name=_text(contents.get("m.room.name", {}), "name"),
        topic=_text(contents.get("m.room.topic", {}), "topic"),
        avatar_url=_text(contents.get("m.room.avatar", {}), "url"),
        canonical_alias=_text(contents.get("m.room.canonical_alias", {}), "alias"),
        room_type=_text(contents.get(CREATE, {}), "type"),
        encryption=_text(contents.get("m.room.encryption", {}), "algorithm"),
        allowed_room_ids=tuple(allowed_rooms(rules)) if join_rule in ("restricted", "knock_restricted") else (),
    )


def allowed_rooms(join_rules: Mapping[str, Any]) -> list[str]:
    """The rooms whose members a restricted room lets in."""
    allow = join_rules.get("allow")
    return [
        entry["room_id"]
        for entry in (allow if isinstance(allow, list) else ())
        if isinstance(entry, dict)
        and entry.get("type") == "m.room_membership"
        and isinstance(entry.get("room_id"), str)
        and entry["room_id"].startswith("!")
    ]


def _text(content: Mapping[str, Any], name: str) -> str | None:
    value = content.get(name)
    return value if isinstance(value, str) and value else None


class RoomSummaries:
    """Answers who may know of a room, and what."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        memberships: Memberships,
        aliases: Aliases,
        remote: RemoteServers,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._memberships = memberships
        self._aliases = aliases
        self._remote = remote
        self._server_name = server_name

    async def may_know(self, room: LiveRoom, user_id: str | None) -> bool:
        """Whether somebody (None: anybody) may know of a room that they are perhaps not in.

        The one condition for summaries and spaces alike: members, those who may join, are invited or may knock, and
        everybody where the room is world readable. Who is banned may not join.
        """
        if room.history_visibility == "world_readable":
            return True
        membership = "leave" if user_id is None else room.membership(user_id)
        if membership in ("join", "invite"):
            return True
        if membership == "ban":
            return False
        rule, version = room.join_rule, room.version
        if (
            rule == "public"
            or (rule == "knock" and version.knock)
            or (rule == "knock_restricted" and version.knock_restricted)
        ):
            return True
        return (
            user_id is not None
            and rule == "restricted"
            and version.restricted
            and await self._memberships.may_join_restricted(room, user_id)
        )

    async def may_know_remote(self, summary: Mapping[str, Any], user_id: str) -> bool:
        """The same of a room that only other servers know, by what they tell of it.

        They told this server what some of its users may know; who of them may is for this server to say.
        """
        if summary["world_readable"]:
            return True
        membership = await self._memberships.membership_in(user_id, summary["room_id"])
        if membership in ("join", "invite"):
            return True
        if membership == "ban":
            return False
        if summary["join_rule"] in ("public", "knock", "knock_restricted"):
            return True
        for allowed in summary.get("allowed_room_ids", ()):
            room = await self._rooms.find(allowed)
            if room is not None and room.membership(user_id) == "join":
                return True
        return False

    def is_here(self, room: LiveRoom | None) -> bool:
        """Whether this server takes part in a room, so that it knows of it what is true."""
        return room is not None and self._server_name in room.servers

    async def get(self, user_id: str | None, room_id_or_alias: str, via: Sequence[str] = ()) -> dict[str, Any]:
        """A room's summary. NotFound alike for rooms that do not exist and those that one may not know of (G12).

        `via`: servers that are asked where this one is not in the room; for those who are logged in, since anybody
        could have us ask anybody else.
        """
        room_id: str | None = room_id_or_alias
        if room_id_or_alias.startswith("#"):
            is_ours = room_id_or_alias.endswith(f":{self._server_name}")
            found = await self._aliases.find(room_id_or_alias) if is_ours or user_id is not None else None
            room_id, via = (None, via) if found is None else (found[0], [*via, *found[1]])
        room = None if room_id is None else await self._rooms.find(room_id)
        body: dict[str, Any] | None = None
        if room_id is not None and user_id is not None and not self.is_here(room):
            told = await self._remote.describe_room(user_id, room_id, via, suggested_only=True)
            if told is not None and await self.may_know_remote(told.summary, user_id):
                body = {**told.summary}
        if body is None and room is not None and await self.may_know(room, user_id):
            body = summary_of(room).room_summary()
        if body is None or room_id is None:
            raise NotFound("The room was not found, or you may not know of it")
        if user_id is not None:
            body["membership"] = await self._memberships.membership_in(user_id, room_id)
        return body
