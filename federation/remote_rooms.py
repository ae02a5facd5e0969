"""What other servers tell of rooms that this one is not in: summaries, and what lies below a space.

Each answer is kept for a while under the server that gave it, so that nobody is told by one server what another, or
somebody who named it, would like them to believe. What comes out has the form that clients expect (B14).

Spec: Server-Server API, `GET /hierarchy/{roomId}`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

import msgspec

from federation.client import FederationClient, encoded, list_of
from federation.remembered import Remembered
from homeserver.clock import Clock
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.identifiers import is_server_name, is_user_id
from homeserver.rooms.remote import RemoteRoom

KEPT_SECONDS: Final = 300.0
KEPT_ANSWERS: Final = 2_000
KEPT_BYTES: Final = 16 * 1024 * 1024
SERVERS_MAX: Final = 5
CHILDREN_MAX: Final = 1_000
TEXT_MAX: Final = 64 * 1024
TIMEOUT_SECONDS: Final = 10.0
ANSWER_BYTES: Final = 4 * 1024 * 1024

_PATTERNS: Final = {
    "name": re.compile(r"(?s).+"),
    "topic": re.compile(r"(?s).+"),
    "avatar_url": re.compile(r"mxc://[^/\s]+/[A-Za-z0-9_-]+"),
    "canonical_alias": re.compile(r"#[^:\s]+:\S{1,255}"),
    "room_type": re.compile(r"\S{1,255}"),
    "room_version": re.compile(r"\S{1,32}"),
    "encryption": re.compile(r"m\.megolm\.v1\.aes-sha2"),
}
_BEYOND_DIRECTORIES: Final = frozenset({"room_version", "encryption", "allowed_room_ids"})
"""What summaries have and entries of a directory have not."""
LISTED_MAX: Final = 500
TOKEN_MAX: Final = 4096
_ROOM_ID: Final = re.compile(r"!\S{1,254}")

_log = logging.getLogger("federation.remote_rooms")


class RemoteRooms:
    """Asks, and remembers for five minutes what was answered, and who did not answer."""

    def __init__(self, client: FederationClient, clock: Clock, own_name: str) -> None:
        self._client = client
        self._clock = clock
        self._own_name = own_name
        self._kept: Remembered[tuple[str, str, bool], tuple[float, RemoteRoom | None]] = Remembered(
            KEPT_BYTES, KEPT_ANSWERS
        )
        self._asking: dict[tuple[str, str, bool], asyncio.Task[RemoteRoom | None]] = {}

    async def describe(self, room_id: str, servers: Sequence[str], *, suggested_only: bool) -> RemoteRoom | None:
        """What the first of the servers tells that tells anything."""
        if _ROOM_ID.fullmatch(room_id) is None:
            return None
        named = [name for name in dict.fromkeys(servers) if name != self._own_name and is_server_name(name)]
        for server in named[:SERVERS_MAX]:
            found = await self._describe((server, room_id, suggested_only))
            if found is not None:
                return found
        return None

    async def _describe(self, key: tuple[str, str, bool]) -> RemoteRoom | None:
        until, found = self._kept.find(key) or (0.0, None)
        if until > self._clock.monotonic():
            return found
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.ensure_future(self._ask(key))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, key: tuple[str, str, bool]) -> RemoteRoom | None:
        server, room_id, suggested_only = key
        found: RemoteRoom | None = None
        try:
            answer = await self._client.get(
                server,
                encoded("/_matrix/federation/v1/hierarchy/{}", room_id),
                {"suggested_only": "true" if suggested_only else "false"},
                timeout=TIMEOUT_SECONDS,
                max_bytes=ANSWER_BYTES,
            )
            found = read_room(room_id, answer)
        except MatrixError as error:
            _log.info("%s tells nothing of %s: %s", server, room_id, error)
        size = 500 if found is None else len(msgspec.json.encode(found))
        self._kept.keep(key, (self._clock.monotonic() + KEPT_SECONDS, found), size)
        return found


def read_room(room_id: str, answer: Any) -> RemoteRoom | None:
    """An answer to `/hierarchy`; None when it is about no room, or another."""
    told = answer.get("room") if isinstance(answer, dict) else None
    summary = _summary(told)
    if summary is None or summary["room_id"] != room_id:
        return None
    children = [_summary(one) for one in list_of(answer, "children")[:CHILDREN_MAX]]
    inaccessible = list_of(answer, "inaccessible_children")[:CHILDREN_MAX]
    state = [_child(one) for one in list_of(told, "children_state")[:CHILDREN_MAX]]
    return RemoteRoom(
        summary,
        [one for one in state if one is not None],
        {one["room_id"]: one for one in children if one is not None},
        frozenset(one for one in inaccessible if isinstance(one, str)),
    )


def read_directory(answer: Any) -> dict[str, Any]:
    """A page of another server's directory, as clients expect it."""
    listed = [_summary(one) for one in list_of(answer, "chunk")[:LISTED_MAX]]
    chunk = [{name: one[name] for name in one if name not in _BEYOND_DIRECTORIES} for one in listed if one]
    body: dict[str, Any] = {"chunk": chunk}
    for name, kind in (("next_batch", str), ("prev_batch", str), ("total_room_count_estimate", int)):
        value = answer.get(name) if isinstance(answer, dict) else None
        if isinstance(value, kind) and not isinstance(value, bool) and len(str(value)) <= TOKEN_MAX:
            body[name] = value
    return body


def _summary(told: Any) -> dict[str, Any] | None:
    if not isinstance(told, dict) or not is_room_id(told.get("room_id")):
        return None
    joined, rule, allowed = told.get("num_joined_members"), told.get("join_rule"), told.get("allowed_room_ids")
    body: dict[str, Any] = {
        "room_id": told["room_id"],
        "num_joined_members": joined if isinstance(joined, int) and 0 <= joined < 2**53 else 0,
        "join_rule": rule if isinstance(rule, str) and 0 < len(rule) <= 255 else "public",
        "world_readable": told.get("world_readable") is True,
        "guest_can_join": told.get("guest_can_join") is True,
    }
    if isinstance(rule, str) and rule != body["join_rule"]:
        body["join_rule"] = "invite"
    for name, pattern in _PATTERNS.items():
        value = told.get(name)
        if isinstance(value, str) and len(value) <= TEXT_MAX and pattern.fullmatch(value):
            body[name] = value
    rooms = [one for one in allowed[:100] if is_room_id(one)] if isinstance(allowed, list) else []
    if rooms:
        body["allowed_room_ids"] = rooms
    return body


def _child(told: Any) -> Mapping[str, Any] | None:
    """An m.space.child event with what the specification has of it, and nothing else."""
    if not isinstance(told, dict) or told.get("type") != "m.space.child" or not is_room_id(told.get("state_key")):
        return None
    content, sender, sent = told.get("content"), told.get("sender"), told.get("origin_server_ts")
    if not isinstance(content, dict) or not isinstance(sender, str) or not is_user_id(sender):
        return None
    if not isinstance(sent, int) or not 0 <= sent < 2**53:
        return None
    return {
        "type": "m.space.child",
        "state_key": told["state_key"],
        "content": content,
        "sender": sender,
        "origin_server_ts": sent,
    }


def is_room_id(value: Any) -> TypeGuard[str]:
    """Whether a value has the form of a room's id."""
    return isinstance(value, str) and _ROOM_ID.fullmatch(value) is not None
