"""The rules of authorisation, each by its number, in each room version (A06: at least one accepted, one rejected)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import signedjson.key
from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from homeserver.protocol import authorization_rules, authorization_third_party, signatures
from homeserver.protocol.authorization import NotAuthorized, check_authorized
from homeserver.protocol.authorization_facts import Facts, Group, Rule
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.furnished_room import (
    ADMIN,
    ALICE,
    ALL_VERSIONS,
    BOB,
    CAROL,
    DAN,
    ERIN,
    FRANK,
    GRACE,
    MOD,
    REMOTE,
    Room,
)
from tests.protocol.rule_numbers import number_of

Build = Callable[[RoomVersion], tuple[Event, Room]]


@dataclass(frozen=True)
class Case:
    """An event in a room, and the rule that decides it. `since`, `until`: the room versions that it is about."""

    name: str
    rule: str
    accepted: bool
    build: Build
    since: int
    until: int


CASES: list[Case] = []


def accepted(rule: str, *, since: int = 1, until: int = 12) -> Callable[[Build], Build]:
    """This event is allowed, by the rule of this name."""
    return _case(rule, True, since, until)


def rejected(rule: str, *, since: int = 1, until: int = 12) -> Callable[[Build], Build]:
    """This event is rejected, by the rule of this name."""
    return _case(rule, False, since, until)


def _case(rule: str, is_accepted: bool, since: int, until: int) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        CASES.append(Case(build.__name__, rule, is_accepted, build, since, until))
        return build

    return register


def _cases() -> Iterator[Any]:
    for case in CASES:
        for version in ALL_VERSIONS:
            if case.since <= int(version.identifier) <= case.until and number_of(case.rule, version) is not None:
                yield pytest.param(case, version, id=f"{case.name}-v{version.identifier}")


# 1. If type is m.room.create


def _create(version: RoomVersion, sender: str = ALICE, content: dict[str, Any] | None = None, **rest: Any) -> Event:
    base: dict[str, Any] = {"room_version": version.identifier}
    if not version.creator_is_sender:
        base["creator"] = ALICE
    rest.setdefault("prev_events", [])
    return Room(version).event("m.room.create", {**base, **(content or {})}, "", sender=sender, **rest)


@accepted("create_allow")
def create_event_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version), Room(version)


@accepted("create_allow", since=12)
def create_event_with_additional_creators_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, content={"additional_creators": [BOB, REMOTE, "@Big :b.example"]}), Room(version)


@rejected("create.1")
def create_event_after_another_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room(version)
    return _create(version, prev_events=[room.create]), room


@rejected("create.2", until=11)
def create_event_by_a_stranger_to_the_domain_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, sender=REMOTE), Room(version)


@rejected("create.2", since=12)
def create_event_with_a_room_id_is_rejected_A02(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, room_id="!" + "x" * 43), Room(version)


@rejected("create.3")
def create_event_of_an_unknown_version_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, content={"room_version": "99"}), Room(version)


@rejected("create.3")
def create_event_whose_version_is_no_text_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, content={"room_version": [version.identifier]}), Room(version)


@rejected("create.3")
def create_event_of_another_version_is_rejected_A14(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, content={"room_version": "2" if version.identifier != "2" else "3"}), Room(version)


@rejected("create_creator")
def create_event_without_creator_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room(version)
    return room.event("m.room.create", {"room_version": version.identifier}, "", sender=ALICE, prev_events=[]), room


@rejected("create_additional")
def create_event_with_an_additional_creator_who_is_no_user_is_rejected_A03(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, content={"additional_creators": [BOB, "bob"]}), Room(version)


@rejected("create_additional")
def create_event_with_additional_creators_that_are_no_list_is_rejected_A03(version: RoomVersion) -> tuple[Event, Room]:
    return _create(version, content={"additional_creators": BOB}), Room(version)


# 2. (v12) the room id, 2. or 3. the auth events, as far as a state can tell


@rejected("room_id")
def event_of_another_create_event_is_rejected_A02(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    other = Room(version, topic="another room")
    return other.event("m.room.message", {}, sender=BOB), room


@rejected("room_id")
def event_in_a_room_without_create_event_is_rejected_v12(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    del room.state["m.room.create", ""]
    return room.event("m.room.message", {}, sender=BOB), room


@rejected("auth_events.4", until=11)
def event_in_a_room_without_create_event_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    del room.state["m.room.create", ""]
    return room.event("m.room.message", {}, sender=BOB), room


@rejected("auth_events.5", until=11)
def event_judged_by_another_rooms_state_is_rejected_A05(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.message", {}, sender=BOB, room_id="!other:a.example"), room


# m.federate


def _closed(version: RoomVersion) -> Room:
    room = Room(version, **{"m.federate": False})
    room.member(ALICE, "join")
    room.member(BOB, "join")
    room.member(REMOTE, "join")
    return room


@rejected("federate")
def remote_user_in_an_unfederated_room_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = _closed(version)
    return room.event("m.room.message", {}, sender=REMOTE), room


@accepted("allow")
def local_user_in_an_unfederated_room_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    room = _closed(version)
    return room.event("m.room.message", {}, sender=BOB), room


# m.room.aliases (until v5)


@accepted("aliases.3")
def stranger_sets_aliases_of_own_domain(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.aliases", {"aliases": []}, "a.example", sender=DAN), room


@rejected("aliases.1")
def aliases_without_state_key_are_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.aliases", {"aliases": []}, sender=ADMIN), room


@rejected("aliases.2")
def aliases_of_another_domain_are_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.aliases", {"aliases": []}, "b.example", sender=ADMIN), room


@rejected("joined", since=6)
def stranger_cannot_set_aliases_since_v6(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.aliases", {"aliases": []}, "a.example", sender=DAN), room


# m.room.member


@rejected("member.1")
def membership_without_state_key_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.member", {"membership": "join"}, sender=BOB), room


@rejected("member.1")
def membership_event_without_membership_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.member", {}, BOB, sender=BOB), room


@rejected("member.1")
def membership_that_is_no_text_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.member", {"membership": ["join"]}, BOB, sender=BOB), room


@rejected("unknown")
def unknown_membership_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(BOB, "lurk"), room


@rejected("unknown", until=6)
def knock_is_unknown_before_v7(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(DAN, "knock"), room


# join_authorised_via_users_server must be signed for (v8)


def _authorised(room: Room, user: str, authoriser: Any, signers: tuple[str, ...] = ("a.example",)) -> Event:
    content = {"membership": "join", "join_authorised_via_users_server": authoriser}
    signed_by = {server: {"ed25519:1": "signature"} for server in signers}
    return room.event("m.room.member", content, user, sender=user, signatures=signed_by)


@rejected("authoriser.1")
def join_without_signature_of_the_authorising_server_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted")
    return _authorised(room, "@dan:b.example", BOB, ("b.example",)), room


@rejected("authoriser.1")
def join_authorised_by_no_user_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted")
    return _authorised(room, DAN, {"not": "a user"}), room


@accepted("restricted.3")
def join_signed_by_the_authorising_server_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted")
    return _authorised(room, "@dan:b.example", BOB, ("b.example", "a.example")), room


# join


@accepted("join.1")
def creator_joins_right_after_creating(version: RoomVersion) -> tuple[Event, Room]:
    room = Room(version)
    return room.event("m.room.member", {"membership": "join"}, ALICE, sender=ALICE, prev_events=[room.create]), room


@rejected("join_otherwise")
def another_user_cannot_join_right_after_the_create_event(version: RoomVersion) -> tuple[Event, Room]:
    room = Room(version)
    return room.event("m.room.member", {"membership": "join"}, BOB, sender=BOB, prev_events=[room.create]), room


@rejected("join_otherwise", since=12)
def additional_creator_does_not_join_as_the_creator_does(version: RoomVersion) -> tuple[Event, Room]:
    room = Room(version, additional_creators=[BOB])
    return room.event("m.room.member", {"membership": "join"}, BOB, sender=BOB, prev_events=[room.create]), room


@rejected("join.2")
def nobody_joins_somebody_else(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="public")
    return room.membership(DAN, "join", sender=BOB), room


@rejected("join.3")
def banned_user_cannot_join(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="public")
    return room.membership(ERIN, "join"), room


@accepted("join.4")
def invited_user_joins(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(FRANK, "join"), room


@accepted("join.4")
def joined_user_changes_the_display_name(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(BOB, "join", displayname="Bob"), room


@accepted("join.4")
def without_join_rules_the_rule_is_invite(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    del room.state["m.room.join_rules", ""]
    return room.membership(FRANK, "join"), room


@rejected("join_otherwise")
def nobody_joins_by_a_join_rule_that_is_no_text(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    room.set("m.room.join_rules", {"join_rule": ["invite"]}, "", sender=ALICE)
    return room.membership(FRANK, "join"), room


@accepted("join.4", since=7)
def invited_user_joins_a_room_with_knocking(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(FRANK, "join"), room


@rejected("join_otherwise", until=6)
def knocking_as_join_rule_means_nothing_before_v7(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(FRANK, "join"), room


@rejected("join_otherwise")
def user_without_invite_cannot_join(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(DAN, "join"), room


@rejected("join_otherwise")
def user_who_knocked_cannot_join(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(GRACE, "join"), room


@accepted("join_public")
def anybody_joins_a_public_room(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="public")
    return room.membership(DAN, "join"), room


@accepted("restricted.1")
def invited_user_joins_a_restricted_room(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted")
    return room.membership(FRANK, "join"), room


@accepted("knock_restricted.1")
def invited_user_joins_a_knock_restricted_room(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock_restricted")
    return room.membership(FRANK, "join"), room


@rejected("restricted.2")
def restricted_join_that_nobody_authorised_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted")
    return room.membership(DAN, "join"), room


@rejected("restricted.2")
def restricted_join_authorised_by_a_stranger_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted")
    return _authorised(room, DAN, FRANK), room


@rejected("restricted.2")
def restricted_join_authorised_by_the_powerless_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted", invite=51)
    return _authorised(room, DAN, BOB), room


@accepted("knock_restricted.3")
def knock_restricted_join_authorised_by_a_member_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock_restricted")
    return _authorised(room, DAN, BOB), room


@rejected("join_otherwise", until=7)
def restricted_means_nothing_before_v8(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="restricted")
    return _authorised(room, DAN, BOB), room


@rejected("join_otherwise", until=9)
def knock_restricted_means_nothing_before_v10(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock_restricted")
    return _authorised(room, DAN, BOB), room


# invite, by third party


def _key() -> SigningKey:
    seed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
    return signedjson.key.decode_signing_key_base64("ed25519", "0", seed)


def _public_key() -> str:
    return encode_base64(_key().verify_key.encode())


def _third_party(
    room: Room,
    *,
    target: str = DAN,
    sender: str = BOB,
    content: dict[str, Any] | None = None,
    **changes: Any,
) -> Event:
    room.set("m.room.third_party_invite", content or {"public_key": _public_key()}, "token", sender=BOB)
    signed: dict[str, Any] = {"mxid": target, "token": "token", **changes}
    signed = {name: value for name, value in signed.items() if value is not None}
    signed = signatures.sign(signed, "identity.example", _key())
    return room.membership(target, "invite", sender=sender, third_party_invite={"signed": signed})


@rejected("invite.1.1")
def third_party_invite_of_the_banned_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room, target=ERIN), room


@rejected("invite.1.2")
def third_party_invite_without_signed_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(DAN, "invite", sender=BOB, third_party_invite={}), room


@rejected("invite.1.2")
def third_party_invite_that_is_null_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(DAN, "invite", sender=BOB, third_party_invite=None), room


@rejected("invite.1.3")
def third_party_invite_without_mxid_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room, mxid=None), room


@rejected("invite.1.3")
def third_party_invite_whose_token_is_no_text_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room, token=["token"]), room


@rejected("invite.1.4")
def third_party_invite_of_another_user_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room, mxid=GRACE), room


@rejected("invite.1.5")
def third_party_invite_with_unknown_token_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room, token="other"), room


@rejected("invite.1.6")
def third_party_invite_by_another_sender_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room, sender=MOD), room


@accepted("invite.1.7")
def third_party_invite_signed_by_the_key_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room), room


@accepted("invite.1.7")
def third_party_invite_signed_by_one_of_the_keys_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    content = {"public_key": "AAAA", "public_keys": [7, {}, {"public_key": "???"}, {"public_key": _public_key()}]}
    return _third_party(room, content=content), room


@rejected("invite.1.8")
def third_party_invite_signed_by_another_key_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _third_party(room, content={"public_key": "A" * 43}), room


@rejected("invite.1.8")
def third_party_invite_changed_after_signing_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    signed = _third_party(room).content["third_party_invite"]["signed"]
    return room.membership(DAN, "invite", sender=BOB, third_party_invite={"signed": {**signed, "x": 1}}), room


# invite


@rejected("invite.2")
def stranger_cannot_invite(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="public")
    return room.membership(GRACE, "invite", sender=DAN), room


@rejected("invite.3")
def joined_user_cannot_be_invited(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(CAROL, "invite", sender=BOB), room


@rejected("invite.3")
def banned_user_cannot_be_invited(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(ERIN, "invite", sender=ADMIN), room


@accepted("invite.4")
def member_invites_by_default(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(DAN, "invite", sender=CAROL), room


@rejected("invite.5")
def member_below_the_invite_level_cannot_invite(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, invite=51)
    return room.membership(DAN, "invite", sender=BOB), room


# leave


@accepted("leave.1")
def joined_user_leaves(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(CAROL, "leave"), room


@accepted("leave.1")
def invited_user_declines(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(FRANK, "leave"), room


@accepted("leave.1", since=7)
def user_takes_back_a_knock(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(GRACE, "leave"), room


@rejected("leave.1", until=6)
def knock_cannot_be_taken_back_before_v7(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(GRACE, "leave"), room


@rejected("leave.1")
def stranger_cannot_leave(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(DAN, "leave"), room


@rejected("leave.1")
def banned_user_cannot_leave(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(ERIN, "leave"), room


@rejected("leave.2")
def stranger_cannot_kick(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(CAROL, "leave", sender=DAN), room


@rejected("leave.3")
def user_below_the_ban_level_cannot_unban(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, ban=60)
    return room.membership(ERIN, "leave", sender=BOB), room


@accepted("leave.4")
def user_with_the_ban_level_unbans(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(ERIN, "leave", sender=BOB), room


@accepted("leave.4")
def moderator_kicks(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(CAROL, "leave", sender=BOB), room


@rejected("leave.5")
def user_below_the_kick_level_cannot_kick(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, kick=51)
    return room.membership(CAROL, "leave", sender=BOB), room


@rejected("leave.5")
def moderator_cannot_kick_an_equal(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(MOD, "leave", sender=BOB), room


@rejected("leave.5", since=12)
def creator_cannot_be_kicked_A03(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(ALICE, "leave", sender=ADMIN), room


# ban


@rejected("ban.1")
def stranger_cannot_ban(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(CAROL, "ban", sender=DAN), room


@accepted("ban.2")
def moderator_bans_a_member(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(CAROL, "ban", sender=BOB), room


@accepted("ban.2")
def moderator_bans_a_stranger(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(DAN, "ban", sender=BOB), room


@rejected("ban.3")
def moderator_cannot_ban_an_equal(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(MOD, "ban", sender=BOB), room


@rejected("ban.3")
def user_below_the_ban_level_cannot_ban(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, ban=51)
    return room.membership(CAROL, "ban", sender=BOB), room


@rejected("ban.3", since=12)
def creator_cannot_be_banned_A03(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(ALICE, "ban", sender=ADMIN), room


# knock


@rejected("knock.1")
def nobody_knocks_on_a_room_by_invitation(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.membership(DAN, "knock"), room


@rejected("knock.1", until=9)
def nobody_knocks_on_a_knock_restricted_room_before_v10(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock_restricted")
    return room.membership(DAN, "knock"), room


@rejected("knock.2")
def nobody_knocks_for_somebody_else(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(DAN, "knock", sender=FRANK), room


@accepted("knock.3")
def stranger_knocks(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(DAN, "knock"), room


@accepted("knock.3", since=10)
def stranger_knocks_on_a_knock_restricted_room(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock_restricted")
    return room.membership(DAN, "knock"), room


@rejected("knock.4")
def invited_user_cannot_knock(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(FRANK, "knock"), room


@rejected("knock.4")
def banned_user_cannot_knock(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="knock")
    return room.membership(ERIN, "knock"), room


# The sender is joined, has the power, and leaves the state of other users alone


@accepted("allow")
def member_sends_a_message(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.message", {"body": "hello"}, sender=CAROL), room


@rejected("joined")
def stranger_cannot_send(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, join_rule="public")
    return room.event("m.room.message", {"body": "hello"}, sender=DAN), room


@rejected("joined")
def user_whose_membership_is_no_text_cannot_send(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    room.set("m.room.member", {"membership": {"join": 1}}, CAROL, sender=CAROL)
    return room.event("m.room.message", {"body": "hello"}, sender=CAROL), room


@accepted("third_party.1")
def member_sends_a_third_party_invite(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.third_party_invite", {}, "token", sender=CAROL), room


@rejected("third_party.1")
def member_below_the_invite_level_cannot_send_a_third_party_invite(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, invite=51)
    return room.event("m.room.third_party_invite", {}, "token", sender=BOB), room


@rejected("required")
def message_above_the_senders_power_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, events_default=51)
    return room.event("m.room.message", {}, sender=BOB), room


@rejected("required")
def state_event_needs_fifty_by_default(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.name", {"name": "x"}, "", sender=CAROL), room


@rejected("required")
def event_type_with_a_level_of_its_own_needs_it(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, events={"m.room.name": 80})
    return room.event("m.room.name", {"name": "x"}, "", sender=BOB), room


@accepted("allow")
def moderator_sends_state(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("m.room.name", {"name": "x"}, "", sender=BOB), room


@rejected("user_state")
def state_of_another_user_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("com.example.mood", {}, CAROL, sender=BOB), room


@accepted("allow")
def state_of_oneself_is_allowed(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.event("com.example.mood", {}, BOB, sender=BOB), room


# m.room.power_levels


@rejected("levels_properties")
def level_that_is_a_string_is_rejected_since_v10(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, ban="50"), room


@rejected("levels_properties")
def level_that_is_a_boolean_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, state_default=True), room


@rejected("levels_maps")
def event_levels_that_are_no_object_are_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, events=[]), room


@rejected("levels_maps")
def notification_level_that_is_a_string_is_rejected_since_v10(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, notifications={"room": "20"}), room


@rejected("levels_users")
def user_levels_that_are_no_object_are_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, users=[BOB]), room


@rejected("levels_users")
def user_levels_of_no_user_are_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, users={ADMIN: 100, "bob": 50}), room


@rejected("levels_users")
def user_level_that_is_no_number_is_rejected(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, users={ADMIN: 100, BOB: "fifty"}), room


@rejected("levels_users", since=10)
def user_level_that_is_a_string_is_rejected_since_v10(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, users={ADMIN: 100, BOB: "50"}), room


@accepted("levels_allow", until=9)
def string_levels_are_allowed_until_v9(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    users = {**room.state["m.room.power_levels", ""].content["users"], BOB: " +0050 ", CAROL: "-5"}
    return room.levels(ADMIN, users=users, ban="60", events={"m.room.name": "10"}), room


@rejected("levels_changed", until=9)
def property_that_is_no_level_is_rejected_until_v9(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ADMIN, ban="fifty"), room


@rejected("levels_creators")
def creator_cannot_be_given_a_level_A03(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(ALICE, users={ADMIN: 100, ALICE: 100}), room


@rejected("levels_creators")
def additional_creator_cannot_be_given_a_level_A03(version: RoomVersion) -> tuple[Event, Room]:
    room = Room(version, additional_creators=[BOB])
    room.member(ALICE, "join")
    return room.event("m.room.power_levels", {"users": {BOB: 0}}, "", sender=ALICE), room


@accepted("levels_first")
def first_levels_may_be_anything(version: RoomVersion) -> tuple[Event, Room]:
    room = Room(version)
    room.member(ALICE, "join")
    return room.event("m.room.power_levels", {"users": {BOB: 1000}, "ban": 2000}, "", sender=ALICE), room


@accepted("levels_allow")
def admin_changes_levels_below(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, events={"m.room.name": 60}, notifications={"room": 60})
    users = {**room.state["m.room.power_levels", ""].content["users"], CAROL: 100, BOB: 0}
    return room.levels(ADMIN, users=users, ban=100, events={"m.room.topic": 70}, notifications={}, kick=None), room


@accepted("levels_allow")
def moderator_lowers_the_own_level(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    users = {**room.state["m.room.power_levels", ""].content["users"], BOB: 10}
    return room.levels(BOB, users=users), room


@accepted("levels_allow")
def moderator_changes_levels_equal_to_the_own(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, events={"m.room.name": 50, "m.room.topic": 0}, notifications={"room": 50}, ban=50)
    return room.levels(BOB, ban=10, invite=50, events={"m.room.topic": 50}, notifications={"room": 0}), room


@rejected("levels_changed.1")
def property_above_the_senders_power_cannot_be_lowered(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, ban=60)
    return room.levels(BOB, ban=10), room


@rejected("levels_changed.1")
def property_above_the_senders_power_cannot_be_removed(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, redact=60)
    return room.levels(BOB, redact=None), room


@rejected("levels_changed.2")
def property_cannot_be_raised_above_the_senders_power(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(BOB, invite=51), room


@rejected("levels_old_events.1")
def event_level_above_the_senders_power_cannot_be_removed(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, events={"m.room.name": 60})
    return room.levels(BOB, events={}), room


@rejected("levels_new_events.1")
def event_level_cannot_be_raised_above_the_senders_power(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, events={"m.room.name": 40})
    return room.levels(BOB, events={"m.room.name": 60}), room


@rejected("levels_old_notifications.1")
def notification_level_above_the_senders_power_cannot_be_lowered(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version, notifications={"room": 60})
    return room.levels(BOB, notifications={"room": 0}), room


@rejected("levels_new_notifications.1")
def notification_level_cannot_be_raised_above_the_senders_power(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(BOB, notifications={"room": 60}), room


@accepted("levels_allow", until=5)
def notification_levels_are_not_checked_before_v6(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return room.levels(BOB, notifications={"room": 60}), room


@rejected("levels_old_users.1")
def an_equals_level_cannot_be_lowered(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    users = {**room.state["m.room.power_levels", ""].content["users"], MOD: 0}
    return room.levels(BOB, users=users), room


@rejected("levels_new_users.1")
def nobody_is_given_more_power_than_the_sender_has(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    users = {**room.state["m.room.power_levels", ""].content["users"], CAROL: 51}
    return room.levels(BOB, users=users), room


@rejected("levels_new_users.1")
def nobody_gives_oneself_more_power(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    users = {**room.state["m.room.power_levels", ""].content["users"], BOB: 100}
    return room.levels(BOB, users=users), room


# m.room.redaction (v1 and v2)


def _redaction(room: Room, sender: str, redacts: str | None) -> Event:
    return room.event("m.room.redaction", {}, sender=sender, redacts=redacts)


@accepted("redaction.1")
def moderator_redacts_anything_A09(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _redaction(room, BOB, "$x:b.example"), room


@accepted("redaction.2")
def member_redacts_events_of_the_own_server_A09(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _redaction(room, CAROL, "$x:a.example"), room


@rejected("redaction.3")
def member_cannot_redact_events_of_another_server_A09(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _redaction(room, CAROL, "$x:b.example"), room


@rejected("redaction.3")
def redaction_of_nothing_is_rejected_A09(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _redaction(room, CAROL, None), room


@accepted("allow", since=3)
def redactions_are_judged_when_applied_since_v3_A09(version: RoomVersion) -> tuple[Event, Room]:
    room = Room.furnished(version)
    return _redaction(room, CAROL, "$x:b.example"), room


@pytest.mark.parametrize(("case", "version"), list(_cases()))
def test_A06_event_is_decided_by_the_rule_of_this_number(case: Case, version: RoomVersion) -> None:
    event, room = case.build(version)
    number = number_of(case.rule, version)
    if case.accepted:
        check_authorized(event, room.state)
        assert _decided_at(event, room) == number
        return
    with pytest.raises(NotAuthorized) as rejection:
        check_authorized(event, room.state)
    assert rejection.value.rule == number, rejection.value.message
    assert rejection.value.errcode == "M_FORBIDDEN"
    assert len(rejection.value.message) > 10


def _decided_at(event: Event, room: Room) -> str:
    return next(
        number for number, _, decided in _trace(_table(event.room_version), Facts(event, room.state)) if decided
    )


def _trace(group: Group, facts: Facts, prefix: str = "") -> Iterator[tuple[str, Rule, bool]]:
    """(number, rule, whether it decided) of each rule that an event is judged by."""
    if group.condition is not None and not group.condition(facts):
        return
    for position, rule in enumerate(group.rules, 1):
        number = f"{prefix}{position}"
        if isinstance(rule, Group):
            for step in _trace(rule, facts, f"{number}."):
                yield step
                if step[2]:
                    return
            continue
        try:
            decided = rule(facts)
        except NotAuthorized:
            decided = True
        yield number, rule, decided
        if decided:
            return


def _table(version: RoomVersion) -> Group:
    return authorization_rules.rules_of(version)


def _leaves(group: Group, prefix: str = "") -> Iterator[tuple[str, str]]:
    for position, rule in enumerate(group.rules, 1):
        if isinstance(rule, Group):
            yield from _leaves(rule, f"{prefix}{position}.")
        else:
            yield f"{prefix}{position}", getattr(rule, "__qualname__", "")


# Rules that say only "allow if": they never reject, and what they do not allow a later rule decides.
ONLY_ALLOW = {
    "creator_joins_first",
    "invited_may_join",
    "invited_may_join_knockable",
    "invited_may_join_restricted",
    "public_is_open",
    "a_key_signed",
    "inviter_has_power",
    "kicker_has_power",
    "banner_has_power",
    "may_still_knock",
    "first_levels_are_free",
    "redactor_has_power",
    "redacted_is_of_own_domain",
    "otherwise_allow",
}


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A06_every_rule_of_every_version_has_a_case_on_either_side(version: RoomVersion) -> None:
    passed: set[str] = set()
    turned_back: set[str] = set()
    for case in CASES:
        if not (case.since <= int(version.identifier) <= case.until) or number_of(case.rule, version) is None:
            continue
        event, room = case.build(version)
        steps = [number for number, _, _ in _trace(_table(version), Facts(event, room.state))]
        (passed if case.accepted else turned_back).update(steps if case.accepted else steps[-1:])
        if not case.accepted:
            # "10.3" rejects by its own sub-rules "10.3.1" and "10.3.2".
            assert number_of(case.rule, version) in (steps[-1], f"{steps[-1]}.1", f"{steps[-1]}.2")
    for number, name in _leaves(_table(version)):
        if name == "no_rule":
            continue
        if "otherwise_reject" not in name:
            assert number in passed, f"no accepted event passes rule {number} ({name})"
        if name not in ONLY_ALLOW:
            assert number in turned_back, f"no event is rejected by rule {number} ({name})"


def test_every_known_version_has_a_table() -> None:
    assert list(ROOM_VERSIONS) == [str(number) for number in range(1, 13)]
    for version in ALL_VERSIONS:
        assert sum(1 for _ in _leaves(_table(version))) > 50


def test_draft_of_a_restricted_join_is_not_asked_for_signatures() -> None:
    room = Room.furnished(ROOM_VERSIONS["12"], join_rule="restricted")
    content = {"membership": "join", "join_authorised_via_users_server": BOB}
    draft = room.event("m.room.member", content, DAN, sender=DAN, signatures=None)
    check_authorized(draft, room.state)


def test_third_party_invite_with_many_keys_costs_bounded_work() -> None:
    signed = {"mxid": DAN, "token": "t", "signatures": {"x": {f"ed25519:{n}": "A" * 86 for n in range(500)}}}
    tried: list[str] = []

    class Key(str):
        def encode(self, *args: Any) -> bytes:  # unpaddedbase64 encodes the text once a try
            tried.append(self)
            return super().encode(*args)

    assert not authorization_third_party.THIRD_PARTY_INVITE.rules[6](  # a_key_signed
        _facts_of_third_party(signed, [Key("A" * 43) for _ in range(500)])
    )
    assert 0 < len(tried) <= 100


def _facts_of_third_party(signed: dict[str, Any], keys: list[Any]) -> Facts:
    room = Room.furnished(ROOM_VERSIONS["12"])
    invite = room.event("m.room.third_party_invite", {}, "t", sender=BOB)
    invite.content["public_keys"] = [{"public_key": key} for key in keys]
    room.state[invite.key] = invite
    return Facts(room.membership(DAN, "invite", sender=BOB, third_party_invite={"signed": signed}), room.state)
