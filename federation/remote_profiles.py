"""Profiles of users of other servers: asked for, kept for five minutes, and shown for a day where their server does not
answer. What comes out has the form that clients expect.

Spec: Server-Server API, `GET /query/profile`; Client-Server API, "Profiles".
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from federation.client import FederationClient, RemoteFailed, RemoteRefused
from federation.remembered import Remembered
from homeserver.clock import Clock
from homeserver.protocol.errors import Forbidden, MatrixError, NotFound
from homeserver.protocol.identifiers import domain_of
from homeserver.users.profiles import check_field_name, check_value

FRESH_SECONDS: Final = 300.0
NOT_FOUND_SECONDS: Final = 60.0
KEPT_SECONDS: Final = 24 * 3600.0
KEPT_PROFILES: Final = 5_000
KEPT_BYTES: Final = 8 * 1024 * 1024
KEPT_FIELDS: Final = 100
ANSWER_BYTES: Final = 128 * 1024
TIMEOUT_SECONDS: Final = 10.0


class RemoteProfiles:
    """Asks for them."""

    def __init__(self, client: FederationClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: Remembered[str, tuple[float, dict[str, Any] | None]] = Remembered(KEPT_BYTES, KEPT_PROFILES)
        self._asking: dict[str, asyncio.Task[dict[str, Any] | None]] = {}

    async def get(self, user_id: str) -> dict[str, Any]:
        """The fields. Raises NotFound, Forbidden where their server says so, RemoteFailed."""
        kept = self._kept.find(user_id)
        asked_at, found = kept or (0.0, None)
        age = KEPT_SECONDS if kept is None else self._clock.monotonic() - asked_at
        if age >= (NOT_FOUND_SECONDS if found is None else FRESH_SECONDS):
            try:
                found = await self._ask_once(user_id)
            except RemoteFailed:
                if found is None or age >= KEPT_SECONDS:
                    raise
        if found is None:
            raise NotFound("There is no such user.")
        return dict(found)

    async def _ask_once(self, user_id: str) -> dict[str, Any] | None:
        task = self._asking.get(user_id)
        if task is None:
            task = self._asking[user_id] = asyncio.ensure_future(self._ask(user_id))
            task.add_done_callback(lambda _: self._asking.pop(user_id, None))
        return await asyncio.shield(task)

    async def _ask(self, user_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = None
        try:
            answer = await self._client.get(
                domain_of(user_id),
                "/_matrix/federation/v1/query/profile",
                {"user_id": user_id},
                timeout=TIMEOUT_SECONDS,
                max_bytes=ANSWER_BYTES,
            )
            found = read_profile(answer)
        except RemoteRefused as error:
            if error.status == 403:
                raise Forbidden("The user's server does not tell of this profile.") from error
            if error.status != 404:
                raise
        self._kept.keep(user_id, (self._clock.monotonic(), found), 500 + len(msgspec.json.encode(found)))
        return found


def read_profile(answer: Any) -> dict[str, Any]:
    """Of what a server tells of its user, the fields that are such."""
    found: dict[str, Any] = {}
    for name, value in list(answer.items())[:KEPT_FIELDS] if isinstance(answer, dict) else ():
        try:
            check_field_name(name)
            check_value(name, value)
        except MatrixError:
            continue
        found[name] = value
    return found
