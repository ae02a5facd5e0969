"""One request from raw parts to a finished answer: routing, CORS, who is asking, limits, errors, the access log.

Knows neither sockets nor Twisted: `twisted_server.py` and the tests' in-memory client both call `respond`.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import msgspec

from homeserver.clock import Clock
from homeserver.http import errors
from homeserver.http.authentication import Authenticator, take_access_token
from homeserver.http.client_address import ProxyTrust
from homeserver.http.parsing import parse_query
from homeserver.http.rate_limits import NoRateLimits, RateLimiter
from homeserver.http.request import FileBody, Request, Response, StreamBody
from homeserver.http.routing import Auth, BodySize, Match, RateClass, Router
from homeserver.logs import redact
from homeserver.logs import request_id as request_id_of_task
from homeserver.metrics import RequestMetrics
from homeserver.protocol.errors import MatrixError, TooLarge
from homeserver.users.requester import Requester

_log = logging.getLogger("homeserver.http")
_access = logging.getLogger("homeserver.http.access")

CORS_HEADERS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS"),
    ("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization"),
)
"""Spec: "Web Browser Clients". `*` is safe because nothing of this API reads cookies (row F14)."""
_CORS_PATHS: Final = ("/_matrix/", "/.well-known/", "/_synapse/", "/_halfdoor/oauth2/")
_CONDITIONAL_PATH: Final = "/_matrix/client/unstable/org.matrix.msc4108/"
"""MSC4108 compares ETags, which browsers must be allowed to send."""
_PREFLIGHT_HEADERS: Final = (*CORS_HEADERS, ("Access-Control-Max-Age", "86400"))

_SMALL_BODY: Final = 64 * 1024

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Sizes in bytes; `trusted_proxies` are networks, addresses or "unix"."""

    json_body_limit: int = 1024 * 1024
    transaction_body_limit: int = 200 * 64 * 1024
    upload_body_limit: int = 50 * 1024 * 1024
    trusted_proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BodyPlan:
    """How much of a body is taken, and whether a large one goes to disk."""

    limit: int
    spools: bool


