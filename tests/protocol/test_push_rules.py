"""Push rules: the default ones by what they do, a user's changes and their order, conditions, limits, speed."""

from __future__ import annotations

import time
import timeit
from typing import Any

import pytest

from homeserver.protocol.errors import BadJson, InvalidParam, MatrixError, MissingParam, NotFound, TooLarge, Unknown
from homeserver.protocol.events import Event
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.push_rules import (
    KINDS,
    MAX_RULES,
    NO_CHANGES,
    PushRule,
    RuleKind,
    UserRules,
    highlights,
    notifies,
    parse_kind,
    sound,
    tweaks,
)
from homeserver.protocol.push_rules_evaluation import EventForPush, compile_rules
from homeserver.protocol.push_rules_validation import validate_actions, validate_rule
from homeserver.protocol.room_versions import ROOM_VERSIONS

ALICE = "@alice:example.org"
BOB = "@bob:example.org"
ROOM = "!room:example.org"


def event(
    type: str = "m.room.message",
    content: dict[str, Any] | None = None,
    *,
    state_key: str | None = None,
    members: int = 5,
    power: int = 0,
    levels: dict[str, Any] | None = None,
    creator: str | None = None,
) -> EventForPush:
    """An event by Bob. `levels`: `notifications` of the power levels. `creator`: who made the room, of version 12."""

    def made(type: str, sender: str, content: dict[str, Any], **members: Any) -> Event:
        pdu: dict[str, Any] = {
            "type": type,
            "sender": sender,
            "room_id": ROOM,
            "content": content,
            "depth": 1,
            "origin_server_ts": 1,
            "prev_events": [],
            "auth_events": [],
            **members,
        }
        return Event(pdu, ROOM_VERSIONS["12"], "$event")

    powers = {"users": {} if creator else {BOB: power}, "notifications": levels or {}}
    create = made("m.room.create", creator or "@carol:example.org", {}, state_key="")
    return EventForPush(
        made(
            type,
            BOB,
            {"msgtype": "m.text", "body": "Hello there"} if content is None else content,
            **({} if state_key is None else {"state_key": state_key}),
        ),
        member_count=members,
        levels=PowerLevels(create, made("m.room.power_levels", ALICE, powers, state_key="")),
    )


def rule_for(subject: EventForPush, rules: UserRules = NO_CHANGES, name: str | None = "Alice") -> str | None:
    compiled = compile_rules(rules)
    rule = compiled.matching_rule(subject, ALICE, name)
    actions = compiled.evaluate(subject, ALICE, name)
    assert (None if rule is None else rule.actions) == (None if actions is None else list(actions))
    return None if rule is None else rule.rule_id


def custom(kind: RuleKind, rule_id: str, **body: Any) -> PushRule:
    return validate_rule(kind, rule_id, {"actions": ["notify"], **body})


def matches(condition: dict[str, Any], subject: EventForPush, name: str | None = "Alice") -> bool:
    rules = NO_CHANGES.with_rule(custom("override", "mine", conditions=[condition]))
    return rule_for(subject, rules, name) == "mine"


