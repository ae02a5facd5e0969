"""Rows of the route table under the versions of the Client-Server API."""

from __future__ import annotations

from homeserver.http.routing import Auth, Handler, RateClass, Route


def v3(
    method: str,
    path: str,
    handler: Handler,
    auth: Auth,
    rate: RateClass = RateClass.NONE,
    operation: str = "",
    *aliases: str,
) -> Route:
    """A row under /_matrix/client/v3, which r0 means as well. `aliases` are whole paths."""
    paths = (f"/_matrix/client/r0{path}", *aliases)
    return Route(method, f"/_matrix/client/v3{path}", handler, auth, rate, operation, paths)


def v1(
    method: str,
    path: str,
    handler: Handler,
    auth: Auth,
    rate: RateClass = RateClass.NONE,
    operation: str = "",
    *aliases: str,
) -> Route:
    """A row under /_matrix/client/v1. `aliases` are whole paths."""
    return Route(method, f"/_matrix/client/v1{path}", handler, auth, rate, operation, aliases)
