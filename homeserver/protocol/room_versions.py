"""The twelve room versions: each is the one before, except for what its paragraph here says.

Spec: https://spec.matrix.org/latest/rooms/ and the page of each version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from homeserver.protocol.errors import UnsupportedRoomVersion


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """What a redacted event keeps.

    `event_keys`: top-level keys. `content_keys`: by event type, the keys of `content`; None keeps the whole content.
    `keeps_signed_third_party_invite`: of `m.room.member`, also `third_party_invite.signed`.
    """

    event_keys: frozenset[str]
    content_keys: Mapping[str, frozenset[str] | None]
    keeps_signed_third_party_invite: bool = False

    def keeping(self, event_type: str, *keys: str) -> RedactionRules:
        """The same, but events of this type keep these keys of their content and no others."""
        return replace(self, content_keys=MappingProxyType({**self.content_keys, event_type: frozenset(keys)}))

    def keeping_all(self, event_type: str) -> RedactionRules:
        """The same, but events of this type keep their whole content."""
        return replace(self, content_keys=MappingProxyType({**self.content_keys, event_type: None}))

    def stripping(self, event_type: str) -> RedactionRules:
        """The same, but events of this type lose their whole content."""
        left = {type_: keys for type_, keys in self.content_keys.items() if type_ != event_type}
        return replace(self, content_keys=MappingProxyType(left))


_POWER_LEVEL_KEYS = ("ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default")

_REDACTION_V1 = RedactionRules(
    event_keys=frozenset(
        {
            "event_id",
            "type",
            "room_id",
            "sender",
            "state_key",
            "content",
            "hashes",
            "signatures",
            "depth",
            "prev_events",
            "prev_state",
            "auth_events",
            "origin",
            "origin_server_ts",
            "membership",
        }
    ),
    content_keys=MappingProxyType(
        {
            "m.room.member": frozenset({"membership"}),
            "m.room.create": frozenset({"creator"}),
            "m.room.join_rules": frozenset({"join_rule"}),
            "m.room.power_levels": frozenset(_POWER_LEVEL_KEYS),
            "m.room.aliases": frozenset({"aliases"}),
            "m.room.history_visibility": frozenset({"history_visibility"}),
        }
    ),
)


# Compared by identity: there is one object a version, and hashing twenty flags would cost more than what they decide.
@dataclass(frozen=True, slots=True, eq=False)
class RoomVersion:
    """What one room version does differently from others."""

    identifier: str
    # "explicit": the event says its id; "base64", "urlsafe": the id is the reference hash, in that alphabet.
    event_id_format: Literal["explicit", "base64", "urlsafe"]
    state_resolution: Literal["v1", "v2", "v2.1"]
    redaction: RedactionRules
    # Rule 4 of v1 to v5: m.room.aliases is allowed by the domain of its state key.
    aliases_by_domain: bool
    # Rule 11 of v1 and v2: whether a redaction may take effect is asked before it is accepted; later, when applied.
    authorizes_redactions: bool
    # Events are valid only while `valid_until_ts` of the key that signed them is not past.
    enforces_key_validity: bool
    # Floats, and integers beyond 2^53-1, make an event invalid.
    strict_canonical_json: bool
    # m.room.power_levels: changes of `notifications` are checked as those of `events` are.
    checks_notification_levels: bool
    knock: bool
    restricted: bool
    knock_restricted: bool
    # Power levels must be JSON integers; before, also strings of digits (and, before v6, floats).
    integer_power_levels: bool
    # m.room.redaction names its target in `content.redacts`; before, at the top level.
    redacts_in_content: bool
    # The creator of a room is the sender of m.room.create; before, `content.creator`.
    creator_is_sender: bool
    # The room id is the id of m.room.create with the sigil `!`, and m.room.create says no room id.
    room_id_is_create_hash: bool
    # Creators (sender and `additional_creators`) have infinite power.
    privileged_creators: bool
    # m.room.create is selected into `auth_events`; since v12 the room id implies it.
    create_in_auth_events: bool

    @property
    def has_event_ids_in_pdus(self) -> bool:
        """Whether PDUs say `event_id`, and name other events as pairs of id and hashes (v1 and v2)."""
        return self.event_id_format == "explicit"

    def __repr__(self) -> str:
        return f"RoomVersion({self.identifier!r})"


V1: Final = RoomVersion(
    identifier="1",
    event_id_format="explicit",
    state_resolution="v1",
    redaction=_REDACTION_V1,
    aliases_by_domain=True,
    authorizes_redactions=True,
    enforces_key_validity=False,
    strict_canonical_json=False,
    checks_notification_levels=False,
    knock=False,
    restricted=False,
    knock_restricted=False,
    integer_power_levels=False,
    redacts_in_content=False,
    creator_is_sender=False,
    room_id_is_create_hash=False,
    privileged_creators=False,
    create_in_auth_events=True,
)
# "This room version builds on version 1 with an improved state resolution algorithm."
V2: Final = replace(V1, identifier="2", state_resolution="v2")
# "The event ID is the reference hash of the event encoded using Unpadded Base64." Redactions are judged when applied.
V3: Final = replace(V2, identifier="3", event_id_format="base64", authorizes_redactions=False)
# "... using URL-safe base64 to generate the event ID."
V4: Final = replace(V3, identifier="4", event_id_format="urlsafe")
# "... while enforcing signing key validity periods for events."
V5: Final = replace(V4, identifier="5", enforces_key_validity=True)
# "Rule 4, which related specifically to events of type m.room.aliases, is removed"; redaction forgets aliases; the
# rules for power levels "now include a notifications property"; "Servers MUST strictly enforce the JSON format
# specified in the appendices."
V6: Final = replace(
    V5,
    identifier="6",
    aliases_by_domain=False,
    redaction=V5.redaction.stripping("m.room.aliases"),
    checks_notification_levels=True,
    strict_canonical_json=True,
)
# "... to introduce knocking as a possible join rule and membership state."
V7: Final = replace(V6, identifier="7", knock=True)
# "... a new join rule that allows members to join the room based on membership in another room"; redaction keeps it.
V8: Final = replace(
    V7, identifier="8", restricted=True, redaction=V7.redaction.keeping("m.room.join_rules", "join_rule", "allow")
)
# "m.room.member events now keep join_authorised_via_users_server in addition to other keys in content when being
# redacted."
V9: Final = replace(
    V8,
    identifier="9",
    redaction=V8.redaction.keeping("m.room.member", "membership", "join_authorised_via_users_server"),
)
# "... to enforce that power level values be integers, and to introduce a new knock_restricted join rule."
V10: Final = replace(V9, identifier="10", integer_power_levels=True, knock_restricted=True)
# "The top-level origin, membership, and prev_state properties are no longer protected from redaction. The
# m.room.create event now keeps the entire content property. The m.room.redaction event keeps the redacts property under
# content. The m.room.power_levels event keeps the invite property under content." The creator is the sender, and
# `redacts` moves into content.
V11: Final = replace(
    V10,
    identifier="11",
    redacts_in_content=True,
    creator_is_sender=True,
    redaction=replace(
        V10.redaction.keeping_all("m.room.create")
        .keeping("m.room.redaction", "redacts")
        .keeping("m.room.power_levels", *_POWER_LEVEL_KEYS, "invite"),
        event_keys=V10.redaction.event_keys - {"origin", "membership", "prev_state"},
        keeps_signed_third_party_invite=True,
    ),
)
# "... iterating on the state resolution algorithm, giving room creators infinite power level, and changing the format
# of room IDs to be a hash of the create event."
V12: Final = replace(
    V11,
    identifier="12",
    state_resolution="v2.1",
    room_id_is_create_hash=True,
    privileged_creators=True,
    create_in_auth_events=False,
)

ROOM_VERSIONS: Final[dict[str, RoomVersion]] = {
    version.identifier: version for version in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)
}
DEFAULT_ROOM_VERSION: Final = "12"


def get_room_version(identifier: str) -> RoomVersion:
    """The room version of this name. Raises UnsupportedRoomVersion."""
    version = ROOM_VERSIONS.get(identifier)
    if version is None:
        raise UnsupportedRoomVersion(f"This server does not know room version {identifier[:40]!r}")
    return version
