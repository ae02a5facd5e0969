"""What a client may put as a push rule, and the limits (known attack D07).

Spec (v1.19): Client-Server API, `PUT /pushrules/global/{kind}/{ruleId}`, "Actions" and "Conditions".
"""

from __future__ import annotations

from typing import Any, Final

from homeserver.protocol.errors import BadJson, InvalidParam, MissingParam, TooLarge
from homeserver.protocol.push_rules import Action, PushRule, RuleKind, compact_json

MAX_RULE_ID_BYTES: Final = 300
MAX_RULE_BYTES: Final = 1024
"""Of the actions, conditions and pattern of a rule together, as compact JSON; and of the actions of a default rule."""

_HISTORICAL_ACTIONS: Final = ("dont_notify", "coalesce")

# The members that a condition must have, with the types that the spec gives them.
_STRING: Final = (str,)
_SCALAR: Final = (str, int, bool, type(None))
_CONDITION_MEMBERS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "event_match": {"key": _STRING, "pattern": _STRING},
    "event_property_is": {"key": _STRING, "value": _SCALAR},
    "event_property_contains": {"key": _STRING, "value": _SCALAR},
    "room_member_count": {"is": _STRING},
    "sender_notification_permission": {"key": _STRING},
}


def validate_rule(kind: RuleKind, rule_id: str, body: dict[str, Any]) -> PushRule:
    """The rule in the body of a PUT. Raises BadJson, MissingParam, InvalidParam or TooLarge, with a sentence."""
    _check_rule_id(rule_id)
    if kind == "postcontent":
        raise InvalidParam("The rules of this kind are the server's own (MSC4306).")
    if "actions" not in body:
        raise MissingParam("A push rule needs 'actions', which may be an empty list.")
    actions = validate_actions(body["actions"])
    conditions: list[Any] = []
    pattern: str | None = None
    if kind in ("override", "underride"):
        conditions = _validate_conditions(body.get("conditions", []))
    elif kind == "content":
        if "pattern" not in body:
            raise MissingParam("A content push rule needs a 'pattern'.")
        pattern = body["pattern"]
        if not isinstance(pattern, str):
            raise BadJson("The 'pattern' of a push rule must be a string.")
    rule = PushRule(kind, rule_id, compact_json(actions), compact_json(conditions), pattern)
    _check_size(rule.actions_json, rule.conditions_json, compact_json(pattern or ""))
    return rule


def validate_actions(value: Any) -> list[Action]:
    """The actions of a rule, without the historical ones. Raises BadJson, InvalidParam or TooLarge.

    "Clients and homeservers MUST ignore these actions [dont_notify, coalesce], for instance, by stripping them".
    """
    if not isinstance(value, list):
        raise BadJson("The 'actions' of a push rule must be a list.")
    actions: list[Action] = []
    for action in value:
        if isinstance(action, dict):
            if not isinstance(action.get("set_tweak"), str):
                raise InvalidParam("An action that is an object must have a 'set_tweak' string.")
        elif not isinstance(action, str):
            raise BadJson("Each action of a push rule must be a string or an object.")
        elif action in _HISTORICAL_ACTIONS:
            continue
        elif action != "notify":
            raise InvalidParam(f"{action[:50]!r} is not an action; use 'notify' or an object with 'set_tweak'.")
        actions.append(action)
    _check_size(compact_json(actions))
    return actions


def _check_rule_id(rule_id: str) -> None:
    if not rule_id:
        raise InvalidParam("A push rule needs an ID.")
    if rule_id.startswith("."):
        raise InvalidParam("IDs of push rules that start with a dot are reserved for the server's default rules.")
    if "/" in rule_id or "\\" in rule_id:
        raise InvalidParam("The ID of a push rule may not contain slashes or backslashes.")
    if len(rule_id.encode("utf-8", "surrogatepass")) > MAX_RULE_ID_BYTES:
        raise TooLarge(f"The ID of a push rule may be at most {MAX_RULE_ID_BYTES} bytes long.")


def _check_size(*texts: str) -> None:
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > MAX_RULE_BYTES:
        raise TooLarge(f"A push rule may be at most {MAX_RULE_BYTES} bytes long, its actions included.")


def _validate_conditions(value: Any) -> list[Any]:
    """Conditions of unknown kinds are kept: they never match, and a newer client may know them."""
    if not isinstance(value, list):
        raise BadJson("The 'conditions' of a push rule must be a list.")
    for condition in value:
        if not isinstance(condition, dict) or not isinstance(condition.get("kind"), str):
            raise BadJson("Each condition of a push rule must be an object with a 'kind' string.")
        kind = condition["kind"]
        for member, types in _CONDITION_MEMBERS.get(kind, {}).items():
            if member not in condition:
                raise MissingParam(f"A condition of the kind {kind} needs '{member}'.")
            if not isinstance(condition[member], types):
                raise InvalidParam(f"The '{member}' of a condition of the kind {kind} has the wrong type.")
    return value
