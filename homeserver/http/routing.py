"""The route table's row type and the exact router. One decoded path matches one row or none: no prefixes, no
trailing slash, no `..`; unknown path is 404 and known path with another method 405, both M_UNRECOGNIZED."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, MethodNotAllowed, Unrecognized

Handler = Callable[[Request], Awaitable[Response]]


class Auth(enum.Enum):
    """Who may call a route."""

    NONE = "none"
    OPTIONAL = "optional"  # a token is honoured when given, and must then be valid
    USER = "user"  # a full account (or an application service acting as one); guests get M_GUEST_ACCESS_FORBIDDEN
    GUEST = "guest"  # a full account or a guest
    ADMIN = "admin"  # a server administrator
    APPSERVICE = "appservice"  # an application service's as_token


class RateClass(enum.Enum):
    """Which of the configured limits a route draws on."""

    NONE = "none"
    READ = "read"
    MESSAGE = "message"
    LOGIN = "login"
    REGISTRATION = "registration"
    JOIN = "join"
    INVITE = "invite"
    CREATE_ROOM = "create_room"
    REPORT = "report"
    SEARCH = "search"
    TYPING = "typing"
    UPLOAD = "upload"
    MEDIA_CREATE = "media_create"
    PREVIEW = "preview"


class BodySize(enum.Enum):
    """Which of the body limits a route has; UPLOAD bodies are spooled to disk (`Request.open_body`). TRANSACTION is for
    what one server brings another: fifty events of 64 KiB and a hundred EDUs."""

    JSON = "json"
    TRANSACTION = "transaction"
    UPLOAD = "upload"


class RouteGroup(enum.Enum):
    """Which part of the server a route is; a listener serves some of them."""

    CLIENT = "client"
    APPSERVICE = "appservice"
    ADMIN = "admin"
    FEDERATION = "federation"
    METRICS = "metrics"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Route:
    """One row: `path` is a template such as `/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}`.

    `operation` is the operationId in the spec's OpenAPI, or "" for what the spec does not have.
    `aliases` are further paths of the same operation (r0, unstable prefixes).
    A parameter written `{name?}` may only be the last one and may be empty (`/state/{event_type}/{state_key?}`
    matches `/state/m.room.name` and `/state/m.room.name/`).
    `cancel_on_disconnect` cancels the handler when the client goes away; None means for GET only, since a write that
    was begun should end one way or the other.
    `token_in_query`: whether the deprecated query parameter is taken for a token. Addresses of files are copied and
    sent to others, so they take none (row E09).
    """

    method: str
    path: str
    handler: Handler
    auth: Auth = Auth.USER
    rate: RateClass = RateClass.NONE
    operation: str = ""
    aliases: tuple[str, ...] = ()
    body: BodySize = BodySize.JSON
    group: RouteGroup = RouteGroup.CLIENT
    cancel_on_disconnect: bool | None = None
    token_in_query: bool = True

    @property
    def is_cancellable(self) -> bool:
        return self.method == "GET" if self.cancel_on_disconnect is None else self.cancel_on_disconnect


class WrongMethod(MethodNotAllowed):
    """The path exists, the method does not; `allowed` goes out as the Allow header."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(sorted({*allowed, "OPTIONS"}))
        super().__init__(f"This path does not take that method; it takes {', '.join(self.allowed)}.")


@dataclass(slots=True)
class _Leaf:
    """What answers one template: routes by method and the names of its parameters."""

    routes: dict[str, Route]
    names: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    """One segment of the tree. `leaves` are those whose template ends here (several when parameter names differ)."""

    static: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    leaves: list[_Leaf] = field(default_factory=list)
    empty_leaves: list[_Leaf] = field(default_factory=list)  # templates whose last, optional parameter may be empty


@dataclass(frozen=True, slots=True)
class Match:
    """The row that answers and the decoded values of its parameters."""

    route: Route
    path_params: dict[str, str]


