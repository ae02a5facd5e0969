"""Tokens in memory: fast, and never longer than they are good."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from homeserver.http.routing import Auth, Route
from homeserver.protocol.errors import UnknownToken
from homeserver.storage.database import Reader
from homeserver.users.access_tokens import TokenSettings
from tests.support.http import MemoryClient
from tests.support.user_server import UserServer, open_user_server, person_of, settings


async def test_authenticating_a_known_token_takes_microseconds(server: UserServer) -> None:
    alice = await server.register("alice")
    verify = server.services.authentication.verify_token
    await verify(alice.token)
    best = 1.0
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(1000):
            await verify(alice.token, address="192.0.2.1", user_agent="test")
        best = min(best, (time.perf_counter() - started) / 1000)
    assert best < 25e-6, "ten times what it takes"


async def test_known_token_asks_the_database_nothing(server: UserServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await server.register("alice")
    verify = server.services.authentication.verify_token
    first = await verify(alice.token)
    monkeypatch.setattr(type(server.db), "fetch_one", None)
    assert await verify(alice.token) is first


async def test_F19_token_that_is_revoked_while_it_is_read_is_not_remembered(
    server: UserServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await server.register("alice")
    services = server.services
    services.tokens.forget_all()
    original = services.tokens._store.find_token
    reads = 0

    async def revoked_meanwhile(token_hash: str, reader: Reader | None = None) -> Any:
        nonlocal reads
        reads += 1
        row = await original(token_hash, reader)
        if reads == 1:
            await services.devices.delete_devices(alice.user_id, [alice.device_id])
        return row

    monkeypatch.setattr(services.tokens._store, "find_token", revoked_meanwhile)
    with pytest.raises(UnknownToken):
        await services.authentication.verify_token(alice.token)
    assert services.tokens.known == {}
    assert reads == 2


async def test_F19_memory_is_dropped_when_another_process_may_have_written(server: UserServer) -> None:
    alice = await server.register("alice")
    await server.services.authentication.verify_token(alice.token)

    async def behind_our_back(txn: Any) -> None:
        await txn.execute("DELETE FROM access_tokens", ())

    await server.db.write(behind_our_back)
    assert (await server.get("/account/whoami", token=alice.token)).status == 200
    server.services.forget_all()
    assert (await server.get("/account/whoami", token=alice.token)).status == 401


async def test_memory_of_tokens_is_bounded() -> None:
    server = open_user_server(chosen=settings(tokens=TokenSettings(cached=3)))
    await server.register("alice")
    people = [await server.log_in("alice") for _ in range(6)]
    for person in people * 2:
        assert (await server.get("/account/whoami", token=person.token)).status == 200
    assert len(server.services.tokens.known) <= 3


async def test_one_token_refreshed_by_many_at_once_gives_one_good_pair(server: UserServer) -> None:
    await server.register("alice")
    alice = await server.log_in("alice", refresh_token=True)
    assert alice.refresh_token is not None
    pairs = await asyncio.gather(*(server.services.tokens.refresh(alice.refresh_token) for _ in range(5)))
    good = [
        pair.access_token
        for pair in pairs
        if (await server.get("/account/whoami", token=pair.access_token)).status == 200
    ]
    assert len(good) == 1


async def test_F01_tokens_are_long_and_stored_as_hashes(server: UserServer) -> None:
    await server.register("alice")
    people = [await server.log_in("alice", refresh_token=True) for _ in range(20)]
    tokens = {person.token for person in people} | {person.refresh_token or "" for person in people}
    assert len(tokens) == 40
    assert all(len(token) > 45 for token in tokens)
    stored = repr(await server.db.fetch_all("SELECT * FROM access_tokens"))
    stored += repr(await server.db.fetch_all("SELECT * FROM refresh_tokens"))
    assert not any(token in stored or token.partition("_")[2] in stored for token in tokens)


def user_rows(client: MemoryClient) -> list[Route]:
    return [route for route in client.application.router.routes if route.auth is not Auth.NONE]


async def test_F18_guests_reach_exactly_the_routes_that_are_for_guests(server: UserServer) -> None:
    guest = person_of(await server.post("/register", {}, kind="guest"))
    for route in user_rows(server.client):
        path = route.path
        for name, value in (("user_id", guest.user_id), ("device_id", guest.device_id), ("room_id", "!r:x.y")):
            path = path.replace(f"{{{name}}}", value)
        path = path.replace("{field}", "displayname")
        for name in ("type", "tag", "filter_id", "kind", "rule_id", "event_type", "txn_id"):
            path = path.replace(f"{{{name}}}", "1")
        answer = await server.client.request(route.method, path, json={}, token=guest.token)
        refused = answer.status == 403 and answer.json["errcode"] == "M_GUEST_ACCESS_FORBIDDEN"
        if route.auth is Auth.USER:
            assert refused, path
        elif route.auth in (Auth.GUEST, Auth.OPTIONAL):
            assert not refused, path
        else:
            assert answer.status == 403, path


async def test_F18_routes_for_guests_are_those_of_the_specification(server: UserServer) -> None:
    """ "Guest Access": what a guest may call, of what stands on users alone (and filters, without which a guest
    cannot sync)."""
    allowed = {route.operation for route in user_rows(server.client) if route.auth is Auth.GUEST}
    assert allowed == {
        "getTokenOwner",
        "getDevices",
        "getDevice",
        "updateDevice",
        "sendToDevice",
        "setProfileField",
        "deleteProfileField",
        "defineFilter",
        "getFilter",
    }