@pytest.mark.parametrize(
    ("subject", "rule_id"),
    [
        (event(), ".m.rule.message"),
        (event(members=2), ".m.rule.room_one_to_one"),
        (event("m.room.encrypted", {}), ".m.rule.encrypted"),
        (event("m.room.encrypted", {}, members=2), ".m.rule.encrypted_room_one_to_one"),
        (event("m.call.invite", {}), ".m.rule.call"),
        (event(content={"msgtype": "m.notice", "body": "x"}), ".m.rule.suppress_notices"),
        (event("m.room.member", {"membership": "invite"}, state_key=ALICE), ".m.rule.invite_for_me"),
        (event("m.room.member", {"membership": "invite"}, state_key=BOB), ".m.rule.member_event"),
        (event("m.room.member", {"membership": "join"}, state_key=ALICE), ".m.rule.member_event"),
        (event(content={"m.mentions": {"user_ids": [BOB, ALICE]}}), ".m.rule.is_user_mention"),
        (event(content={"m.mentions": {"user_ids": [BOB]}}), ".m.rule.message"),
        (event(content={"m.mentions": {"user_ids": ALICE}}), ".m.rule.message"),
        (event(content={"m.mentions": {"room": True}}, power=50), ".m.rule.is_room_mention"),
        (event(content={"m.mentions": {"room": True}}, power=49), ".m.rule.message"),
        (event(content={"m.mentions": {"room": True}}, levels={"room": 0}), ".m.rule.is_room_mention"),
        (event(content={"m.mentions": {"room": True}}, creator=BOB), ".m.rule.is_room_mention"),
        (event(content={"m.mentions": {"room": 1}}, power=100), ".m.rule.message"),
        (event("m.room.tombstone", {}, state_key=""), ".m.rule.tombstone"),
        (event("m.room.tombstone", {}), None),
        (event("m.reaction", {}), ".m.rule.reaction"),
        (event("m.room.server_acl", {}, state_key=""), ".m.rule.room.server_acl"),
        (event(content={"m.relates_to": {"rel_type": "m.replace"}}), ".m.rule.suppress_edits"),
        (event("org.matrix.msc3381.poll.start", {}), ".org.matrix.msc3930.rule.poll_start"),
        (event("org.matrix.msc3381.poll.end", {}, members=2), ".org.matrix.msc3930.rule.poll_end_one_to_one"),
        (event("org.matrix.msc3381.poll.response", {}), ".org.matrix.msc3930.rule.poll_response"),
        (event("m.room.topic", {"topic": "Alice"}, state_key=""), None),
        (event(content={"msgtype": "m.text", "body": "Alice alice @room"}, power=100), ".m.rule.message"),
    ],
)
def test_default_rules_match_what_the_spec_says(subject: EventForPush, rule_id: str | None) -> None:
    assert rule_for(subject) == rule_id


def test_nobody_is_notified_of_their_own_events() -> None:
    assert compile_rules(NO_CHANGES).evaluate(event(), BOB) is None


def test_the_default_ruleset_is_that_of_the_spec() -> None:
    ruleset = NO_CHANGES.ruleset(ALICE)
    assert list(ruleset) == list(KINDS)
    assert [rule["rule_id"] for rule in ruleset["override"]] == [
        ".m.rule.master",
        ".m.rule.suppress_notices",
        ".m.rule.invite_for_me",
        ".m.rule.member_event",
        ".m.rule.is_user_mention",
        ".m.rule.is_room_mention",
        ".m.rule.tombstone",
        ".m.rule.reaction",
        ".m.rule.room.server_acl",
        ".m.rule.suppress_edits",
        ".org.matrix.msc3930.rule.poll_response",
    ]
    assert [rule["rule_id"] for rule in ruleset["underride"]] == [
        ".m.rule.call",
        ".m.rule.encrypted_room_one_to_one",
        ".m.rule.room_one_to_one",
        ".m.rule.message",
        ".m.rule.encrypted",
        ".org.matrix.msc3930.rule.poll_start_one_to_one",
        ".org.matrix.msc3930.rule.poll_start",
        ".org.matrix.msc3930.rule.poll_end_one_to_one",
        ".org.matrix.msc3930.rule.poll_end",
    ]
    assert ruleset["override"][0] == {
        "rule_id": ".m.rule.master",
        "default": True,
        "enabled": False,
        "conditions": [],
        "actions": [],
    }
    assert ruleset["override"][4]["conditions"] == [
        {"kind": "event_property_contains", "key": "content.m\\.mentions.user_ids", "value": ALICE}
    ]
    assert ruleset["override"][4]["actions"] == [
        "notify",
        {"set_tweak": "sound", "value": "default"},
        {"set_tweak": "highlight"},
    ]


def test_actions_mean_notify_highlight_and_sound() -> None:
    actions = compile_rules(NO_CHANGES).evaluate(event(content={"m.mentions": {"user_ids": [ALICE]}}), ALICE)
    assert notifies(actions)
    assert highlights(actions)
    assert sound(actions) == "default"
    assert tweaks(actions) == {"sound": "default", "highlight": True}
    assert not notifies(None)
    assert not notifies([])
    assert not highlights(["notify"])
    assert sound(["notify"]) is None
    assert not highlights(["notify", {"set_tweak": "highlight", "value": False}])


def test_the_master_rule_silences_everything_even_custom_rules() -> None:
    rules = NO_CHANGES.with_rule(custom("override", "all", conditions=[]))
    assert rule_for(event(), rules) == "all"
    assert rule_for(event(), rules.with_enabled("override", ".m.rule.master", True)) == ".m.rule.master"


