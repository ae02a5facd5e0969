"""The authorisation rules: may this event be in the room, given this state? One table per room version.

`check_authorized` judges an event by a state, whatever state the caller means (that before the event, the current one,
the one that state resolution has reached, the event's own auth events). `check_auth_events` judges the event's list of
auth events itself. Both raise `NotAuthorized` and nothing else, whatever events contain, as long as they have passed
`event_format`. Spec: "Authorisation rules" of each room version; Server-Server API, "Checks performed on receipt of a
PDU".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from homeserver.protocol.authorization_facts import CREATE, JOIN_RULES, POWER_LEVELS, Facts, NotAuthorized
from homeserver.protocol.authorization_rules import rules_of
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId, domain_of
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion

__all__ = ["NotAuthorized", "auth_keys", "auth_keys_of", "check_auth_events", "check_authorized", "may_redact"]


_TABLES = {identifier: rules_of(version) for identifier, version in ROOM_VERSIONS.items()}


def check_authorized(event: Event, state: Mapping[StateKey, Event]) -> None:
    """Check an event by the rules of its room version, against a state. Raises NotAuthorized.

    `state` needs no more than the entries `auth_keys_of(event)` and, in every room version, the create event.
    """
    _TABLES[event.room_version.identifier](Facts(event, state))


def check_auth_events(
    event: Event, auth_events: Mapping[EventId, Event], rejected: Callable[[EventId], bool]
) -> dict[StateKey, Event]:
    """Check the list of auth events that an event names, and return the state they make, for `check_authorized`.

    `auth_events`: the events the list names, by id; since v12 also the create event, which the room id names.
    `rejected`: whether the event of this id was itself rejected. Raises NotAuthorized.
    """
    version = event.room_version
    if event.type == "m.room.create":
        return {}
    state: dict[StateKey, Event] = {}
    # Since v12: If the event's `room_id` is not an event ID for an accepted (not rejected) `m.room.create` event,
    # with the sigil `!` instead of `$`, reject.
    number = "2"
    if version.room_id_is_create_hash:
        create = auth_events.get(EventId("$" + event.room_id[1:]))
        if create is None or create.type != "m.room.create" or not create.is_state or rejected(create.event_id):
            raise NotAuthorized("2", "The room id does not name an accepted create event")
        state[create.key] = create
        number = "3"
    allowed = set(auth_keys_of(event))
    listed: set[StateKey] = set()
    for event_id in event.auth_events:
        auth_event = auth_events.get(event_id)
        if auth_event is None:
            raise NotAuthorized(f"{number}.3", f"The auth event {event_id} is not known")
        key = auth_event.key if auth_event.is_state else None
        # If there are duplicate entries for a given `type` and `state_key` pair, reject.
        if key in listed:
            raise NotAuthorized(f"{number}.1", "Two auth events are about the same entry of the state")
        # If there are entries whose `type` and `state_key` don't match those specified by the auth events selection
        # algorithm described in the server specification, reject.
        if key is None or key not in allowed:
            raise NotAuthorized(f"{number}.2", f"The auth event {event_id} is not one that this event needs")
        # If there are entries which were themselves rejected under the checks performed on receipt of a PDU, reject.
        if rejected(event_id):
            raise NotAuthorized(f"{number}.3", f"The auth event {event_id} was itself rejected")
        # If any event in `auth_events` has a `room_id` which does not match that of the event being authorised, reject.
        if auth_event.room_id != event.room_id:
            raise NotAuthorized(f"{number}.5", f"The auth event {event_id} is of another room")
        listed.add(key)
        state[key] = auth_event
    # If there is no `m.room.create` event among the entries, reject. (until v11)
    if CREATE not in state:
        raise NotAuthorized(f"{number}.4", "The create event is not among the auth events")
    return state


def auth_keys_of(event: Event) -> list[StateKey]:
    """`auth_keys` of an event that is there already."""
    return auth_keys(event.type, event.sender, event.state_key, event.content, event.room_version)


def auth_keys(
    event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any], version: RoomVersion
) -> list[StateKey]:
    """The entries of the state that belong into `auth_events`, as far as the state has them. No duplicates.

    Spec: Server-Server API, "Auth events selection". The comments are its sentences.
    """
    # The `auth_events` for the `m.room.create` event in a room is empty
    if event_type == "m.room.create":
        return []
    # Depending on the room version, the `m.room.create` event.
    keys = [CREATE] if version.create_in_auth_events else []
    # The current `m.room.power_levels` event, if any. The sender's current `m.room.member` event, if any.
    keys += [POWER_LEVELS, ("m.room.member", sender)]
    # If type is `m.room.member`:
    if event_type != "m.room.member" or state_key is None:
        return keys
    membership = content.get("membership")
    # The target's current `m.room.member` event, if any.
    if state_key != sender:
        keys.append(("m.room.member", state_key))
    # If `membership` is `join`, `invite` or `knock`, the current `m.room.join_rules` event, if any.
    if membership in ("join", "invite", "knock"):
        keys.append(JOIN_RULES)
    # If membership is `invite` and `content` contains a `third_party_invite` property, the current
    # `m.room.third_party_invite` event with `state_key` matching `content.third_party_invite.signed.token`, if any.
    if membership == "invite":
        invite = content.get("third_party_invite")
        signed = invite.get("signed") if isinstance(invite, dict) else None
        token = signed.get("token") if isinstance(signed, dict) else None
        if isinstance(token, str):
            keys.append(("m.room.third_party_invite", token))
    # If `membership` is `join`, `content.join_authorised_via_users_server` is present, and the room version supports
    # restricted rooms, then the `m.room.member` event with `state_key` matching it.
    if membership == "join" and version.restricted:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str) and ("m.room.member", authoriser) not in keys:
            keys.append(("m.room.member", authoriser))
    return keys


def may_redact(redaction: Event, target: Event, levels: PowerLevels) -> bool:
    """Whether a redaction that the rules have accepted takes effect on its target. `levels`: those at the redaction.

    "The server applies the redaction if one of the following conditions is met: 1. The power level of the redaction
    event's `sender` is greater than or equal to the redact level. 2. The domain of the redaction event's `sender`
    matches that of the original event's `sender`." (v3; in v1 and v2 rule 11 has asked the same of the event ids
    already.)

    Never across rooms, and never the create event: without its content an old room would fall back to version 1 (A09).
    """
    if redaction.type != "m.room.redaction" or redaction.redacts != target.event_id:
        return False
    if redaction.room_id != target.room_id or target.type == "m.room.create":
        return False
    if levels.of(redaction.sender) >= levels.redact:
        return True
    if redaction.room_version.authorizes_redactions:
        return domain_of(redaction.event_id) == domain_of(target.event_id)
    return domain_of(redaction.sender) == domain_of(target.sender)
