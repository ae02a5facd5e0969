"""What can be asked: every row of the route table, with what the specification and the handler say of its request."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from homeserver.http.routing import Auth, BodySize, Route
from tests.support.openapi import requests_of_the_specification

_BODY = re.compile(r"parse_body\(\s*request,\s*(\w+)")
_QUERY = re.compile(r"query_\w+\(\s*request,\s*\"([\w.]+)\"")


@dataclass(frozen=True)
class Parameter:
    """One of the query or a header."""

    name: str
    is_required: bool
    schema: Any


@dataclass(frozen=True)
class Operation:
    """One row. `bodies` are schemas to choose from (each with its definitions), empty where there is no body."""

    name: str
    method: str
    paths: tuple[str, ...]
    query: tuple[Parameter, ...]
    bodies: tuple[tuple[Any, dict[str, Any]], ...]
    takes_file: bool = False
    auth: Auth = Auth.USER
    takes_form: bool = False


def operations(routes: Iterable[Route], api: str = "client-server") -> list[Operation]:
    """Every row, and what the specification has of this API and the table has not."""
    made = [_of_route(route, api) for route in routes]
    specified = requests_of_the_specification(api)
    served = {operation.name for operation in made}
    for name, row in specified.items():
        if name != "$defs" and name not in served:
            made.append(Operation(name, row["method"], (row["path"],), *_specified(name, api)))
    return made


def _of_route(route: Route, api: str) -> Operation:
    query, bodies = _specified(route.operation, api)
    source = _source(route.handler)
    more = tuple(
        Parameter(name, False, {"type": "string"})
        for name in dict.fromkeys(_QUERY.findall(source))
        if name not in {one.name for one in query}
    )
    own = [_struct_schema(route.handler, name) for name in dict.fromkeys(_BODY.findall(source))]
    own = [one for one in own if one is not None]
    if not own and not bodies and route.method in ("POST", "PUT", "PATCH", "DELETE"):
        own = [({"type": "object"}, {})]
    return Operation(
        name=route.operation or f"{route.method} {route.path}",
        method=route.method,
        paths=(route.path, *route.aliases),
        query=(*query, *more),
        bodies=(*bodies, *(one for one in own if one is not None)),
        takes_file=route.body is BodySize.UPLOAD,
        auth=route.auth,
        takes_form="parse_form" in source,
    )


def _specified(name: str, api: str) -> tuple[tuple[Parameter, ...], tuple[tuple[Any, dict[str, Any]], ...]]:
    specified = requests_of_the_specification(api)
    row = specified.get(name)
    if row is None:
        return (), ()
    query = tuple(
        Parameter(one["name"], one["required"], one["schema"]) for one in row["parameters"] if one["in"] == "query"
    )
    has_body = row["body"] is not None and "not_json" not in row["body"]
    return query, ((row["body"], specified["$defs"]),) if has_body else ()


def _source(handler: Any) -> str:
    """The handler's source, with that of the methods and functions of its module that it calls."""
    try:
        text = inspect.getsource(handler)
    except (OSError, TypeError):
        return ""
    names = getattr(getattr(handler, "__func__", handler), "__globals__", {})
    owner = getattr(handler, "__self__", None)
    for called in set(re.findall(r"(?<!\w)(?:self\.)?(\w+)\(", text)):
        found = getattr(owner, called, None) or names.get(called)
        module = getattr(found, "__module__", "")
        if module == getattr(handler, "__module__", None) and (inspect.isfunction(found) or inspect.ismethod(found)):
            text += inspect.getsource(found)
    return text


def _struct_schema(handler: Any, name: str) -> tuple[Any, dict[str, Any]] | None:
    names = getattr(getattr(handler, "__func__", handler), "__globals__", {})
    kind = names.get(name)
    if kind is None:
        return None
    try:
        schema = msgspec.json.schema(kind)
    except TypeError:
        return None
    return schema, schema.get("$defs", {})
