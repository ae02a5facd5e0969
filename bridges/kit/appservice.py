"""The side of a bridge that the homeserver calls: answers are computed without Twisted, a thin resource carries them.

Spec: Application Service API, "Homeserver -> Application Service API".
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from bridges.kit.store import StoreUnavailable

log = logging.getLogger(__name__)

MAX_BODY = 32 * 1024 * 1024
PREFIX = "/_matrix/app/v1/"
ROUTES = {"transactions": ("PUT", 2), "users": ("GET", 2), "rooms": ("GET", 2), "ping": ("POST", 1)}


class AppserviceEvents(Protocol):
    """What the listener passes on."""

    async def take_transaction(
        self, transaction_id: str, events: list[dict[str, Any]], ephemeral: list[dict[str, Any]]
    ) -> None: ...

    async def has_user(self, user_id: str) -> bool: ...

    async def has_alias(self, alias: str) -> bool: ...


class _Failure(Exception):
    def __init__(self, status: int, errcode: str, message: str) -> None:
        super().__init__(message)
        self.status, self.errcode, self.message = status, errcode, message


class AppserviceListener:
    """Authenticates the homeserver and answers its calls."""

    def __init__(self, hs_token: str, events: AppserviceEvents) -> None:
        if not hs_token:
            raise ValueError("a bridge without hs_token would believe anybody")
        self._hs_token = hs_token.encode()
        self._events = events

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        """One call: `path` as sent (percent-encoded), header names in lower case. Answers status and JSON body."""
        try:
            return 200, await self._answer(method, path, headers, query, body)
        except _Failure as failure:
            return failure.status, {"errcode": failure.errcode, "error": failure.message}

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
    ) -> dict[str, Any]:
        segments = [unquote(segment) for segment in path.removeprefix(PREFIX).split("/")]
        route = ROUTES.get(segments[0]) if path.startswith(PREFIX) else None
        if route is None or len(segments) != route[1] or not segments[-1]:
            raise _Failure(404, "M_UNRECOGNIZED", "An application service has no such endpoint.")
        if method != route[0]:
            raise _Failure(405, "M_UNRECOGNIZED", f"This endpoint takes {route[0]}.")
        self._check_token(headers, query)
        if segments[0] == "transactions":
            await self._transaction(segments[1], body)
        elif segments[0] == "users" and not await self._events.has_user(segments[1]):
            raise _Failure(404, "M_NOT_FOUND", "This bridge has no such user.")
        elif segments[0] == "rooms" and not await self._events.has_alias(segments[1]):
            raise _Failure(404, "M_NOT_FOUND", "This bridge has no such room.")
        return {}

    def _check_token(self, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        """The header decides; a token in the query (older homeservers) must agree when both are there."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = [token] if scheme.lower() == "bearer" else []
        if "access_token" in query:
            given.append(query["access_token"])
        if not given:
            raise _Failure(401, "M_MISSING_TOKEN", "The homeserver must send its hs_token.")
        if any(not hmac.compare_digest(one.encode("utf-8", "replace"), self._hs_token) for one in given):
            raise _Failure(403, "M_FORBIDDEN", "This is not the hs_token of the registration.")

    async def _transaction(self, transaction_id: str, body: bytes) -> None:
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _Failure(400, "M_NOT_JSON", f"The transaction is not JSON: {error}") from error
        events = decoded.get("events") if isinstance(decoded, dict) else None
        if not isinstance(events, list):
            raise _Failure(400, "M_BAD_JSON", "A transaction needs `events`, a list.")
        ephemeral = decoded.get("ephemeral", decoded.get("de.sorunome.msc2409.ephemeral", []))
        await self._events.take_transaction(
            transaction_id,
            [event for event in events if isinstance(event, dict)],
            [event for event in ephemeral if isinstance(event, dict)] if isinstance(ephemeral, list) else [],
        )


class AppserviceResource(Resource):
    """The listener as a Twisted resource for `/_matrix/app/v1/…`."""

    isLeaf = True

    def __init__(self, listener: AppserviceListener) -> None:
        super().__init__()
        self._listener = listener
        self._running: set[asyncio.Task[None]] = set()

    def render(self, request: Request) -> int:
        task = asyncio.get_running_loop().create_task(self._respond(request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return NOT_DONE_YET

    async def _respond(self, request: Request) -> None:
        gone = False

        def leave(_: object) -> None:
            nonlocal gone
            gone = True

        request.notifyFinish().addBoth(leave)
        headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        query = {
            name.decode("utf-8", "replace"): values[-1].decode("utf-8", "replace")
            for name, values in request.args.items()
        }
        content: Any = request.content
        path = request.uri.decode("latin-1").partition("?")[0]
        try:
            status, answer = await self._listener.answer(
                request.method.decode("latin-1"), path, headers, query, content.read(MAX_BODY)
            )
        except StoreUnavailable as error:
            log.error("a call of the homeserver was not taken: %s", error)
            status, answer = 503, {"errcode": "M_UNKNOWN", "error": "The bridge cannot write; try again."}
        except Exception:
            log.exception("a call of the homeserver failed")
            status, answer = 500, {"errcode": "M_UNKNOWN", "error": "The bridge failed; try again."}
        if not gone:
            request.setResponseCode(status)
            request.setHeader(b"content-type", b"application/json")
            request.write(msgspec.json.encode(answer))
            request.finish()