def test_kinds_are_checked_in_their_order() -> None:
    rules = NO_CHANGES
    placed: list[tuple[str, str, dict[str, Any]]] = [
        ("underride", "under", {"conditions": []}),
        ("sender", BOB, {}),
        ("room", ROOM, {}),
        ("content", "word", {"pattern": "hello"}),
        ("override", "over", {"conditions": []}),
    ]
    for kind, rule_id, body in placed:
        rules = rules.with_rule(custom(parse_kind(kind), rule_id, **body))
        assert rule_for(event(), rules) == rule_id
    assert rule_for(event(content={}), rules.without_rule("override", "over")) == ROOM


def test_a_custom_rule_precedes_the_default_ones_of_its_kind() -> None:
    rules = NO_CHANGES.with_rule(custom("underride", "under", conditions=[]))
    assert rule_for(event(), rules) == "under"


def own_ids(rules: UserRules) -> list[str]:
    return [rule.rule_id for rule in rules.ordered("content") if not rule.default]


def rules_abc() -> UserRules:
    rules = NO_CHANGES
    for rule_id in "cba":
        rules = rules.with_rule(custom("content", rule_id, pattern=rule_id))
    return rules


def test_a_new_rule_is_the_most_important_of_its_kind() -> None:
    assert own_ids(rules_abc()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [("b", None, "anbc"), (None, "b", "abnc"), ("b", "a", "anbc"), ("a", "c", "nabc"), (None, "c", "abcn")],
)
def test_a_rule_is_placed_before_or_after_another(before: str | None, after: str | None, expected: str) -> None:
    rules = rules_abc().with_rule(custom("content", "n", pattern="n"), before=before, after=after)
    assert own_ids(rules) == list(expected)


def test_an_updated_rule_keeps_its_place_unless_told_otherwise() -> None:
    rules = rules_abc().with_rule(custom("content", "b", pattern="new"))
    assert own_ids(rules) == ["a", "b", "c"]
    assert rules.get("content", "b").pattern == "new"
    assert own_ids(rules.with_rule(custom("content", "a", pattern="a"), after="c")) == ["b", "c", "a"]


def test_an_updated_rule_stays_disabled() -> None:
    rules = rules_abc().with_enabled("content", "b", False).with_rule(custom("content", "b", pattern="new"))
    assert rules.get("content", "b").enabled is False


@pytest.mark.parametrize("neighbour", ["nobody", ".m.rule.master", "n"])
def test_a_rule_cannot_be_placed_relative_to_what_is_not_an_own_rule(neighbour: str) -> None:
    with pytest.raises(Unknown, match="before/after rule not found"):
        rules_abc().with_rule(custom("content", "n", pattern="n"), before=neighbour)


def test_default_rules_can_be_disabled_and_given_other_actions_but_not_deleted() -> None:
    rules = NO_CHANGES.with_enabled("underride", ".m.rule.message", False)
    assert rule_for(event(), rules) is None
    rules = rules.with_enabled("underride", ".m.rule.message", True)
    rules = rules.with_actions("underride", ".m.rule.message", validate_actions([]))
    assert compile_rules(rules).evaluate(event(), ALICE) == ()
    with pytest.raises(InvalidParam):
        rules.without_rule("underride", ".m.rule.message")


def test_own_rules_can_be_disabled_changed_and_deleted() -> None:
    rules = rules_abc().with_actions("content", "b", []).with_enabled("content", "b", False)
    assert rules.get("content", "b").as_json(ALICE) == {
        "rule_id": "b",
        "default": False,
        "enabled": False,
        "actions": [],
        "pattern": "b",
    }
    assert own_ids(rules.without_rule("content", "b")) == ["a", "c"]


def test_unknown_rules_are_not_found() -> None:
    with pytest.raises(NotFound):
        NO_CHANGES.get("override", "x")
    with pytest.raises(NotFound):
        NO_CHANGES.with_enabled("content", ".m.rule.master", True)
    with pytest.raises(NotFound):
        NO_CHANGES.without_rule("room", "x")
    with pytest.raises(InvalidParam):
        parse_kind("overide")


def test_rules_survive_being_stored() -> None:
    rules = rules_abc().with_enabled("override", ".m.rule.master", True).with_enabled("content", "b", False)
    assert UserRules.from_json(rules.to_json()) == rules


