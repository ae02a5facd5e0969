"""Signed requests to other servers, with a memory of who does not answer.

What another server answers is its own affair: its errors come back as `RemoteRefused`, and never as an error that would
make a client of ours believe something of its own session (B17).

Spec: Server-Server API, "API standards", "Request Authentication".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from signedjson.types import SigningKey

from federation.backoff import Backoff
from federation.request_signing import sign_request
from federation.server_discovery import ServerDiscovery
from homeserver.outbound.client import Outbound, Receive
from homeserver.outbound.failures import OutboundFailed
from homeserver.protocol import canonical_json
from homeserver.protocol.errors import Forbidden, MatrixError, RemoteServerFailed
from homeserver.protocol.identifiers import is_server_name
from homeserver.protocol.server_acl import ServerAcl

TIMEOUT_SECONDS: Final = 60.0
MAX_BYTES: Final = 10 * 1024 * 1024
KEYS_BYTES: Final = 32_768
STATE_BYTES: Final = 200 * 1024 * 1024

_MAY_NOT: Final = frozenset({"M_FORBIDDEN", "M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN"})

EVERYBODY: Final = ServerAcl(None)
"""The servers that this one has to do with, unless its operator chooses."""

_decode = msgspec.json.Decoder().decode
_log = logging.getLogger("federation.client")


class RemoteFailed(RemoteServerFailed):
    """Another server did not do what was asked of it."""


class RemoteUnreachable(RemoteFailed):
    """Another server was not reached, or not asked since it has not answered for a while."""


class RemoteRefused(RemoteFailed):
    """Another server answered with an error: `status` and `remote_errcode`, with the body's members."""

    def __init__(self, server_name: str, status: int, body: Any) -> None:
        self.status = status
        said = body if isinstance(body, dict) else {}
        errcode, error = said.get("errcode"), said.get("error")
        self.remote_errcode = errcode if isinstance(errcode, str) else ""
        self.remote_body = said
        text = error if isinstance(error, str) else "no reason"
        super().__init__(f"{server_name} answered {status} {self.remote_errcode}: {text[:300]}")

    def as_answer(self) -> MatrixError:
        """What a client of ours is told: that it may not, where the other server said so; else that it failed."""
        if self.remote_errcode in _MAY_NOT:
            return Forbidden(str(self.remote_body.get("error", self.message))[:300])
        return self


def is_for_now(error: Exception) -> bool:
    """Whether it was the moment that failed: another server was not reached, or could not answer just then."""
    if isinstance(error, RemoteRefused):
        return error.status >= 500 or error.status == 429
    return isinstance(error, RemoteUnreachable)


