"""The rules of authorisation but those of m.room.member and m.room.power_levels, and the table of each room version.

Each function is a numbered rule, its comment the specification's sentence; `rules_of` puts them in the order, and so
under the numbers, of a room version.
"""

from __future__ import annotations

from homeserver.protocol.authorization_facts import (
    CREATE,
    Facts,
    Group,
    Rule,
    no_rule,
    otherwise_allow,
    otherwise_reject,
    reject,
)
from homeserver.protocol.authorization_membership import member_rules
from homeserver.protocol.authorization_power_levels import power_levels_rules
from homeserver.protocol.identifiers import domain_of, is_user_id
from homeserver.protocol.room_versions import RoomVersion


def _is_create_event(facts: Facts) -> bool:
    return facts.event.type == "m.room.create"


def create_is_first(facts: Facts) -> bool:
    # If it has any `prev_events`, reject.
    if facts.event.prev_events:
        raise reject("The create event must be the first event of its room")
    return False


def create_is_of_rooms_domain(facts: Facts) -> bool:
    # If the domain of the `room_id` does not match the domain of the `sender`, reject.
    if domain_of(facts.event.room_id) != domain_of(facts.sender):
        raise reject("The creator of a room must be of the domain in the room id")
    return False


def create_has_no_room_id(facts: Facts) -> bool:
    # If the event has a `room_id`, reject. (v12)
    if "room_id" in facts.event.pdu:
        raise reject("A create event must not name a room id: it is made of the hash of the event")
    return False


def room_version_is_known(facts: Facts) -> bool:
    # If `content.room_version` is present and is not a recognised version, reject.
    # Neither may it be another version than the one whose rules are being applied (A14).
    if facts.event.content.get("room_version", "1") != facts.version.identifier:
        raise reject(f"The create event is not of room version {facts.version.identifier}")
    return False


def create_has_creator(facts: Facts) -> bool:
    # If `content` has no `creator` property, reject. (until v10)
    if "creator" not in facts.event.content:
        raise reject("The create event must name the creator")
    return False


def additional_creators_are_users(facts: Facts) -> bool:
    # If `additional_creators` is present in `content` and is not an array of strings where each string passes the same
    # user ID validation applied to `sender`, reject. (v12)
    if "additional_creators" not in facts.event.content:
        return False
    users = facts.event.content["additional_creators"]
    if not isinstance(users, list) or not all(isinstance(user, str) and is_user_id(user) for user in users):
        raise reject("The additional creators must be a list of user ids")
    return False


def room_is_named_by_create(facts: Facts) -> bool:
    # If the event's `room_id` is not an event ID for an accepted (not rejected) `m.room.create` event, with the sigil
    # `!` instead of `$`, reject. (v12)
    create = facts.state.get(CREATE)
    if create is None or create.event_id[1:] != facts.event.room_id[1:]:
        raise reject("The room id does not name the create event of the room")
    return False


def create_is_there(facts: Facts) -> bool:
    # If there is no `m.room.create` event among the entries, reject.
    if CREATE not in facts.state:
        raise reject("The room has no create event")
    return False


def create_is_of_this_room(facts: Facts) -> bool:
    # If any event in `auth_events` has a `room_id` which does not match that of the event being authorised, reject.
    if facts.state[CREATE].room_id != facts.event.room_id:
        raise reject("The create event is of another room")
    return False


def room_is_federated(facts: Facts) -> bool:
    # If the `content` of the `m.room.create` event in the room state has the property `m.federate` set to `false`,
    # and the `sender` domain of the event does not match the `sender` domain of the create event, reject.
    create = facts.create
    if create.content.get("m.federate") is False and domain_of(facts.sender) != domain_of(create.sender):
        raise reject("This room is not open to users of other servers")
    return False


def _is_aliases_event(facts: Facts) -> bool:
    return facts.event.type == "m.room.aliases"