@dataclass(slots=True)
class Reply:
    """A finished answer, ready for the wire; Content-Length and Date are the server's to add. `headers` in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | FileBody | StreamBody
    request_id: str = ""


@dataclass(slots=True)
class _Progress:
    """What is known so far of a request, for its log line and metrics."""

    operation: str = "unknown"
    requester: str = "-"
    headers: list[tuple[str, str]] = field(default_factory=list)


class HttpApplication:
    """Answers requests for the routes of one `Router`. Several listeners with different routes have one each, and
    share the limiter and the metrics."""

    def __init__(
        self,
        router: Router,
        authenticator: Authenticator,
        rate_limiter: RateLimiter | None = None,
        *,
        clock: Clock,
        settings: HttpSettings | None = None,
        metrics: RequestMetrics | None = None,
    ) -> None:
        self.router = router
        self.settings = settings or HttpSettings()
        self.small_body = min(_SMALL_BODY, self.settings.json_body_limit, self.settings.upload_body_limit)
        """Bodies up to this size are taken on every route; only larger ones need a `body_plan`."""
        self.metrics = metrics or RequestMetrics()
        self._authenticator = authenticator
        self._limiter = rate_limiter or NoRateLimits()
        self._clock = clock
        self.proxies = ProxyTrust(self.settings.trusted_proxies)
        self._id_prefix = secrets.token_hex(3)
        self._id_counter = 0

    def body_plan(self, method: str, raw_target: str) -> BodyPlan:
        """How the body of a request is to be taken; asked when its headers are there and before its body."""
        settings = self.settings
        try:
            route = self.router.match(method, split_target(raw_target)[0]).route
        except MatrixError:
            return BodyPlan(settings.json_body_limit, spools=False)
        return BodyPlan(self._limit_of(route.body), spools=route.body is BodySize.UPLOAD)

    def _limit_of(self, body: BodySize) -> int:
        settings = self.settings
        if body is BodySize.UPLOAD:
            return settings.upload_body_limit
        return settings.transaction_body_limit if body is BodySize.TRANSACTION else settings.json_body_limit

    def is_cancellable(self, method: str, raw_target: str) -> bool:
        """Whether the handler is to be cancelled when the client goes away."""
        try:
            return self.router.match(method, split_target(raw_target)[0]).route.is_cancellable
        except MatrixError:
            return True

    def refuse(self, error: MatrixError, raw_target: str = "/_matrix/") -> Reply:
        """The answer to a request that was refused before its body was read."""
        return Reply(
            errors.status_of(error),
            [*_json_headers(split_target(raw_target)[0]), *errors.headers_of(error).items()],
            _encode(error.body()),
        )

    def refuse_form(self) -> Reply:
        """The 415 for multipart/form-data (row D01)."""
        return Reply(415, _json_headers("/_matrix/"), errors.UNSUPPORTED_MEDIA_TYPE)

    async def respond(
        self,
        method: str,
        raw_target: str,
        headers: Mapping[str, str],
        body: bytes,
        peer_address: str,
        *,
        body_file: BinaryIO | None = None,
    ) -> Reply:
        """Answer one request; never raises but for cancellation. `raw_target` is still percent-encoded, `headers` have
        lower-case names."""
        started = self._clock.monotonic()
        self._id_counter += 1
        request_id = f"{self._id_prefix}{self._id_counter:x}"
        request_id_of_task.set(request_id)
        progress = _Progress()
        path, query = split_target(raw_target)
        self.metrics.in_flight += 1
        reply: Reply | None = None
        try:
            reply = await self._answer(
                method, path, query, headers, body, peer_address, body_file, request_id, progress, raw_target
            )
        except MatrixError as error:
            reply = Reply(
                errors.status_of(error),
                [*_json_headers(path), *errors.headers_of(error).items()],
                _encode_error(error),
            )
        except Exception:
            _log.exception("Unexpected error in %s %s", method, redact(path))
            reply = Reply(500, _json_headers(path), errors.INTERNAL_ERROR)
        finally:
            self.metrics.in_flight -= 1
            elapsed = self._clock.monotonic() - started
            status = reply.status if reply is not None else 499
            self.metrics.observe(progress.operation, status, elapsed)
            if _access.isEnabledFor(logging.INFO):
                _access.info("%s %s %d %.1fms %s", method, path, status, elapsed * 1000, progress.requester)
        reply.headers.append(("X-Request-Id", request_id))
        reply.request_id = request_id
        return reply

    async def _answer(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        peer_address: str,
        body_file: BinaryIO | None,
        request_id: str,
        progress: _Progress,
        target: str,
    ) -> Reply:
        if method == "OPTIONS" and path.startswith(_CORS_PATHS):
            progress.operation = "preflight"
            allowed = dict(_PREFLIGHT_HEADERS)
            if path.startswith(_CONDITIONAL_PATH):
                allowed["Access-Control-Allow-Headers"] += ", If-Match, If-None-Match"
            return Reply(204, list(allowed.items()), b"")
        match: Match = self.router.match(method, path)
        route = match.route
        progress.operation = route.operation or f"{route.method} {route.path}"
        limit = self._limit_of(route.body)
        if len(body) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.")
        parsed_query = parse_query(query)
        request = Request(
            method=method,
            path=path,
            path_params=match.path_params,
            query=parsed_query,
            headers=headers,
            body=body,
            client_address=self.proxies.client_of(peer_address, headers.get("x-forwarded-for")),
            request_id=request_id,
            target=target,
            access_token=take_access_token(headers, parsed_query, in_query=route.token_in_query),
            body_file=body_file,
        )
        if route.auth is not Auth.NONE:
            request.requester = await self._authenticator.authenticate(request, route.auth)
            if request.requester is not None:
                progress.requester = request.requester.user_id
        if route.rate is not RateClass.NONE:
            caller = request.requester
            if route.auth is Auth.NONE and request.access_token is not None:
                caller = await self._caller(request)
            self._limiter.check(route.rate, caller, request.client_address, match.path_params.get("room_id"))
        response = await route.handler(request)
        return _finish(response, path)

    async def _caller(self, request: Request) -> Requester | None:
        """Who calls a route that asks nobody for a token, as far as limits care: an application service that registers
        its users is not limited. A token that is worth nothing is nobody's."""
        with contextlib.suppress(MatrixError):
            return await self._authenticator.authenticate(request, Auth.OPTIONAL)
        return None


def split_target(raw_target: str) -> tuple[str, str]:
    """Path and query of a request target, both still encoded. The absolute form is for proxies but must be taken
    (RFC 9112, section 3.2.2)."""
    if not raw_target.startswith("/"):
        scheme, separator, rest = raw_target.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            raw_target = "/" + rest.partition("/")[2]
    path, _, query = raw_target.partition("?")
    return path, query


def _json_headers(path: str) -> list[tuple[str, str]]:
    if path.startswith(_CORS_PATHS):
        return [("Content-Type", "application/json"), *CORS_HEADERS]
    return [("Content-Type", "application/json")]


def _encode_error(error: MatrixError) -> bytes:
    """The body of an error; text that JSON cannot carry (half surrogate pairs from a request) is escaped."""
    try:
        return _encode(error.body())
    except UnicodeEncodeError:
        text = error.message.encode("utf-8", "backslashreplace").decode()
        return _encode({"errcode": error.errcode, "error": text})


def _finish(response: Response, path: str) -> Reply:
    body = response.body
    headers = [("Content-Type", response.content_type)]
    if path.startswith(_CORS_PATHS):
        headers.extend(CORS_HEADERS)
    if response.headers:
        own = {name.lower() for name in response.headers}
        headers = [header for header in headers if header[0].lower() not in own]
        headers.extend(response.headers.items())
    if not isinstance(body, bytes | FileBody | StreamBody):
        body = _encode(body)
    return Reply(response.status, headers, body)
