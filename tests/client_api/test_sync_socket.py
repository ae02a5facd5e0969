"""/sync over WebSocket, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from homeserver.client_api.sync_socket import SUBPROTOCOL, TOKEN_SUBPROTOCOL, SyncSocketRoute
from homeserver.http.twisted_server import HttpServer
from homeserver.sync.services import SyncSettings
from homeserver.sync.socket import PATH, SocketLimits
from tests.support.http_server import server as http_server
from tests.support.server import Server, open_server, server_settings
from tests.support.sync_socket_client import SyncSocketClient


@dataclass
class Running:
    """A homeserver whose WebSockets are at a port."""

    server: Server
    http: HttpServer
    port: int
    clients: list[SyncSocketClient] = field(default_factory=list)

    def connect(self, **options: Any) -> SyncSocketClient:
        client = SyncSocketClient(self.port, **options)
        self.clients.append(client)
        return client


@asynccontextmanager
async def running(*, origins: tuple[str, ...] = (), **limits: Any) -> AsyncIterator[Running]:
    from twisted.internet import reactor

    opened = open_server(settings=server_settings(sync=SyncSettings(sockets=SocketLimits(**limits))))
    async with http_server() as http:
        route = SyncSocketRoute(opened.homeserver.sync.sockets, reactor, origins=origins)
        port = http.listen_tcp(opened.client.application, "127.0.0.1", 0, websocket_routes={PATH: route}).port
        made = Running(opened, http, port)
        try:
            yield made
        finally:
            for client in made.clients:
                await client.close()
            await opened.homeserver.sync.sockets.close()
    await opened.close()


def texts(body: Any, room_id: str) -> list[str]:
    events = body.get("rooms", {}).get("join", {}).get(room_id, {}).get("timeline", {}).get("events", [])
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


async def test_deltas_are_pushed_and_an_old_place_is_gone_on_from() -> None:
    async with running() as here:
        alice, bob = await here.server.register("alice"), await here.server.register("bob")
        room_id = await alice.create_room(preset="public_chat")
        await bob.join(room_id)
        client = here.connect()
        welcome = await client.hello(alice.token)
        assert welcome["type"] == "welcome"
        assert (welcome["user_id"], welcome["device_id"]) == (alice.user_id, alice.device_id)
        first = await client.delta()
        assert room_id in first["rooms"]["join"]
        await bob.say(room_id, "one")
        second = await client.delta()
        assert texts(second, room_id) == ["one"]
        client.cut()
        await bob.say(room_id, "two")
        again = here.connect()
        await again.hello(alice.token, since=second["next_batch"])
        assert texts(await again.delta(), room_id) == ["two"]
        await again.close()
        plain = await alice.get("/sync", since=first["next_batch"])
        assert texts(plain, room_id) == ["one", "two"]


async def test_whoever_reads_slowly_gets_one_delta_and_no_queue() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        room_id = await alice.create_room()
        client = here.connect()
        await client.hello(alice.token)
        frame = await client.next()
        for number in range(5):
            await alice.say(room_id, f"message {number}")
        assert client.frames.empty()
        client.send(type="ack", number=frame["number"])
        assert texts(await client.delta(), room_id) == [f"message {number}" for number in range(5)]


async def test_messages_to_the_device_are_kept_until_they_are_acknowledged() -> None:
    async with running() as here:
        alice, bob = await here.server.register("alice"), await here.server.register("bob")
        client = here.connect()
        await client.hello(alice.token)
        since = (await client.delta())["next_batch"]
        message = {"messages": {alice.user_id: {alice.device_id: {"key": "value"}}}}
        await bob.put("/sendToDevice/m.secret/t1", message)
        frame = await client.next()
        assert len(frame["body"]["to_device"]["events"]) == 1
        client.cut()
        again = here.connect()
        await again.hello(alice.token, since=since)
        delta = await again.delta()
        assert len(delta["to_device"]["events"]) == 1
        third = here.connect()
        await third.hello(alice.token, since=delta["next_batch"])
        await here.server.clock.advance(31)
        assert "to_device" not in (await third.next()).get("body", {})


async def test_a_quiet_connection_is_told_that_it_lives() -> None:
    async with running(heartbeat_seconds=20) as here:
        alice = await here.server.register("alice")
        client = here.connect()
        assert (await client.hello(alice.token))["heartbeat_ms"] == 20_000
        since = (await client.delta())["next_batch"]
        for _ in range(2):
            await settled(here)
            await here.server.clock.advance(21)
            assert await client.next() == {"type": "heartbeat", "next_batch": since}


async def settled(here: Running) -> None:
    """Wait until what was sent over the sockets has arrived."""
    for _ in range(20):
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("way", ["frame", "header", "subprotocol"])
async def test_the_token_comes_in_the_first_frame_a_header_or_a_subprotocol(way: str) -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        headers = {"Authorization": f"Bearer {alice.token}"} if way == "header" else None
        protocols = [SUBPROTOCOL, TOKEN_SUBPROTOCOL + alice.token] if way == "subprotocol" else None
        client = here.connect(headers=headers, protocols=protocols)
        welcome = await client.hello(alice.token if way == "frame" else None)
        assert welcome["user_id"] == alice.user_id
        assert client.protocol.websocket_protocol_in_use == (SUBPROTOCOL if way == "subprotocol" else None)


async def test_a_token_in_the_address_is_refused() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        client = here.connect(query=f"?access_token={alice.token}")
        assert await asyncio.wait_for(client.opened, 60) is False


@pytest.mark.parametrize("token", [None, "", "hd_wrong", 7])
async def test_nobody_syncs_without_a_token(token: Any) -> None:
    async with running() as here:
        client = here.connect()
        assert await asyncio.wait_for(client.opened, 60)
        client.send(type="hello", **({} if token is None else {"token": token}))
        assert (await client.end())[0] in (4400, 4401)


async def test_a_token_that_is_revoked_closes_the_connection_at_once() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        other = await here.server.log_in("alice")
        client, stays = here.connect(), here.connect()
        await client.hello(alice.token)
        await client.delta()
        await stays.hello(other.token)
        await stays.delta()
        await alice.post("/logout")
        error = await client.next()
        while error["type"] == "sync":  # the other device is news for both
            error = await client.next()
        assert (error["type"], error["errcode"]) == ("error", "M_UNKNOWN_TOKEN")
        assert (await client.end())[0] == 4401
        room_id = await other.create_room()
        delta = await stays.delta()
        while room_id not in delta.get("rooms", {}).get("join", {}):
            delta = await stays.delta()


@pytest.mark.parametrize(
    ("origin", "is_known"),
    [
        ("https://chat.example.org", True),
        ("HTTPS://chat.example.org", True),
        (None, True),
        ("null", False),
        ("http://chat.example.org", False),
        ("https://chat.example.org:8443", False),
        ("https://evil.chat.example.org", False),
        ("https://example.org", False),
        ("https://chat.example.org.evil.test", False),
        ("file://", False),
    ],
)
async def test_W10_only_pages_of_the_listed_origins_may_connect(origin: str | None, is_known: bool) -> None:
    async with running(origins=("https://chat.example.org",)) as here:
        client = here.connect(headers=None if origin is None else {"Origin": origin})
        assert await asyncio.wait_for(client.opened, 60) is is_known


async def test_W10_a_cookie_lets_nobody_in() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        client = here.connect(headers={"Cookie": f"access_token={alice.token}", "Origin": "https://evil.test"})
        answer = await client.hello()
        assert answer["errcode"] == "M_MISSING_TOKEN"
        assert (await client.end())[0] == 4401


async def test_a_user_has_a_bounded_number_of_connections() -> None:
    async with running(per_user=2) as here:
        alice = await here.server.register("alice")
        clients = [here.connect() for _ in range(3)]
        for client in clients[:2]:
            assert (await client.hello(alice.token))["type"] == "welcome"
        assert (await clients[2].hello(alice.token))["errcode"] == "M_LIMIT_EXCEEDED"
        assert (await clients[2].end())[0] == 4429
        await clients[0].close()
        await settled(here)
        assert (await here.connect().hello(alice.token))["type"] == "welcome"


async def test_an_address_has_a_bounded_number_of_connections_that_have_not_said_hello() -> None:
    async with running(strangers_per_address=2) as here:
        clients = [here.connect() for _ in range(2)]
        for client in clients:
            assert await asyncio.wait_for(client.opened, 60)
        assert await asyncio.wait_for(here.connect().opened, 60) is False
        await here.server.clock.advance(11)
        for client in clients:
            assert (await client.end())[0] == 4408
        assert await asyncio.wait_for(here.connect().opened, 60)


async def test_a_delta_that_is_not_acknowledged_ends_the_connection() -> None:
    async with running(acknowledge_seconds=5) as here:
        alice = await here.server.register("alice")
        client = here.connect()
        await client.hello(alice.token)
        await client.next()
        await here.server.clock.advance(6)
        assert (await client.end())[0] == 4408


@pytest.mark.parametrize(
    "frame",
    [b"{", b"[]", b'{"type":1}', b'{"type":"ack","number":9}', b'{"type":"hello"}', b'{"type":"ack","number":"1"}'],
)
async def test_frames_that_make_no_sense_end_the_connection(frame: bytes) -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        client = here.connect()
        await client.hello(alice.token)
        await client.next()
        client.protocol.sendMessage(frame)
        assert (await client.end())[0] == 4400


async def test_a_frame_that_is_too_large_ends_the_connection() -> None:
    async with running() as here:
        client = here.connect()
        assert await asyncio.wait_for(client.opened, 60)
        client.send(type="hello", token="a" * 70_000)
        assert (await client.end())[0] in (1009, 1006)
        await settled(here)
        assert len(here.server.homeserver.sync.sockets) == 0


async def test_a_flood_of_frames_ends_the_connection() -> None:
    async with running(frames=10) as here:
        alice = await here.server.register("alice")
        client = here.connect()
        await client.hello(alice.token)
        for _ in range(11):
            client.send(type="presence", set_presence="online")
        assert (await client.end())[0] == 4429


async def test_a_large_first_delta_goes_over_one_connection() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        room_id = await alice.create_room()
        for number in range(8):
            await alice.say(room_id, f"{number} " + "long " * 5_000)
        client = here.connect()
        await client.hello(alice.token)
        assert len(texts(await client.delta(), room_id)) == 8


async def test_a_filter_is_heeded() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        room_id = await alice.create_room()
        await alice.say(room_id, "not shown")
        client = here.connect()
        await client.hello(alice.token, filter={"room": {"timeline": {"types": ["m.none"]}}})
        assert texts(await client.delta(), room_id) == []


async def test_a_server_that_stops_says_so() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        client, silent = here.connect(), here.connect()
        await client.hello(alice.token)
        await client.delta()
        assert await asyncio.wait_for(silent.opened, 60)
        await here.server.homeserver.sync.sockets.close()
        assert (await client.end())[0] == 1001
        assert (await silent.end())[0] == 1001
        assert await asyncio.wait_for(here.connect().opened, 60) is False


async def test_many_connections_of_one_device_do_not_wake_one_another() -> None:
    async with running() as here:
        alice = await here.server.register("alice")
        clients = [here.connect() for _ in range(12)]
        for client in clients:
            await client.hello(alice.token)
            await client.delta()
        await settled(here)
        assert all(client.frames.empty() for client in clients)
