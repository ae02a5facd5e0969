"""Contents that mean something to the server: events, account data, filters, push rules, sliding sync."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.support.key_material import DeviceMaterial

Pick = Callable[[str], str]
"""A real or invented thing of a kind: "user", "room", "event", …"""

STATE_TYPES = (
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.pinned_events",
    "m.room.tombstone",
    "m.room.server_acl",
    "m.room.third_party_invite",
    "m.space.child",
    "m.space.parent",
    "m.policy.rule.user",
    "org.matrix.msc3401.call.member",
    "m.room.policy",
    "m.room.retention",
    "org.example.state",
)
MESSAGE_TYPES = (
    "m.room.message",
    "m.room.encrypted",
    "m.reaction",
    "m.room.redaction",
    "m.sticker",
    "m.call.invite",
    "org.matrix.msc3381.poll.start",
    "org.example.message",
)
EPHEMERAL_TYPES = ("m.direct", "m.ignored_user_list", "m.fully_read", "m.push_rules", "m.widgets", "org.example.data")
EVENT_TYPES = (*STATE_TYPES, *MESSAGE_TYPES, *EPHEMERAL_TYPES)


def relation(chance: random.Random, pick: Pick) -> dict[str, Any]:
    kind = chance.choice(("m.thread", "m.replace", "m.annotation", "m.reference", "org.example.rel", "reply"))
    if kind == "reply":
        return {"m.in_reply_to": {"event_id": pick("event")}}
    made: dict[str, Any] = {"rel_type": kind, "event_id": pick("event")}
    if kind == "m.annotation":
        made["key"] = chance.choice(("👍", "x", "é" * 50))
    return made


def message(chance: random.Random, pick: Pick) -> dict[str, Any]:
    made: dict[str, Any] = {
        "msgtype": chance.choice(("m.text", "m.emote", "m.image", "m.location", "m.file")),
        "body": chance.choice(("hello", "你好，世界", "alice: ping", "@room", "x" * 3_000, "the quick brown fox")),
    }
    if chance.random() < 0.3:
        made["url"] = pick("mxc")
    if chance.random() < 0.3:
        made["m.mentions"] = {"user_ids": [pick("user")], "room": chance.random() < 0.3}
    if chance.random() < 0.4:
        made["m.relates_to"] = relation(chance, pick)
        if made["m.relates_to"].get("rel_type") == "m.replace":
            made["m.new_content"] = {"msgtype": "m.text", "body": "edited"}
    return made


def power_levels(chance: random.Random, pick: Pick) -> dict[str, Any]:
    def level() -> Any:
        return chance.choice((0, 0, 50, 50, 100, -1, 101, "50", 2**53 - 1))

    return {
        "users": {pick("user"): level() for _ in range(2)},
        "users_default": chance.choice((0, 0, 0, 50)),
        "events": {chance.choice(EVENT_TYPES): level()},
        "state_default": chance.choice((0, 50)),
        "events_default": 0,
        "invite": level(),
        "notifications": {"room": level()},
    }


def event_content(kind: str, chance: random.Random, pick: Pick) -> Any:
    """The content of an event, or of account data, of this type."""
    some: dict[str, Callable[[], Any]] = {
        "m.room.name": lambda: {"name": chance.choice(("Name", "", "名字", None))},
        "m.room.topic": lambda: {"topic": "T", "m.topic": {"m.text": [{"body": "T"}]}},
        "m.room.avatar": lambda: {"url": pick("mxc")},
        "m.room.member": lambda: {
            "membership": chance.choice(("join", "invite", "leave", "ban", "knock", "x")),
            "displayname": chance.choice(("A", None, "名")),
            "join_authorised_via_users_server": pick("user"),
        },
        "m.room.power_levels": lambda: power_levels(chance, pick),
        "m.room.join_rules": lambda: {
            "join_rule": chance.choice(("public", "public", "invite", "knock", "restricted", "knock_restricted")),
            "allow": [{"type": "m.room_membership", "room_id": pick("room")}],
        },
        "m.room.history_visibility": lambda: {
            "history_visibility": chance.choice(("shared", "joined", "invited", "world_readable", "x"))
        },
        "m.room.guest_access": lambda: {"guest_access": chance.choice(("can_join", "forbidden"))},
        "m.room.canonical_alias": lambda: {"alias": pick("alias"), "alt_aliases": [pick("alias")]},
        "m.room.encryption": lambda: {"algorithm": "m.megolm.v1.aes-sha2"},
        "m.room.pinned_events": lambda: {"pinned": [pick("event")]},
        "m.room.tombstone": lambda: {"body": "moved", "replacement_room": pick("room")},
        "m.room.server_acl": lambda: {"allow": ["*"], "deny": ["*.evil"], "allow_ip_literals": False},
        "m.space.child": lambda: {"via": ["halfdoor.test"], "order": chance.choice(("a", "b", 1)), "suggested": True},
        "m.space.parent": lambda: {"via": ["halfdoor.test"], "canonical": True},
        "m.policy.rule.user": lambda: {"entity": pick("user"), "recommendation": "m.ban", "reason": "x"},
        "m.reaction": lambda: {"m.relates_to": {"rel_type": "m.annotation", "event_id": pick("event"), "key": "👍"}},
        "m.room.redaction": lambda: {"redacts": pick("event"), "reason": "x"},
        "m.room.encrypted": lambda: {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "A", "session_id": "s"},
        "m.direct": lambda: {pick("user"): [pick("room")]},
        "m.ignored_user_list": lambda: {"ignored_users": {pick("user"): {}} if chance.random() < 0.5 else {}},
        "m.room.retention": lambda: {"max_lifetime": chance.choice((1, 86_400_000)), "min_lifetime": 1},
    }
    make = some.get(kind)
    return make() if make else message(chance, pick)


def room_filter(chance: random.Random, pick: Pick) -> dict[str, Any]:
    of_events = {
        "limit": chance.choice((0, 1, 5, 100, 10**6)),
        "types": [chance.choice(EVENT_TYPES), "m.room.*"],
        "not_senders": [pick("user")],
        "lazy_load_members": chance.random() < 0.5,
        "contains_url": chance.random() < 0.3,
        "related_by_senders": [pick("user")],
        "unread_thread_notifications": True,
    }
    chosen = {name: of_events[name] for name in chance.sample(list(of_events), 2)}
    room: dict[str, Any] = {"timeline": chosen, "state": {"lazy_load_members": True}}
    if chance.random() < 0.3:
        room["rooms"] = [pick("room")]
    if chance.random() < 0.3:
        room["include_leave"] = True
    if chance.random() < 0.5:
        return {
            "room": room,
            "presence": {"not_types": ["*"]},
            "event_fields": ["content", "type", "event_id", "sender", "origin_server_ts", "state_key"],
        }
    return {"room": room, "account_data": {"limit": 1}}


def sliding_sync(chance: random.Random, pick: Pick) -> dict[str, Any]:
    required = [["m.room.member", "$LAZY"], ["m.room.name", ""], ["*", "*"], ["m.room.member", "$ME"]]
    subscription = {"required_state": chance.sample(required, 2), "timeline_limit": chance.choice((0, 1, 20, 10**9))}
    every = {"enabled": chance.random() < 0.9}
    return {
        "conn_id": chance.choice(("main", "other")),
        "lists": {
            chance.choice(("a", "b")): {
                **subscription,
                "ranges": [[0, chance.choice((0, 5, 99))]],
                "filters": {"is_dm": chance.random() < 0.5, "room_types": [None]} if chance.random() < 0.4 else {},
            }
        },
        "room_subscriptions": {pick("room"): subscription},
        "extensions": dict.fromkeys(
            ("to_device", "e2ee", "account_data", "receipts", "typing", "org.matrix.msc4308.thread_subscriptions"),
            every,
        ),
    }


def device_keys(user_id: str, device_id: str, chance: random.Random) -> dict[str, Any]:
    """What a device publishes, rightly signed."""
    device = DeviceMaterial(user_id, device_id)
    number = chance.randrange(1_000)
    one_time = {f"signed_curve25519:A{number}": device.signed({"key": "A" * 43})}
    made: dict[str, Any] = {"one_time_keys": one_time}
    if chance.random() < 0.6:
        made["device_keys"] = device.device_keys()
    if chance.random() < 0.3:
        made["fallback_keys"] = {f"signed_curve25519:B{number}": device.signed({"key": "A" * 43, "fallback": True})}
    return made


def push_conditions(chance: random.Random, pick: Pick) -> list[dict[str, Any]]:
    return [
        chance.choice(
            (
                {"kind": "event_match", "key": "content.body", "pattern": "*h?llo*"},
                {"kind": "event_property_is", "key": "content.body", "value": 1},
                {"kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": pick("user")},
                {"kind": "room_member_count", "is": chance.choice(("2", ">=3", "x", "==" + "9" * 50))},
                {"kind": "sender_notification_permission", "key": "room"},
                {"kind": "org.example.unknown"},
            )
        )
    ]
