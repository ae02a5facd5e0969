"""The rules of authorisation for m.room.member.

Each function is a numbered rule, its comment the specification's sentence; `member_rules` puts them in the order, and
so under the numbers, of a room version.
"""

from __future__ import annotations

from homeserver.protocol.authorization_facts import Facts, Group, Rule, otherwise_allow, otherwise_reject, reject
from homeserver.protocol.authorization_third_party import THIRD_PARTY_INVITE
from homeserver.protocol.identifiers import domain_of, is_user_id
from homeserver.protocol.power_levels import creator_of
from homeserver.protocol.room_versions import RoomVersion


def member_rules(version: RoomVersion) -> Group:
    """The rule "If type is m.room.member" of a room version."""
    rules: list[Rule] = [has_membership]
    if version.restricted:
        rules.append(Group(authorising_server_signed, condition=_names_authoriser))
    join: list[Rule] = [creator_joins_first, joins_oneself, is_not_banned]
    join.append(invited_may_join_knockable if version.knock else invited_may_join)
    if version.restricted:
        condition = _is_restricted_or_knock_restricted if version.knock_restricted else _is_restricted
        join.append(Group(invited_may_join_restricted, authoriser_may_invite, otherwise_allow, condition=condition))
    join += [public_is_open, otherwise_reject("You are not invited to this room")]
    rules.append(Group(*join, condition=_membership_is("join")))
    rules.append(
        Group(
            THIRD_PARTY_INVITE,
            inviter_is_joined,
            target_can_be_invited,
            inviter_has_power,
            otherwise_reject("You do not have the power to invite users"),
            condition=_membership_is("invite"),
        )
    )
    rules.append(
        Group(
            leaves_oneself_knockable if version.knock else leaves_oneself,
            kicker_is_joined,
            unbanner_has_power,
            kicker_has_power,
            otherwise_reject("You do not have the power to remove this user"),
            condition=_membership_is("leave"),
        )
    )
    rules.append(
        Group(
            banner_is_joined,
            banner_has_power,
            otherwise_reject("You do not have the power to ban this user"),
            condition=_membership_is("ban"),
        )
    )
    if version.knock:
        rules.append(
            Group(
                room_is_knock_restricted_or_knockable if version.knock_restricted else room_is_knockable,
                knocks_oneself,
                may_still_knock,
                otherwise_reject("You cannot knock on a room that you are in, invited to or banned from"),
                condition=_membership_is("knock"),
            )
        )
    rules.append(otherwise_reject("This membership is unknown"))
    return Group(*rules, condition=_is_member_event)


def _is_member_event(facts: Facts) -> bool:
    return facts.event.type == "m.room.member"


def _membership_is(membership: str) -> Rule:
    def condition(facts: Facts) -> bool:
        return bool(facts.event.content.get("membership") == membership)

    return condition


def has_membership(facts: Facts) -> bool:
    # If there is no `state_key` property, or no `membership` property in `content`, reject.
    if facts.event.state_key is None or not isinstance(facts.event.content.get("membership"), str):
        raise reject("A membership event must have a state key, and a string as membership")
    return False


# If `content` has a `join_authorised_via_users_server` property: (v8)


def _names_authoriser(facts: Facts) -> bool:
    return "join_authorised_via_users_server" in facts.event.content


def authorising_server_signed(facts: Facts) -> bool:
    # If the event is not validly signed by the homeserver of the user ID denoted by the key, reject.
    # Here it is asked whether there is such a signature; that all signatures of `signatures.required_signers` are valid
    # is asked of an event before it comes here. A draft has no signatures yet.
    authoriser = facts.event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str) or not is_user_id(authoriser):
        raise reject("join_authorised_via_users_server must be a user id")
    signatures = facts.event.pdu.get("signatures")
    if signatures is not None and not (isinstance(signatures, dict) and signatures.get(domain_of(authoriser))):
        raise reject("The server that authorises this join has not signed it")
    return False


# If `membership` is `join`:


def creator_joins_first(facts: Facts) -> bool:
    # If the only previous event is an `m.room.create` and the `state_key` is the creator, allow.
    # (v11: "... is the sender of the `m.room.create`"; `creator_of` knows the difference.)
    create = facts.create
    return facts.event.prev_events == [create.event_id] and facts.target == creator_of(create)


def joins_oneself(facts: Facts) -> bool:
    # If the `sender` does not match `state_key`, reject.
    if facts.sender != facts.target:
        raise reject("You cannot join a room for somebody else")
    return False


def is_not_banned(facts: Facts) -> bool:
    # If the `sender` is banned, reject.
    if facts.membership_of(facts.sender) == "ban":
        raise reject("You are banned from this room")
    return False


def invited_may_join(facts: Facts) -> bool:
    # If the `join_rule` is `invite` then allow if membership state is `invite` or `join`.
    return facts.join_rule == "invite" and facts.membership_of(facts.sender) in ("invite", "join")


def invited_may_join_knockable(facts: Facts) -> bool:
    # If the `join_rule` is `invite` or `knock` then allow if membership state is `invite` or `join`. (v7)
    return facts.join_rule in ("invite", "knock") and facts.membership_of(facts.sender) in ("invite", "join")