def test_equal_rules_share_one_compiled_ruleset() -> None:
    one = NO_CHANGES.with_enabled("override", ".m.rule.master", True).with_enabled("underride", ".m.rule.call", False)
    other = NO_CHANGES.with_enabled("underride", ".m.rule.call", False).with_enabled("override", ".m.rule.master", True)
    assert compile_rules(one) is compile_rules(other)


def test_conditions_of_unknown_kinds_never_match() -> None:
    assert not matches({"kind": "org.example.moon_phase"}, event())


@pytest.mark.parametrize(
    ("key", "pattern", "expected"),
    [
        ("content.topic", "lunc?*", True),
        ("content.topic", "lunch", False),
        ("type", "M.ROOM.*", True),
        ("content.none", "*", False),
        ("content.number", "*", False),
        ("content.m\\.x.y", "Z", True),
        ("content.m.x.y", "z", False),
        ("content.body", "friend", True),
        ("content.body", "frien", False),
        ("content.upper", "İ", True),
    ],
)
def test_event_match(key: str, pattern: str, expected: bool) -> None:
    content = {"topic": "Lunch plans", "number": 1, "m.x": {"y": "z"}, "body": "My FRIEND.", "upper": "İ"}
    assert matches({"kind": "event_match", "key": key, "pattern": pattern}, event(content=content)) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (1, False), ("true", False), (False, False), (None, False)]
)
def test_event_property_is_does_not_cast_types(value: Any, expected: bool) -> None:
    subject = event(content={"m.federate": True})
    condition = {"kind": "event_property_is", "key": "content.m\\.federate", "value": value}
    assert matches(condition, subject) is expected


def test_event_property_is_knows_null_from_absent() -> None:
    condition = {"kind": "event_property_is", "key": "content.x", "value": None}
    assert matches(condition, event(content={"x": None}))
    assert not matches(condition, event(content={}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["#a:b"], True), (["a", 1, {}, "#a:b"], True), ([":b"], False), ("#a:b", False), ([["#a:b"]], False)],
)
def test_event_property_contains(values: Any, expected: bool) -> None:
    condition = {"kind": "event_property_contains", "key": "content.alt_aliases", "value": "#a:b"}
    assert matches(condition, event(content={"alt_aliases": values})) is expected


def test_event_property_contains_does_not_cast_types() -> None:
    condition = {"kind": "event_property_contains", "key": "content.x", "value": 1}
    assert not matches(condition, event(content={"x": [True, "1"]}))
    assert matches(condition, event(content={"x": [1]}))


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("Alice", "hi alice!", True),
        ("Alice", "alices", False),
        ("A*", "abc", False),
        ("A*", "look, a*!", True),
        ("小明", "请问小明在吗", True),
        ("小明", "明小", False),
        ("Zoë", "bonjour zoë", True),
        ("", "anything", False),
        (None, "None", False),
    ],
)
def test_contains_display_name_is_literal_and_knows_words(name: str | None, body: str, expected: bool) -> None:
    assert matches({"kind": "contains_display_name"}, event(content={"body": body}), name) is expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("5", True),
        ("==5", True),
        ("<5", False),
        ("<=5", True),
        (">4", True),
        (">=6", False),
        ("", False),
        ("~5", False),
    ],
)
def test_room_member_count(limit: str, expected: bool) -> None:
    assert matches({"kind": "room_member_count", "is": limit}, event(members=5)) is expected


def test_sender_notification_permission_of_a_level_that_is_not_a_number_is_the_default() -> None:
    condition = {"kind": "sender_notification_permission", "key": "room"}
    assert not matches(condition, event(power=10, levels={"room": "5"}))
    assert matches(condition, event(power=5, levels={"room": 5}))


def test_a_rule_of_a_user_cannot_use_the_placeholder_of_default_rules() -> None:
    condition = {"kind": "event_match", "key": "state_key", "pattern": "[the user's Matrix ID]"}
    assert not matches(condition, event("x", {}, state_key=ALICE))


def test_historical_actions_are_ignored() -> None:
    assert validate_actions(["dont_notify", "notify", "coalesce"]) == ["notify"]


