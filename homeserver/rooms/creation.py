"""Making rooms: presets, initial state, invites, upgrades' replacements; one commit for the whole room.

Spec: Client-Server API, "Creation" (`POST /createRoom`), and its order of events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from homeserver.protocol.authorization import NotAuthorized
from homeserver.protocol.errors import AliasTaken, BadState, Forbidden, InvalidParam, InvalidRoomState, RoomInUse
from homeserver.protocol.identifiers import is_user_id
from homeserver.protocol.room_versions import RoomVersion, get_room_version
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.live_room import MEMBER
from homeserver.rooms.membership import Memberships, ProfileOf
from homeserver.rooms.pipeline import Draft, Pipeline

Preset = Literal["private_chat", "trusted_private_chat", "public_chat"]

_PRESETS: Final[Mapping[str, tuple[str, str, str]]] = {
    # preset: join rule, history visibility, guest access
    "private_chat": ("invite", "shared", "can_join"),
    "trusted_private_chat": ("invite", "shared", "can_join"),
    "public_chat": ("public", "shared", "forbidden"),
}


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """What a new room shall be; every field is optional, as in the body of `POST /createRoom`."""

    visibility: Literal["public", "private"] = "private"
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: Sequence[str] = ()
    room_version: str | None = None
    creation_content: Mapping[str, Any] = field(default_factory=dict)
    initial_state: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    preset: Preset | None = None
    is_direct: bool = False
    power_level_content_override: Mapping[str, Any] = field(default_factory=dict)


class RoomCreation:
    """Creates rooms for local users."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        aliases: Aliases,
        memberships: Memberships,
        profile_of: ProfileOf,
        server_name: str,
        default_version: str,
        max_invites: int = 100,
    ) -> None:
        self._pipeline = pipeline
        self._aliases = aliases
        self._memberships = memberships
        self._profile_of = profile_of
        self._server_name = server_name
        self._default_version = default_version
        self._max_invites = max_invites

    async def create(self, creator: str, request: RoomRequest) -> str:
        """Make the room; returns its id. Raises the errors of `POST /createRoom`."""
        version = get_room_version(request.room_version or self._default_version)
        invites = self._invites(creator, request)
        for user_id in invites:
            await self._memberships.check_invite(creator, "", user_id)  # so that no room is made that lacks somebody
        alias = None
        if request.room_alias_name is not None:
            alias = self._aliases.new_alias(request.room_alias_name)
            await self._aliases.check_may_create(creator, alias)
            if await self._aliases.find(alias) is not None:
                raise RoomInUse(f"The alias {alias} is taken")
        profile = dict(await self._profile_of(creator))
        create = _create_content(version, creator, request)
        drafts = _drafts(version, creator, request, profile, invites, alias)

        try:
            room_id = await self._pipeline.create(
                version, Draft(creator, "m.room.create", create, state_key=""), lambda _: drafts
            )
        except NotAuthorized as error:
            # "The initial state implied by the parameters to the request is invalid."
            raise InvalidRoomState(error.message) from error
        if alias is not None:
            try:
                await self._aliases.add(creator, alias, room_id, [self._server_name])
            except AliasTaken as error:
                raise RoomInUse(error.message) from error
        if request.visibility == "public":
            await self._aliases.set_published(room_id, published=True)
        for user_id in invites:
            await self._memberships.invite(
                creator, room_id, user_id, extra={"is_direct": True} if request.is_direct else None
            )
        return room_id

    def _invites(self, creator: str, request: RoomRequest) -> list[str]:
        invites = list(dict.fromkeys(request.invite))
        if len(invites) > self._max_invites:
            raise InvalidParam(f"At most {self._max_invites} people can be invited at once")
        for user_id in invites:
            if not is_user_id(user_id):
                raise InvalidParam(f"invite: {user_id[:80]!r} is not a user id")
        if creator in invites:
            raise Forbidden("You cannot invite yourself")
        return invites


def _create_content(version: RoomVersion, creator: str, request: RoomRequest) -> dict[str, Any]:
    content = {key: value for key, value in request.creation_content.items() if key != "creator"}
    content["room_version"] = version.identifier
    if not version.creator_is_sender:
        content["creator"] = creator
    if version.privileged_creators:
        additional = content.get("additional_creators", [])
        if not isinstance(additional, list) or not all(isinstance(one, str) and is_user_id(one) for one in additional):
            raise InvalidParam("creation_content.additional_creators must be a list of user ids")
        if request.preset == "trusted_private_chat":
            # "In room versions which support additional_creators, the invitees are added to it."
            additional = list(dict.fromkeys([*additional, *request.invite]))
        if additional:
            content["additional_creators"] = additional
    return content


def _power_levels(version: RoomVersion, creator: str, request: RoomRequest, preset: str) -> dict[str, Any]:
    users: dict[str, int] = {} if version.privileged_creators else {creator: 100}
    if preset == "trusted_private_chat" and not version.privileged_creators:
        users |= dict.fromkeys(request.invite, 100)
    content: dict[str, Any] = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50,
            "m.room.avatar": 50,
            "m.room.tombstone": 150 if version.privileged_creators else 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if preset == "public_chat" else 0,
        "historical": 100,
    }
    content.update(request.power_level_content_override)
    if version.privileged_creators:
        creators = {creator, *request.creation_content.get("additional_creators", ())}
        named = content.get("users")
        if isinstance(named, dict) and creators & named.keys():
            raise InvalidRoomState("In room version 12 and later, creators must not be listed in power levels")
    return content


def _drafts(
    version: RoomVersion,
    creator: str,
    request: RoomRequest,
    profile: Mapping[str, Any],
    invites: Sequence[str],
    alias: str | None,
) -> list[Draft]:
    """The events after m.room.create, in the spec's order. What comes later overrides what came before."""
    preset = request.preset or ("public_chat" if request.visibility == "public" else "private_chat")
    join_rule, visibility, guest_access = _PRESETS[preset]
    given = {(event_type, state_key) for event_type, state_key, _ in request.initial_state}

    def state(event_type: str, content: Mapping[str, Any], state_key: str = "") -> Draft:
        return Draft(creator, event_type, content, state_key=state_key)

    drafts = [
        Draft(creator, MEMBER, {**profile, "membership": "join"}, state_key=creator),
        state("m.room.power_levels", _power_levels(version, creator, request, preset)),
    ]
    if alias is not None and ("m.room.canonical_alias", "") not in given:
        drafts.append(state("m.room.canonical_alias", {"alias": alias}))
    for event_type, content in (
        ("m.room.join_rules", {"join_rule": join_rule}),
        ("m.room.history_visibility", {"history_visibility": visibility}),
        ("m.room.guest_access", {"guest_access": guest_access}),
    ):
        if (event_type, "") not in given and not (guest_access == "forbidden" and event_type == "m.room.guest_access"):
            drafts.append(state(event_type, content))
    for event_type, state_key, initial in request.initial_state:
        if event_type in ("m.room.create", MEMBER):
            raise BadState(f"initial_state must not hold {event_type}")
        drafts.append(state(event_type, initial, state_key))
    if request.name:
        drafts.append(state("m.room.name", {"name": request.name}))
    if request.topic:
        topic = {"topic": request.topic, "m.topic": {"m.text": [{"body": request.topic, "mimetype": "text/plain"}]}}
        drafts.append(state("m.room.topic", topic))
    return drafts
