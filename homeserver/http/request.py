"""What a handler receives and returns. Nothing here knows Twisted: `twisted_server.py` alone does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.users.requester import Requester


@dataclass(slots=True)
class Request:
    """One HTTP request, parsed.

    `path_params` are decoded once; `query` keeps every value of a repeated parameter; `headers` have lower-case names.
    `client_address` is the person's own address: X-Forwarded-For is believed only from configured proxies.
    `requester` is set where the route asks for authentication; `cancelled` callbacks run when the client goes away.
    """

    method: str
    path: str
    path_params: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    client_address: str
    request_id: str
    requester: Requester | None = None

    @property
    def user(self) -> Requester:
        """The authenticated requester of a route whose `auth` guarantees one."""
        assert self.requester is not None, "this route does not authenticate"
        return self.requester


@dataclass(slots=True)
class Response:
    """An answer. `body` is a JSON-able value (msgspec encodes it; `msgspec.Raw` embeds ready bytes) or ready bytes."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