@pytest.mark.parametrize(
    ("kind", "rule_id", "body", "error"),
    [
        ("override", ".mine", {"actions": []}, InvalidParam),
        ("override", "a/b", {"actions": []}, InvalidParam),
        ("override", "a\\b", {"actions": []}, InvalidParam),
        ("override", "", {"actions": []}, InvalidParam),
        ("override", "x", {}, MissingParam),
        ("override", "x", {"actions": "notify"}, BadJson),
        ("override", "x", {"actions": [1]}, BadJson),
        ("override", "x", {"actions": ["shout"]}, InvalidParam),
        ("override", "x", {"actions": [{"tweak": 1}]}, InvalidParam),
        ("override", "x", {"actions": [], "conditions": {}}, BadJson),
        ("override", "x", {"actions": [], "conditions": [{}]}, BadJson),
        ("override", "x", {"actions": [], "conditions": [{"kind": "event_match", "key": "type"}]}, MissingParam),
        ("override", "x", {"actions": [], "conditions": [{"kind": "room_member_count", "is": 2}]}, InvalidParam),
        ("content", "x", {"actions": []}, MissingParam),
        ("content", "x", {"actions": [], "pattern": 1}, BadJson),
    ],
)
def test_bad_rules_are_refused(kind: RuleKind, rule_id: str, body: dict[str, Any], error: type[MatrixError]) -> None:
    with pytest.raises(error) as caught:
        validate_rule(kind, rule_id, body)
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("rule_id", "body"),
    [
        ("x" * 301, {"actions": []}),
        ("字" * 101, {"actions": []}),
        ("x", {"actions": [{"set_tweak": "x" * 1024}]}),
        ("x", {"actions": [], "conditions": [{"kind": "x" * 1024}]}),
    ],
)
def test_D07_rules_and_their_ids_have_a_size_limit(rule_id: str, body: dict[str, Any]) -> None:
    with pytest.raises(TooLarge):
        validate_rule("override", rule_id, body)
    with pytest.raises(TooLarge):
        validate_rule("content", "x", {"actions": [], "pattern": "x" * 1024})


def test_D07_actions_of_default_rules_have_a_size_limit() -> None:
    with pytest.raises(TooLarge):
        validate_actions([{"set_tweak": "sound", "value": "x" * 1024}])


def test_D07_there_is_a_limit_of_rules_and_ten_thousand_of_them_stay_fast() -> None:
    pattern = "*a" * 400
    rules = UserRules(tuple(custom("content", str(n), pattern=f"{pattern}{n}") for n in range(MAX_RULES)))
    with pytest.raises(TooLarge):
        rules.with_rule(custom("content", "one too many", pattern="a"))
    rules.with_rule(custom("content", "5", pattern="an update is no new rule"))
    compiled = compile_rules(rules)
    started = time.process_time()
    for _ in range(10):
        assert compiled.evaluate(event(content={"body": "a" * 1000}), ALICE) == ("notify",)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", ["a?" * 300 + "b", "*a" * 300 + "b"])
def test_D07_ten_thousand_rules_stay_fast_on_the_longest_message_too(pattern: str) -> None:
    rules = UserRules(tuple(custom("content", str(n), pattern=pattern + "?" * (n % 90)) for n in range(MAX_RULES)))
    compiled = compile_rules(rules)
    started = time.process_time()
    assert compiled.evaluate(event(content={"body": "a" * 60_000 + "b"}), ALICE) == ("notify",)
    assert time.process_time() - started < 2


def test_D07_a_few_dozen_keywords_are_found_at_the_end_of_the_longest_message() -> None:
    rules = UserRules(tuple(custom("content", str(n), pattern=f"word{n}") for n in range(75)))
    assert rule_for(event(content={"body": "x " * 32_000 + "word7"}), rules) == "7"
    many = UserRules(tuple(custom("content", str(n), pattern=f"word{n}") for n in range(MAX_RULES)))
    assert rule_for(event(content={"body": "x " * 200 + "word7"}), many) == "7"
    assert rule_for(event(content={"body": "x " * 300 + "word7"}), many) == ".m.rule.message"


def test_an_ordinary_message_takes_less_than_twenty_microseconds_a_user() -> None:
    compiled, subject = compile_rules(NO_CHANGES), event()
    best = min(timeit.repeat(lambda: compiled.evaluate(subject, ALICE, "Alice"), number=500, repeat=7)) / 500
    assert best < 20e-6