class FederationClient:
    """Asks other servers."""

    def __init__(
        self,
        *,
        outbound: Outbound,
        discovery: ServerDiscovery,
        backoff: Backoff,
        own_name: str,
        signing_key: SigningKey,
        partners: ServerAcl = EVERYBODY,
    ) -> None:
        self._outbound = outbound
        self._discovery = discovery
        self._backoff = backoff
        self._own_name = own_name
        self._signing_key = signing_key
        self._partners = partners

    async def get(self, destination: str, path: str, query: Mapping[str, Any] | None = None, **options: Any) -> Any:
        return await self.request(destination, "GET", path, query, **options)

    async def request(
        self,
        destination: str,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        max_bytes: int = MAX_BYTES,
        patient: bool = False,
        decode: Callable[[bytes], Any] = _decode,
    ) -> Any:
        """The JSON that `destination` answers. `path` is encoded (`encoded`). `patient`: ask even who has not answered
        for a while. Raises RemoteUnreachable, RemoteRefused."""
        if not is_server_name(destination) or destination == self._own_name:
            raise RemoteUnreachable("That is not another server's name")  # it becomes part of a URL (C05)
        if not self._partners.allows(destination):
            raise RemoteUnreachable(f"This server has nothing to do with {destination}")
        if not patient and not self._backoff.may_ask(destination):
            raise RemoteUnreachable(f"{destination} has not answered for a while")
        target = path if not query else f"{path}?{urlencode(query, doseq=True)}"
        content = None if body is None else canonical_json.encode(body)
        headers = {
            "Authorization": sign_request(
                method, target, body, origin=self._own_name, destination=destination, key=self._signing_key
            )
        }
        if content is not None:
            headers["Content-Type"] = "application/json"
        failure = OutboundFailed("not reached", f"{destination} has no address")
        for location in await self._discovery.locate(destination):
            try:
                answer = await self._outbound.request(
                    method,
                    f"https://{location.authority}{target}",
                    headers=headers,
                    body=content,
                    timeout=timeout,
                    max_bytes=max_bytes,
                    connect_to=location.connect_to,
                )
            except OutboundFailed as error:
                failure = error
                continue
            try:
                decoded = decode(answer.body) if 200 <= answer.status < 300 else _decode(answer.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                decoded = None
            if 200 <= answer.status < 300 and decoded is not None:
                await self._backoff.note_success(destination)
                return decoded
            if answer.status >= 500 or answer.status == 429 or decoded is None:
                await self._backoff.note_failure(destination)
            elif not patient:  # the sender has its own idea of what that means
                await self._backoff.note_success(destination)
            raise RemoteRefused(destination, answer.status, decoded)
        await self._backoff.note_failure(destination)
        raise RemoteUnreachable(f"{destination} was not reached: {failure}")

    async def download(
        self,
        destination: str,
        path: str,
        query: Mapping[str, Any],
        receive: Receive,
        *,
        max_bytes: int,
        timeout: float,
        is_signed: bool = True,
    ) -> Mapping[str, str]:
        """Stream what `destination` answers to a GET into `receive`; the answer's headers. Raises RemoteUnreachable,
        RemoteRefused (whose body went to `receive`), OutboundFailed (too large, say). `is_signed` False: as anybody,
        who may be sent on to another address."""
        if not is_server_name(destination) or destination == self._own_name:
            raise RemoteUnreachable("That is not another server's name")  # it becomes part of a URL (C05)
        if not self._partners.allows(destination):
            raise RemoteUnreachable(f"This server has nothing to do with {destination}")
        if not self._backoff.may_ask(destination):
            raise RemoteUnreachable(f"{destination} has not answered for a while")
        target = f"{path}?{urlencode(query)}"
        sent = sign_request("GET", target, None, origin=self._own_name, destination=destination, key=self._signing_key)
        location = (await self._discovery.locate(destination))[0]
        answer = await self._outbound.stream(
            "GET",
            f"https://{location.authority}{target}",
            receive,
            headers={"Authorization": sent} if is_signed else {},
            timeout=timeout,
            max_bytes=max_bytes,
            redirects=0 if is_signed else 3,
            connect_to=location.connect_to,
        )
        if answer.status != 200:
            raise RemoteRefused(destination, answer.status, None)
        return answer.headers

    # ---- keys (`KeyFetcher`)

    async def fetch_keys(self, server_name: str, *, patient: bool = False) -> Any:
        return await self.request(
            server_name, "GET", "/_matrix/key/v2/server", timeout=15, max_bytes=KEYS_BYTES, patient=patient
        )

    async def query_notary(self, notary: str, server_name: str, key_ids: Collection[str]) -> Any:
        wanted: dict[str, Any] = {server_name: {key_id: {} for key_id in key_ids}}
        return await self.request(notary, "POST", "/_matrix/key/v2/query", body={"server_keys": wanted}, timeout=15)


def encoded(template: str, *values: str) -> str:
    """A path with `{}` filled in, each value encoded."""
    return template.format(*(quote(value, safe="") for value in values))


def list_of(answer: Any, name: str) -> list[Any]:
    """A list that another server's answer should have; empty when it has none."""
    found = answer.get(name) if isinstance(answer, dict) else None
    return found if isinstance(found, list) else []