def _is_restricted(facts: Facts) -> bool:
    # If the `join_rule` is `restricted`: (v8)
    return facts.join_rule == "restricted"


def _is_restricted_or_knock_restricted(facts: Facts) -> bool:
    # If the `join_rule` is `restricted` or `knock_restricted`: (v10)
    return facts.join_rule in ("restricted", "knock_restricted")


def invited_may_join_restricted(facts: Facts) -> bool:
    # If membership state is `join` or `invite`, allow.
    return facts.membership_of(facts.sender) in ("join", "invite")


def authoriser_may_invite(facts: Facts) -> bool:
    # If the `join_authorised_via_users_server` key in `content` is not a user with sufficient permission to invite
    # other users or is not a joined member of the room, reject.
    authoriser = facts.event.content.get("join_authorised_via_users_server")
    if not isinstance(authoriser, str) or facts.membership_of(authoriser) != "join":
        raise reject("This join must be authorised by a user who is in the room")
    if facts.levels.of(authoriser) < facts.levels.invite:
        raise reject("The user who authorises this join does not have the power to invite users")
    return False


def public_is_open(facts: Facts) -> bool:
    # If the `join_rule` is `public`, allow.
    return facts.join_rule == "public"


# If `membership` is `invite`:


def inviter_is_joined(facts: Facts) -> bool:
    # If the `sender`'s current membership state is not `join`, reject.
    if facts.membership_of(facts.sender) != "join":
        raise reject("You are not in this room, so you cannot invite others to it")
    return False


def target_can_be_invited(facts: Facts) -> bool:
    # If *target user*'s current membership state is `join` or `ban`, reject.
    membership = facts.membership_of(facts.target)
    if membership == "join":
        raise reject("The invited user is already in this room")
    if membership == "ban":
        raise reject("The invited user is banned from this room")
    return False


def inviter_has_power(facts: Facts) -> bool:
    # If the `sender`'s power level is greater than or equal to the *invite level*, allow.
    return facts.levels.of(facts.sender) >= facts.levels.invite


# If `membership` is `leave`:


def leaves_oneself(facts: Facts) -> bool:
    # If the `sender` matches `state_key`, allow if and only if that user's current membership state is `invite` or
    # `join`.
    return _leaves_from(facts, ("invite", "join"))


def leaves_oneself_knockable(facts: Facts) -> bool:
    # If the `sender` matches `state_key`, allow if and only if that user's current membership state is `invite`,
    # `join`, or `knock`. (v7)
    return _leaves_from(facts, ("invite", "join", "knock"))


def _leaves_from(facts: Facts, memberships: tuple[str, ...]) -> bool:
    if facts.sender != facts.target:
        return False
    if facts.membership_of(facts.sender) not in memberships:
        raise reject("You are not in this room and not invited to it, so you cannot leave it")
    return True


def kicker_is_joined(facts: Facts) -> bool:
    # If the `sender`'s current membership state is not `join`, reject.
    if facts.membership_of(facts.sender) != "join":
        raise reject("You are not in this room, so you cannot remove others from it")
    return False


def unbanner_has_power(facts: Facts) -> bool:
    # If the *target user*'s current membership state is `ban`, and the `sender`'s power level is less than the *ban
    # level*, reject.
    if facts.membership_of(facts.target) == "ban" and facts.levels.of(facts.sender) < facts.levels.ban:
        raise reject("You do not have the power to unban users")
    return False


def kicker_has_power(facts: Facts) -> bool:
    # If the `sender`'s power level is greater than or equal to the *kick level*, and the *target user*'s power level is
    # less than the `sender`'s power level, allow.
    power = facts.levels.of(facts.sender)
    return power >= facts.levels.kick and facts.levels.of(facts.target) < power


# If `membership` is `ban`:


def banner_is_joined(facts: Facts) -> bool:
    # If the `sender`'s current membership state is not `join`, reject.
    if facts.membership_of(facts.sender) != "join":
        raise reject("You are not in this room, so you cannot ban others from it")
    return False


def banner_has_power(facts: Facts) -> bool:
    # If the `sender`'s power level is greater than or equal to the *ban level*, and the *target user*'s power level is
    # less than the `sender`'s power level, allow.
    power = facts.levels.of(facts.sender)
    return power >= facts.levels.ban and facts.levels.of(facts.target) < power


# If `membership` is `knock`: (v7)


def room_is_knockable(facts: Facts) -> bool:
    # If the `join_rule` is anything other than `knock`, reject.
    if facts.join_rule != "knock":
        raise reject("This room does not allow knocking")
    return False


def room_is_knock_restricted_or_knockable(facts: Facts) -> bool:
    # If the `join_rule` is anything other than `knock` or `knock_restricted`, reject. (v10)
    if facts.join_rule not in ("knock", "knock_restricted"):
        raise reject("This room does not allow knocking")
    return False


def knocks_oneself(facts: Facts) -> bool:
    # If `sender` does not match `state_key`, reject.
    if facts.sender != facts.target:
        raise reject("You cannot knock for somebody else")
    return False


def may_still_knock(facts: Facts) -> bool:
    # If the `sender`'s current membership is not `ban`, `invite`, or `join`, allow.
    return facts.membership_of(facts.sender) not in ("ban", "invite", "join")
