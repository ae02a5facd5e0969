"""What rooms, encryption and profiles ask of other servers: the answers when federation is on.

Made before the parts that it needs, which come later by `bind`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from federation.client import FederationClient, RemoteRefused
from federation.remote_rooms import is_room_id, read_directory
from homeserver.encryption.key_format import parse_cross_signing_key, parse_device_keys, parse_one_time_key
from homeserver.media.remote import RemoteFile
from homeserver.protocol.errors import Forbidden, InvalidParam, MatrixError, Unavailable
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of, is_server_name
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.remote import MAY_NOT_JOIN, MAY_NOT_KNOCK, RemoteRoom
from homeserver.storage.events import StoredEvent

if TYPE_CHECKING:
    from federation.services import FederationServices


class RemoteServers:
    """Implements `homeserver.rooms.remote.RemoteServers` and `homeserver.encryption.remote.RemoteKeys`."""

    def __init__(self, own_name: str) -> None:
        self._own_name = own_name
        self._services: FederationServices | None = None

    def bind(self, services: FederationServices) -> None:
        """From now on other servers can be asked."""
        self._services = services

    @property
    def _bound(self) -> FederationServices:
        if self._services is None:
            raise Unavailable("The server is still starting")
        return self._services

    @property
    def _client(self) -> FederationClient:
        return self._bound.client

    # ---- rooms

    async def join(self, user_id: str, room_id: str, content: dict[str, Any], via: tuple[str, ...]) -> str:
        services = self._bound
        profile = await services.profile_of(user_id)
        servers = await services.servers_for(user_id, room_id, via)
        if not servers:
            raise Forbidden(MAY_NOT_JOIN)
        return await services.joining.join(user_id, room_id, {**profile, **content}, servers)

    async def knock(self, user_id: str, room_id: str, reason: str | None, via: tuple[str, ...]) -> str:
        services = self._bound
        content = await services.profile_of(user_id)
        if reason is not None:
            content["reason"] = reason
        servers = await services.servers_for(user_id, room_id, via)
        if not servers:
            raise Forbidden(MAY_NOT_KNOCK)
        return await services.knocking.knock(user_id, room_id, content, servers)

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> None:
        await self._bound.leaving.leave(user_id, room_id, reason)

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]] | None:
        try:
            answer = await self._client.get(
                domain_of(alias), "/_matrix/federation/v1/query/directory", {"room_alias": alias}, timeout=20
            )
        except RemoteRefused as error:
            if error.status == 404:
                return None
            raise
        room_id = answer.get("room_id") if isinstance(answer, dict) else None
        servers = answer.get("servers") if isinstance(answer, dict) else None
        if not is_room_id(room_id):
            return None
        told = servers if isinstance(servers, list) else []
        named = [one for one in told if isinstance(one, str) and is_server_name(one)]
        return room_id, named[:50] or [domain_of(alias)]

    async def list_public_rooms(self, server: str, query: dict[str, Any]) -> dict[str, Any]:
        if not is_server_name(server):
            raise InvalidParam("That is not the name of a server")
        path = "/_matrix/federation/v1/publicRooms"
        return read_directory(await self._client.request(server, "POST", path, body=query, timeout=20))

    async def describe_room(
        self, user_id: str, room_id: str, via: Sequence[str], *, suggested_only: bool = False
    ) -> RemoteRoom | None:
        services = self._bound
        servers = await services.servers_for(user_id, room_id, via)
        return await services.remote_rooms.describe(room_id, servers, suggested_only=suggested_only)

    async def backfill(self, room: LiveRoom) -> bool:
        return await self._bound.backfill.backfill(room)

    async def fetch_event(self, room: LiveRoom, event_id: str) -> StoredEvent | None:
        return await self._bound.past_events.fetch(room, event_id)

    async def event_near(self, room: LiveRoom, timestamp_ms: int, *, forward: bool) -> StoredEvent | None:
        return await self._bound.past_events.near(room, timestamp_ms, forward=forward)

    async def countersign(self, room: LiveRoom, invite: Event) -> Event | None:
        return await self._bound.inviting.countersign(room, invite)

    # ---- media

    async def download_media(
        self, server_name: str, media_id: str, into: BinaryIO, *, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        return await self._bound.media.download_media(
            server_name, media_id, into, max_bytes=max_bytes, timeout_ms=timeout_ms
        )

    # ---- profiles

    async def fetch_profile(self, user_id: str) -> dict[str, Any]:
        """Raises NotFound, Forbidden, RemoteFailed."""
        return await self._bound.profiles.get(user_id)

    # ---- keys

    async def query_keys(
        self, wanted: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return await self._bound.device_lists.query(wanted, timeout_ms, self._query_live)

    async def _query_live(
        self, wanted: Mapping[str, Sequence[str]], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        bodies: dict[str, dict[str, Any]] = {}
        for user_id, devices in wanted.items():
            bodies.setdefault(domain_of(user_id), {})[user_id] = list(devices)
        return await self._ask_each(
            "/_matrix/federation/v1/user/keys/query",
            {name: {"device_keys": body} for name, body in bodies.items()},
            ("device_keys", "master_keys", "self_signing_keys"),
            timeout_ms,
        )

    async def claim_keys(
        self, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        bodies: dict[str, dict[str, Any]] = {}
        for user_id, devices in wanted.items():
            bodies.setdefault(domain_of(user_id), {})[user_id] = dict(devices)
        return await self._ask_each(
            "/_matrix/federation/v1/user/keys/claim",
            {name: {"one_time_keys": body} for name, body in bodies.items()},
            ("one_time_keys",),
            timeout_ms,
        )

    async def _ask_each(
        self, path: str, bodies: Mapping[str, dict[str, Any]], members: Sequence[str], timeout_ms: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """One request a server; of each answer only what is about the users of that server."""
        found: dict[str, Any] = {member: {} for member in members}
        failures: dict[str, Any] = {}

        async def ask(name: str, body: dict[str, Any]) -> None:
            try:
                answer = await self._client.request(name, "POST", path, body=body, timeout=timeout_ms / 1000)
            except MatrixError as error:
                failures[name] = {"errcode": "M_UNKNOWN", "error": error.message[:300]}
                return
            for member in members:
                told = answer.get(member) if isinstance(answer, dict) else None
                for user_id, one in told.items() if isinstance(told, dict) else ():
                    if domain_of(user_id) == name and isinstance(one, dict):
                        kept = _well_formed(member, user_id, one)
                        if kept:
                            found[member][user_id] = kept

        await asyncio.gather(*(ask(name, body) for name, body in bodies.items()))
        return found, failures


def _well_formed(member: str, user_id: str, told: dict[str, Any]) -> dict[str, Any]:
    """What clients can be handed of the keys that a server told of its user: nothing that would break them (B23)."""
    if member in ("master_keys", "self_signing_keys"):
        return told if _passes(parse_cross_signing_key, told, user_id, member.removesuffix("_keys")) else {}
    if member == "device_keys":
        return {device: keys for device, keys in told.items() if _passes(parse_device_keys, keys, user_id, device)}
    kept: dict[str, Any] = {}
    for device, keys in told.items():
        if isinstance(keys, dict):
            kept[device] = {name: key for name, key in keys.items() if _passes(parse_one_time_key, name, key, user_id)}
    return kept


def _passes(parse: Callable[..., Any], *said: Any) -> bool:
    try:
        parse(*said)
    except MatrixError:
        return False
    return True
