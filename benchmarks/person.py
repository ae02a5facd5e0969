"""Somebody with a Matrix client: an account and a connection. Every call raises when the server refuses."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
from typing import Any
from urllib.parse import quote

import msgspec

from benchmarks.http_client import HttpClient

NEXT_BATCH = re.compile(rb'"next_batch": ?"([^"]+)"')
POS = re.compile(rb'"pos": ?"([^"]+)"')
SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
transactions = itertools.count()
PASSWORD = "a long enough Passw0rd!"


class Refused(Exception):
    """The server answered with an error; the benchmark cannot go on."""


class Person:
    """One account on one device."""

    def __init__(self, port: int, user_id: str, token: str) -> None:
        self.http = HttpClient(port)
        self.user_id = user_id
        self.token = token

    def second_connection(self) -> Person:
        """The same device, for a request while another one waits."""
        return Person(self.http.port, self.user_id, self.token)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        data = b"" if body is None else msgspec.json.encode(body)
        return msgspec.json.decode(await self.raw(method, path, data))

    async def raw(self, method: str, path: str, data: bytes = b"") -> bytes:
        answer = await self.http.request(method, "/_matrix/client/v3" + path, data, self.token)
        if answer.status != 200:
            raise Refused(f"{method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer.body

    async def create_room(self, name: str, *, preset: str = "private_chat", invite: list[str] | None = None) -> str:
        body = {"name": name, "preset": preset, "invite": invite or []}
        room_id: str = (await self.call("POST", "/createRoom", body))["room_id"]
        return room_id

    async def join(self, room_id: str, *, via: str = "") -> None:
        """`via`: the server that the room is on, if it is another."""
        query = f"?via={quote(via)}&server_name={quote(via)}" if via else ""
        await self.raw("POST", f"/join/{quote(room_id)}{query}", b"{}")

    async def send(self, room_id: str, text: str) -> None:
        """One text message."""
        path = f"/rooms/{quote(room_id)}/send/m.room.message/b{next(transactions)}"
        await self.raw("PUT", path, b'{"msgtype":"m.text","body":"' + text.encode() + b'"}')

    async def sync(self, since: str = "", *, timeout_ms: int = 0, filter_json: str = "") -> tuple[str, bytes]:
        """The next token and the whole answer."""
        query = f"?timeout={timeout_ms}"
        query += f"&since={quote(since)}" if since else ""
        query += f"&filter={quote(filter_json)}" if filter_json else ""
        body = await self.raw("GET", "/sync" + query)
        match = NEXT_BATCH.search(body)
        assert match, body[:200]
        return match[1].decode(), body

    async def slide(self, body: dict[str, Any], pos: str = "") -> tuple[str, bytes]:
        """The next position and the whole answer of sliding sync."""
        path = SLIDING_SYNC + (f"?pos={quote(pos)}" if pos else "")
        answer = await self.http.request("POST", path, msgspec.json.encode(body), self.token)
        match = POS.search(answer.body)
        if answer.status != 200 or match is None:
            raise Refused(f"sliding sync: {answer.status} {answer.body[:300]!r}")
        return match[1].decode(), answer.body

    async def fresh_device(self) -> Person:
        """The same account, logged in once more."""
        identifier = {"type": "m.id.user", "user": self.user_id}
        login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        answer = await self.call("POST", "/login", login)
        return Person(self.http.port, self.user_id, answer["access_token"])


async def register(port: int, shared_secret: str, localpart: str) -> Person:
    """A new account, through the shared-secret endpoint that both servers have."""
    http = HttpClient(port)
    path = "/_synapse/admin/v1/register"
    nonce = msgspec.json.decode((await http.request("GET", path)).body)["nonce"]
    message = "\0".join((nonce, localpart, PASSWORD, "notadmin")).encode()
    mac = hmac.new(shared_secret.encode(), message, hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": localpart, "password": PASSWORD, "admin": False, "mac": mac}
    answer = await http.request("POST", path, msgspec.json.encode(body))
    http.close()
    if answer.status != 200:
        raise Refused(f"registering {localpart}: {answer.status} {answer.body[:300]!r}")
    made = msgspec.json.decode(answer.body)
    return Person(port, made["user_id"], made["access_token"])