class Router:
    """Finds the row of a request in a tree of segments. Static segments win over parameters, and are compared as they
    were sent: a percent-encoded spelling of them is another path (row D03 of the known attacks)."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ValueError when a template is malformed or two rows claim the same method and path."""
        self.routes: tuple[Route, ...] = tuple(routes)
        self._root = _Node()
        self._complete: dict[tuple[str, str], Match] = {}
        for route in self.routes:
            for template in (route.path, *route.aliases):
                self._add(route, template)

    def match(self, method: str, path: str) -> Match:
        """The row for a raw path (still percent-encoded, without query). HEAD is answered by the row for GET.

        Raises Unrecognized (404), WrongMethod (405), or InvalidParam for a parameter that is not encoded UTF-8.
        """
        if method == "HEAD":
            method = "GET"
        complete = self._complete.get((method, path))
        if complete is not None:
            return complete
        segments = path.split("/")
        if segments[0] or len(segments) < 2:
            raise Unrecognized("This server does not know that path.")
        allowed: set[str] = set()
        found = _find(self._root, segments, 1, [], method, allowed)
        if found is None:
            if allowed:
                raise WrongMethod(allowed | {"HEAD"} if "GET" in allowed else allowed)
            raise Unrecognized("This server does not know that path.")
        leaf, values = found
        decoded = [_decode(value) if "%" in value else value for value in values]
        return Match(leaf.routes[method], dict(zip(leaf.names, decoded, strict=True)))

    def _add(self, route: Route, template: str) -> None:
        if not template.startswith("/"):
            raise ValueError(f"The path of a route begins with a slash: {template!r}")
        segments = template.split("/")[1:]
        names: list[str] = []
        node = self._root
        for number, segment in enumerate(segments):
            if not segment.startswith("{"):
                # A template may end with a slash, as `/pushrules/` of the specification does; then the path must, too.
                if "{" in segment or (not segment and number != len(segments) - 1):
                    raise ValueError(f"A segment is either plain text or one parameter: {template!r}")
                following = node.static.get(segment)
                if following is None:
                    following = node.static[segment] = _Node()
                node = following
                continue
            name = segment.removeprefix("{").removesuffix("}")
            is_optional = name.endswith("?")
            name = name.removesuffix("?")
            if not segment.endswith("}") or not name.isidentifier() or name in names:
                raise ValueError(f"Not a parameter: {segment!r} in {template!r}")
            if is_optional and number != len(segments) - 1:
                raise ValueError(f"Only the last parameter may be optional: {template!r}")
            names.append(name)
            if is_optional:
                _claim(node.leaves, route, tuple(names), template)
                _claim(node.empty_leaves, route, tuple(names), template)
            if node.parameter is None:
                node.parameter = _Node()
            node = node.parameter
        _claim(node.leaves, route, tuple(names), template)
        if not names:
            self._complete[(route.method, template)] = Match(route, {})


def _claim(leaves: list[_Leaf], route: Route, names: tuple[str, ...], template: str) -> None:
    if any(route.method in leaf.routes for leaf in leaves):
        raise ValueError(f"Two routes answer {route.method} {template}")
    for leaf in leaves:
        if leaf.names == names:
            leaf.routes[route.method] = route
            return
    leaves.append(_Leaf({route.method: route}, names))


def _find(
    node: _Node, segments: list[str], position: int, values: list[str], method: str, allowed: set[str]
) -> tuple[_Leaf, list[str]] | None:
    """Depth first, static before parameter; `allowed` collects the methods of leaves that only the method missed."""
    if position == len(segments):
        return _choose(node.leaves, values, method, allowed)
    segment = segments[position]
    child = node.static.get(segment)
    if child is not None:
        found = _find(child, segments, position + 1, values, method, allowed)
        if found is not None:
            return found
    if not segment:
        return _choose(node.empty_leaves, values, method, allowed) if position == len(segments) - 1 else None
    if node.parameter is not None and segment not in (".", ".."):
        return _find(node.parameter, segments, position + 1, [*values, segment], method, allowed)
    return None


def _choose(leaves: list[_Leaf], values: list[str], method: str, allowed: set[str]) -> tuple[_Leaf, list[str]] | None:
    for leaf in leaves:
        if method in leaf.routes:
            missing = len(leaf.names) - len(values)
            return leaf, [*values, ""] if missing else values
        allowed.update(leaf.routes)
    return None


def _decode(segment: str) -> str:
    """One parameter, decoded once: an encoded slash stays inside it."""
    for piece in segment.split("%")[1:]:
        if len(piece) < 2 or not (piece[0] in _HEX and piece[1] in _HEX):
            raise InvalidParam("The path holds a % that is not followed by two hexadecimal digits.")
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidParam("The path holds a parameter that is not UTF-8.") from None
    if "\0" in text:
        raise InvalidParam("The path holds a parameter with a NUL character.")
    return text


_HEX = frozenset("0123456789abcdefABCDEF")
