"""The route table's row type and the exact router. One decoded path matches one row or none: no prefixes, no
trailing slash, no `..`; unknown path is 404 and known path with another method 405, both M_UNRECOGNIZED."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from homeserver.http.request import Request, Response

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


@dataclass(frozen=True, slots=True)
class Route:
    """One row: `path` is a template such as `/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}`.

    `operation` is the operationId in the spec's OpenAPI, or "" for what the spec does not have.
    `aliases` are further paths of the same operation (r0, unstable prefixes).
    A parameter written `{name?}` may only be the last one and may be empty (`/state/{event_type}/{state_key?}`
    matches `/state/m.room.name` and `/state/m.room.name/`).
    """

    method: str
    path: str
    handler: Handler
    auth: Auth = Auth.USER
    rate: RateClass = RateClass.NONE
    operation: str = ""
    aliases: tuple[str, ...] = ()
