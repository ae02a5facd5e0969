"""What a handler receives and returns. Nothing here knows Twisted: `twisted_server.py` alone does."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from homeserver.users.requester import Requester


@dataclass(slots=True)
class Request:
    """One HTTP request, parsed.

    `path_params` are decoded once; `query` keeps every value of a repeated parameter (`access_token` is taken out of
    it); `headers` have lower-case names, repeated ones joined by ", ".
    `client_address` is the person's own address: X-Forwarded-For is believed only from configured proxies.
    `access_token` is the bearer token as it was sent, unverified; `requester` is set where the route authenticates.
    `body_file` is set instead of `body` for a large body of a route with `BodySize.UPLOAD`; `open_body()` serves both.
    A GET handler is cancelled (asyncio.CancelledError) when the client goes away; see `Route.cancel_on_disconnect`.
    """

    method: str
    path: str
    path_params: Mapping[str, str]
    query: Mapping[str, list[str]]
    headers: Mapping[str, str] = field(repr=False)  # holds secrets, as do the next ones: a repr may reach a log
    body: bytes = field(repr=False)
    client_address: str
    request_id: str
    target: str = ""
    """The request target as it was sent, still encoded: what another server has signed."""
    requester: Requester | None = None
    access_token: str | None = field(default=None, repr=False)
    body_file: BinaryIO | None = None

    @property
    def user(self) -> Requester:
        """The authenticated requester of a route whose `auth` guarantees one."""
        assert self.requester is not None, "this route does not authenticate"
        return self.requester

    def open_body(self) -> BinaryIO:
        """The body as a binary file positioned at its start, whether it was kept in memory or spooled to disk."""
        if self.body_file is not None:
            self.body_file.seek(0)
            return self.body_file
        return io.BytesIO(self.body)


@dataclass(slots=True)
class FileBody:
    """The next `length` bytes of an open binary file; the server reads it in a thread and closes it in every case."""

    file: BinaryIO
    length: int


@dataclass(slots=True)
class StreamBody:
    """Bytes as they come; sent chunked unless `length` is known. The iterator is closed when the client goes away."""

    chunks: AsyncIterator[bytes]
    length: int | None = None


@dataclass(slots=True)
class Response:
    """An answer. `body` is a JSON-able value (msgspec encodes it; `msgspec.Raw` embeds ready bytes), ready `bytes`,
    a `FileBody` or a `StreamBody`. Header names and values are Latin-1 text without line breaks."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
