"""The server-default push rules, as the spec writes them, in their order of priority.

Since v1.17 the spec has no default rules that look for mentions in the body (`contains_display_name`,
`contains_user_name`, `roomnotif`): mentions are what `m.mentions` says.

Spec (v1.19): Client-Server API, "Push Notifications", "Predefined Rules".
"""

from __future__ import annotations

from typing import Any, Final

USER_ID: Final = "[the user's Matrix ID]"
"""Stands in a condition for the ID of the user whose rules these are, so that everybody shares the same rules."""

_SOUND: Final = {"set_tweak": "sound", "value": "default"}
_RING: Final = {"set_tweak": "sound", "value": "ring"}
_HIGHLIGHT: Final = {"set_tweak": "highlight"}


def _match(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _is(key: str, value: Any) -> dict[str, Any]:
    return {"kind": "event_property_is", "key": key, "value": value}


_TWO_MEMBERS: Final = {"kind": "room_member_count", "is": "2"}


def _poll_rules(what: str) -> list[tuple[str, list[Any], list[Any]]]:
    rule_id, is_poll = f".org.matrix.msc3930.rule.poll_{what}", _match("type", f"org.matrix.msc3381.poll.{what}")
    return [
        (f"{rule_id}_one_to_one", [_TWO_MEMBERS, is_poll], ["notify", _SOUND]),
        (rule_id, [is_poll], ["notify"]),
    ]


THREAD_SUBSCRIPTION: Final = "io.element.msc4306.thread_subscription"
"""The kind of condition that asks whether the user follows the thread that an event is in."""

MASTER_RULE: Final = ".m.rule.master"
"""Matches everything and notifies of nothing. "This one has always a higher priority than other rules, even user
defined ones. By default this rule is disabled."""

# rule_id, conditions, actions
DEFAULT_OVERRIDE: Final[list[tuple[str, list[Any], list[Any]]]] = [
    (MASTER_RULE, [], []),
    (".m.rule.suppress_notices", [_match("content.msgtype", "m.notice")], []),
    (
        ".m.rule.invite_for_me",
        [_match("type", "m.room.member"), _match("content.membership", "invite"), _match("state_key", USER_ID)],
        ["notify", _SOUND],
    ),
    (".m.rule.member_event", [_match("type", "m.room.member")], []),
    (
        ".m.rule.is_user_mention",
        [{"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": USER_ID}],
        ["notify", _SOUND, _HIGHLIGHT],
    ),
    (
        ".m.rule.is_room_mention",
        [_is("content.m\\.mentions.room", True), {"kind": "sender_notification_permission", "key": "room"}],
        ["notify", _HIGHLIGHT],
    ),
    (".m.rule.tombstone", [_match("type", "m.room.tombstone"), _match("state_key", "")], ["notify", _HIGHLIGHT]),
    (".m.rule.reaction", [_match("type", "m.reaction")], []),
    (".m.rule.room.server_acl", [_match("type", "m.room.server_acl"), _match("state_key", "")], []),
    (".m.rule.suppress_edits", [_is("content.m\\.relates_to.rel_type", "m.replace")], []),
    (".org.matrix.msc3930.rule.poll_response", [_match("type", "org.matrix.msc3381.poll.response")], []),
]

DEFAULT_POSTCONTENT: Final[list[tuple[str, list[Any], list[Any]]]] = [
    (".io.element.msc4306.rule.unsubscribed_thread", [{"kind": THREAD_SUBSCRIPTION, "subscribed": False}], []),
    (
        ".io.element.msc4306.rule.subscribed_thread",
        [{"kind": THREAD_SUBSCRIPTION, "subscribed": True}],
        ["notify", _SOUND],
    ),
]
"""MSC4306. Nobody has rules of their own of this kind."""

DEFAULT_UNDERRIDE: Final[list[tuple[str, list[Any], list[Any]]]] = [
    (".m.rule.call", [_match("type", "m.call.invite")], ["notify", _RING]),
    (
        ".m.rule.encrypted_room_one_to_one",
        [_TWO_MEMBERS, _match("type", "m.room.encrypted")],
        ["notify", _SOUND],
    ),
    (".m.rule.room_one_to_one", [_TWO_MEMBERS, _match("type", "m.room.message")], ["notify", _SOUND]),
    (".m.rule.message", [_match("type", "m.room.message")], ["notify"]),
    (".m.rule.encrypted", [_match("type", "m.room.encrypted")], ["notify"]),
    *_poll_rules("start"),
    *_poll_rules("end"),
]
"""The last ones are of MSC3930: polls (MSC3381) notify as messages do."""
