"""The directory of published rooms. Spec: Client-Server API, "Published room directory".

The summaries of listed rooms are kept in memory and refreshed, when somebody asks, for the rooms that changed since; so
ten thousand listed rooms cost one reading after the start, and a look-over of short texts for each request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeserver.protocol.errors import Forbidden, InvalidParam, NotFound
from homeserver.protocol.search_tokens import normalized
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.remote import RemoteServers
from homeserver.rooms.room_summaries import SUMMARY_TYPES, RoomSummary, summary_from
from homeserver.storage.aliases import AliasStore
from homeserver.storage.database import Database
from homeserver.storage.public_rooms import PublicRoomStore

MAX_MISSED: Final = 20_000
"""Positions after which all summaries are read anew rather than what changed."""
NETWORK_SEPARATOR: Final = "|"
"""Between the application service's id and the network's in a `third_party_instance_id`."""


@dataclass(frozen=True, slots=True)
class DirectoryQuery:
    """What to list. `room_types` None: all; None within: rooms without a type. `instance_id` None: our own list."""

    term: str = ""
    room_types: Sequence[str | None] | None = None
    limit: int = 100
    since: str | None = None
    instance_id: str | None = None
    all_networks: bool = False
    server: str | None = None


class _Token(msgspec.Struct, array_like=True):
    """Just after (or, backwards, before) the room with this many members and this id."""

    joined: int
    room_id: str
    backwards: bool = False


@dataclass(frozen=True, slots=True)
class _Listed:
    summary: RoomSummary
    text: str

    @property
    def place(self) -> tuple[int, str]:
        return -self.summary.joined, self.summary.room_id


class PublicRooms:
    """Answers /publicRooms."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        aliases: Aliases,
        alias_store: AliasStore,
        store: PublicRoomStore,
        remote: RemoteServers,
        server_name: str,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._aliases = aliases
        self._alias_store = alias_store
        self._store = store
        self._remote = remote
        self._server_name = server_name
        self._listed: dict[str, _Listed] = {}
        self._position = 0
        self._lock = asyncio.Lock()

    async def page(self, query: DirectoryQuery) -> dict[str, Any]:
        """The body of the answer: rooms with the most members first. Raises InvalidParam, NotFound."""
        if query.server is not None and query.server != self._server_name:
            return await self._remote.list_public_rooms(query.server, _asked(query))
        if query.all_networks and query.instance_id is not None:
            raise InvalidParam("third_party_instance_id can only be used if include_all_networks is false")
        token = None if query.since is None else _parse_token(query.since)
        network: tuple[str, str] | None = ("", "")
        if query.all_networks:
            network = None
        elif query.instance_id is not None:
            service, _, network_id = query.instance_id.partition(NETWORK_SEPARATOR)
            network = (service, network_id)
        listed = await self._refreshed(await self._alias_store.list_published(network=network))
        words = normalized(query.term).split()
        types = None if query.room_types is None else frozenset(query.room_types)
        found = sorted(
            (
                one
                for one in listed
                if one.summary.joined
                and (types is None or one.summary.room_type in types)
                and all(word in one.text for word in words)
            ),
            key=lambda one: one.place,
        )
        return _page(found, token, query.limit)

    async def _refreshed(self, room_ids: Sequence[str]) -> list[_Listed]:
        async with self._lock:
            position = self._db.position
            changed = await self._store.list_changed(self._position, MAX_MISSED) if self._listed else None
            if changed is None:
                self._listed.clear()
            else:
                for room_id in changed:
                    self._listed.pop(room_id, None)
            self._position = position
            missing = [room_id for room_id in room_ids if room_id not in self._listed]
            if missing:
                for room_id, facts in (await self._store.list_facts(missing, SUMMARY_TYPES)).items():
                    summary = summary_from(room_id, *facts)
                    texts = (summary.name, summary.topic, summary.canonical_alias)
                    self._listed[room_id] = _Listed(summary, normalized("\n".join(text for text in texts if text)))
            return [self._listed[room_id] for room_id in room_ids if room_id in self._listed]

    async def change_network(self, appservice_id: str, network_id: str, room_id: str, *, published: bool) -> None:
        """List a room under a network of an application service, or stop that. Raises Forbidden, NotFound."""
        if NETWORK_SEPARATOR in network_id or not network_id:
            raise InvalidParam("networkId must be the id of a network")
        if not appservice_id:
            raise Forbidden("Only application services list rooms of networks")
        if await self._rooms.find(room_id) is None:
            raise NotFound("Unknown room")
        await self._aliases.set_published(
            room_id, published=published, appservice_id=appservice_id, network_id=network_id
        )


def _page(found: Sequence[_Listed], token: _Token | None, limit: int) -> dict[str, Any]:
    start, end = 0, min(limit, len(found))
    if token is not None:
        place = (-token.joined, token.room_id)
        if token.backwards:
            end = sum(1 for one in found if one.place < place)
            start = max(0, end - limit)
        else:
            start = sum(1 for one in found if one.place <= place)
            end = min(start + limit, len(found))
    chunk = found[start:end]
    body: dict[str, Any] = {
        "chunk": [one.summary.public_room() for one in chunk],
        "total_room_count_estimate": len(found),
    }
    if chunk and end < len(found):
        body["next_batch"] = _token(chunk[-1], backwards=False)
    if chunk and start > 0:
        body["prev_batch"] = _token(chunk[0], backwards=True)
    return body


def _token(one: _Listed, *, backwards: bool) -> str:
    token = _Token(one.summary.joined, one.summary.room_id, backwards)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _parse_token(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidParam("since is not a token of this server") from None


def _asked(query: DirectoryQuery) -> dict[str, Any]:
    """A query as the body of a request to another server."""
    body: dict[str, Any] = {"limit": query.limit, "include_all_networks": query.all_networks}
    if query.since is not None:
        body["since"] = query.since
    if query.instance_id is not None:
        body["third_party_instance_id"] = query.instance_id
    wanted: dict[str, Any] = {}
    if query.term:
        wanted["generic_search_term"] = query.term
    if query.room_types is not None:
        wanted["room_types"] = list(query.room_types)
    if wanted:
        body["filter"] = wanted
    return body