def aliases_have_state_key(facts: Facts) -> bool:
    # If event has no `state_key`, reject.
    if facts.event.state_key is None:
        raise reject("m.room.aliases must have a state key")
    return False


def aliases_are_of_own_domain(facts: Facts) -> bool:
    # If sender's domain doesn't match `state_key`, reject.
    if domain_of(facts.sender) != facts.event.state_key:
        raise reject("You can only set aliases of your own server")
    return False


def sender_is_joined(facts: Facts) -> bool:
    # If the `sender`'s current membership state is not `join`, reject.
    if facts.membership_of(facts.sender) != "join":
        raise reject("You are not in this room")
    return False


def _is_third_party_invite(facts: Facts) -> bool:
    return facts.event.type == "m.room.third_party_invite"


def third_party_inviter_has_power(facts: Facts) -> bool:
    # Allow if and only if `sender`'s current power level is greater than or equal to the *invite level*.
    if facts.levels.of(facts.sender) < facts.levels.invite:
        raise reject("You do not have the power to invite users")
    return True


def sender_has_required_power(facts: Facts) -> bool:
    # If the event type's *required power level* is greater than the `sender`'s power level, reject.
    event = facts.event
    if facts.levels.needed_for(event.type, event.state_key is not None) > facts.levels.of(facts.sender):
        raise reject("You do not have the power to send this type of event")
    return False


def user_state_is_own(facts: Facts) -> bool:
    # If the event has a `state_key` that starts with an `@` and does not match the `sender`, reject.
    state_key = facts.event.state_key
    if state_key is not None and state_key[:1] == "@" and state_key != facts.sender:
        raise reject("You cannot set the state of another user")
    return False


def _is_redaction(facts: Facts) -> bool:
    return facts.event.type == "m.room.redaction"


def redactor_has_power(facts: Facts) -> bool:
    # If the `sender`'s power level is greater than or equal to the *redact level*, allow.
    return facts.levels.of(facts.sender) >= facts.levels.redact


def redacted_is_of_own_domain(facts: Facts) -> bool:
    # If the domain of the `event_id` of the event being redacted is the same as the domain of the `event_id` of the
    # `m.room.redaction`, allow.
    redacts = facts.event.redacts
    return redacts is not None and domain_of(redacts) == domain_of(facts.event.event_id)


# Considering the event's `auth_events`: what of it can be asked of a state; `check_auth_events` asks it of the list.
AUTH_EVENTS = Group(no_rule, no_rule, no_rule, create_is_there, create_is_of_this_room)


def rules_of(version: RoomVersion) -> Group:
    """The numbered list of rules of a room version."""
    create: list[Rule] = [create_is_first]
    create.append(create_has_no_room_id if version.room_id_is_create_hash else create_is_of_rooms_domain)
    create.append(room_version_is_known)
    if not version.creator_is_sender:
        create.append(create_has_creator)
    if version.privileged_creators:
        create.append(additional_creators_are_users)
    create.append(otherwise_allow)

    rules: list[Rule] = [Group(*create, condition=_is_create_event)]
    if version.room_id_is_create_hash:
        rules.append(room_is_named_by_create)
    rules.append(AUTH_EVENTS if version.create_in_auth_events else Group())
    rules.append(room_is_federated)
    if version.aliases_by_domain:
        rules.append(
            Group(aliases_have_state_key, aliases_are_of_own_domain, otherwise_allow, condition=_is_aliases_event)
        )
    rules.append(member_rules(version))
    rules.append(sender_is_joined)
    rules.append(Group(third_party_inviter_has_power, condition=_is_third_party_invite))
    rules.append(sender_has_required_power)
    rules.append(user_state_is_own)
    rules.append(power_levels_rules(version))
    if version.authorizes_redactions:
        rules.append(
            Group(
                redactor_has_power,
                redacted_is_of_own_domain,
                otherwise_reject("You do not have the power to redact events of other servers"),
                condition=_is_redaction,
            )
        )
    rules.append(otherwise_allow)
    return Group(*rules)
