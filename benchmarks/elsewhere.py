"""The rest of the network, played by the load generator: servers with names, keys and rooms, which sign what they send
and answer what a homeserver asks when one of its users joins.

    elsewhere = await Elsewhere.open(certificate, key, names=4)
    room = elsewhere.make_room()                      # Halfdoor and Synapse may join it: /join/{room.room_id}?via=…
    event = room.say("hello")                         # on the newest event
    await elsewhere.first.transaction("halfdoor.test", [event]).put(http)

A name is `localhost:port`, each with a listener of its own behind one certificate, so no server need be told of it.
What is asked is answered at once from what was encoded before: the generator must never be what is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from signedjson.key import generate_signing_key
from unpaddedbase64 import encode_base64

from benchmarks.far_rooms import FarRoom
from benchmarks.http_client import HttpClient
from federation.request_signing import sign_request
from homeserver.protocol.events import Event
from homeserver.protocol.signatures import key_id_of, sign

HEAD_MAX = 65_536
DAY_MS = 24 * 3600 * 1000
V1 = "/_matrix/federation/v1"
NOT_FOUND = (404, b'{"errcode":"M_NOT_FOUND","error":"Nothing here"}')
transactions = itertools.count()

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Transaction:
    """What `/send` is asked."""

    target: str
    authorization: str
    body: bytes
    event_ids: list[str]

    async def put(self, http: HttpClient) -> None:
        """Raises AssertionError when it is not taken, or one of its events is not."""
        answer = await http.request("PUT", self.target, self.body, authorization=self.authorization)
        assert answer.status == 200, answer.body
        outcomes = msgspec.json.decode(answer.body)["pdus"]
        refused = {event_id: said for event_id, said in outcomes.items() if said.get("error")}
        assert not refused, refused


class FarServer:
    """One name of the network: its key, and requests that it signs."""

    def __init__(self, number: int) -> None:
        self.name = ""  # when its port is known
        self.key = generate_signing_key(f"far{number}")

    def published_keys(self) -> bytes:
        """`GET /_matrix/key/v2/server`."""
        said = {
            "server_name": self.name,
            "verify_keys": {key_id_of(self.key): {"key": encode_base64(self.key.verify_key.encode())}},
            "old_verify_keys": {},
            "valid_until_ts": int(time.time() * 1000) + 6 * DAY_MS,
        }
        return encode(sign(said, self.name, self.key))

    def transaction(self, destination: str, events: Sequence[Event]) -> Transaction:
        """A signed transaction, ready to be put."""
        body = {
            "origin": self.name,
            "origin_server_ts": int(time.time() * 1000),
            "pdus": [event.pdu for event in events],
            "edus": [],
        }
        target = f"{V1}/send/b{next(transactions)}"
        signed = sign_request("PUT", target, body, origin=self.name, destination=destination, key=self.key)
        return Transaction(target, signed, encode(body), [event.event_id for event in events])


class Elsewhere:
    """Several names, their listeners, and the rooms that are there."""

    def __init__(self) -> None:
        self.servers: list[FarServer] = []
        self.rooms: dict[str, FarRoom] = {}
        self.asked: dict[str, int] = {}
        """How often each kind of request came, for who wants to know what a server asks."""
        self._listeners: list[asyncio.Server] = []
        self._waiting: list[tuple[bytes, asyncio.Future[float]]] = []

    @classmethod
    async def open(cls, certificate: Path, key: Path, *, names: int) -> Elsewhere:
        """Listen for so many names."""
        elsewhere = cls()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        for number in range(names):
            server = FarServer(number)

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: FarServer = server
            ) -> None:
                await elsewhere._serve(server, reader, writer)

            listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=HEAD_MAX)
            server.name = f"localhost:{listener.sockets[0].getsockname()[1]}"
            elsewhere._listeners.append(listener)
            elsewhere.servers.append(server)
        return elsewhere

    @property
    def first(self) -> FarServer:
        return self.servers[0]

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()

    def make_room(self, host: FarServer | None = None) -> FarRoom:
        """A public room whose creator is on `host` (the first one)."""
        host = host or self.first
        room = FarRoom(host.name, {server.name: server.key for server in self.servers})
        self.rooms[room.room_id] = room
        return room

    def delivered(self, marker: str) -> asyncio.Future[float]:
        """When an event that has this text in it comes, the moment by `time.perf_counter`."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((marker.encode(), future))
        return future

    # ---- answering

    async def _serve(self, server: FarServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, target, _ = head.split(" ", 2)
                length = re.search(r"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                status, parts = self._answer(server, method, target, body)
                size = sum(map(len, parts))
                writer.write(
                    f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode()
                )
                writer.writelines(parts)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            writer.close()

    def _answer(self, server: FarServer, method: str, target: str, body: bytes) -> tuple[int, list[bytes]]:
        url = urlsplit(target)
        parts = [unquote(part) for part in url.path.split("/")[2:]]  # without "" and "_matrix"
        query = parse_qs(url.query)
        kind = "/".join(parts[:3])
        self.asked[kind] = self.asked.get(kind, 0) + 1
        if kind == "key/v2/server":
            return 200, [server.published_keys()]
        if kind == "federation/v1/send":
            now = time.perf_counter()
            for waiting in list(self._waiting):
                if waiting[0] in body:
                    self._waiting.remove(waiting)
                    waiting[1].set_result(now)
            return 200, [b'{"pdus":{}}']
        if kind == "federation/v1/version":
            return 200, [b'{"server":{"name":"benchmarks","version":"1"}}']
        if kind == "federation/v1/event":
            found = next((room.events[parts[3]] for room in self.rooms.values() if parts[3] in room.events), None)
            if found is None:
                return NOT_FOUND[0], [NOT_FOUND[1]]
            return 200, [
                b'{"origin":"%s","origin_server_ts":1,"pdus":[' % server.name.encode(),
                encode(found.pdu),
                b"]}",
            ]
        room = self.rooms.get(parts[3]) if len(parts) > 3 else None
        if room is None:
            return NOT_FOUND[0], [NOT_FOUND[1]]
        return self._answer_of_room(server, room, kind, parts, query, body)

    def _answer_of_room(
        self,
        server: FarServer,
        room: FarRoom,
        kind: str,
        parts: list[str],
        query: dict[str, list[str]],
        body: bytes,
    ) -> tuple[int, list[bytes]]:
        asked = query.get("event_id", parts[4:5] or [""])[0]
        if kind == "federation/v1/make_join":
            return 200, [encode({"room_version": room.version.identifier, "event": room.template(parts[4])})]
        if kind == "federation/v2/send_join":
            join = Event(msgspec.json.decode(body), room.version)
            omit = query.get("omit_members", ["false"])[0] == "true" and room.may_omit_members
            answer = room.joined(join, server.name, omit=omit)
            return 200, answer
        if kind == "federation/v1/state_ids":
            state, chain = room.state_before(asked)
            ids = {"pdu_ids": [one.event_id for one in state], "auth_chain_ids": [one.event_id for one in chain]}
            return 200, [encode(ids)]
        if kind == "federation/v1/state":
            state, chain = room.state_before(asked)
            return 200, [b'{"pdus":[', room.listed(state), b'],"auth_chain":[', room.listed(chain), b"]}"]
        if kind == "federation/v1/event_auth":
            return 200, [b'{"auth_chain":[', room.listed(room.auth_chain([room.events[asked]])), b"]}"]
        if kind == "federation/v1/backfill":
            limit = min(int(query.get("limit", ["100"])[0]), 100)
            events = room.before(query.get("v", []), limit)
            return 200, [
                b'{"origin":"%s","origin_server_ts":1,"pdus":[' % server.name.encode(),
                room.listed(events),
                b"]}",
            ]
        if kind == "federation/v1/get_missing_events":
            wanted = json.loads(body)
            events = room.missing(wanted["latest_events"], wanted["earliest_events"], wanted.get("limit", 10))
            return 200, [b'{"events":[', room.listed(events), b"]}"]
        return NOT_FOUND[0], [NOT_FOUND[1]]


def _head(server: FarServer) -> bytes:
    return b'{"origin":"%s","origin_server_ts":1,"pdus":[' % server.name.encode()
