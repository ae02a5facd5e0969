"""Push rules. Spec: Client-Server API, "Push Rules: API"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http.parsing import parse_body, parse_object, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.push_rules import RuleKind, parse_kind
from homeserver.users.push_rules import PushRules


class _EnabledBody(msgspec.Struct):
    enabled: bool


class _ActionsBody(msgspec.Struct):
    actions: list[Any]


class PushRuleApi:
    """/pushrules."""

    def __init__(self, push_rules: PushRules) -> None:
        self._push_rules = push_rules

    async def get_push_rules(self, request: Request) -> Response:
        return Response({"global": await self._push_rules.ruleset(request.user.user_id)})

    async def get_global_push_rules(self, request: Request) -> Response:
        return Response(await self._push_rules.ruleset(request.user.user_id))

    async def get_push_rule(self, request: Request) -> Response:
        kind, rule_id = _place(request)
        user_id = request.user.user_id
        return Response((await self._push_rules.get_rule(user_id, kind, rule_id)).as_json(user_id))

    async def set_push_rule(self, request: Request) -> Response:
        kind, rule_id = _place(request)
        await self._push_rules.set_rule(
            request.user.user_id,
            kind,
            rule_id,
            parse_object(request),
            before=query_string(request, "before", None),
            after=query_string(request, "after", None),
        )
        return Response({})

    async def delete_push_rule(self, request: Request) -> Response:
        kind, rule_id = _place(request)
        await self._push_rules.delete_rule(request.user.user_id, kind, rule_id)
        return Response({})

    async def get_enabled(self, request: Request) -> Response:
        kind, rule_id = _place(request)
        rule = await self._push_rules.get_rule(request.user.user_id, kind, rule_id)
        return Response({"enabled": rule.enabled})

    async def set_enabled(self, request: Request) -> Response:
        kind, rule_id = _place(request)
        body = parse_body(request, _EnabledBody)
        await self._push_rules.set_enabled(request.user.user_id, kind, rule_id, body.enabled)
        return Response({})

    async def get_actions(self, request: Request) -> Response:
        kind, rule_id = _place(request)
        rule = await self._push_rules.get_rule(request.user.user_id, kind, rule_id)
        return Response({"actions": rule.actions})

    async def set_actions(self, request: Request) -> Response:
        kind, rule_id = _place(request)
        body = parse_body(request, _ActionsBody)
        await self._push_rules.set_actions(request.user.user_id, kind, rule_id, body.actions)
        return Response({})


def _place(request: Request) -> tuple[RuleKind, str]:
    return parse_kind(request.path_params["kind"]), request.path_params["rule_id"]
