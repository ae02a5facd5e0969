"""Stored filters over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.protocol.errors import NotFound
from tests.support.user_server import UserServer

FILTER = {"room": {"timeline": {"limit": 5}, "state": {"lazy_load_members": True}}, "event_fields": ["type"]}


async def test_filter_is_stored_once_and_read_back(server: UserServer) -> None:
    alice = await server.register("alice")
    path = f"/user/{alice.user_id}/filter"
    filter_id = (await server.post(path, FILTER, token=alice.token)).json["filter_id"]
    reordered = {name: FILTER[name] for name in reversed(FILTER)}
    assert (await server.post(path, reordered, token=alice.token)).json["filter_id"] == filter_id
    assert (await server.post(path, {}, token=alice.token)).json["filter_id"] != filter_id
    assert (await server.get(f"{path}/{filter_id}", token=alice.token)).json == FILTER
    parsed = await server.services.filters.parsed_filter(alice.user_id, filter_id)
    assert parsed.room.lazy_load_members
    assert await server.services.filters.parsed_filter(alice.user_id, filter_id) is parsed


@pytest.mark.parametrize("filter_id", ["7", "x", "-1", "1" * 30, "٣", "0x1"])
async def test_unknown_filter_is_not_found(server: UserServer, filter_id: str) -> None:
    alice = await server.register("alice")
    answer = await server.get(f"/user/{alice.user_id}/filter/{filter_id}", token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    with pytest.raises(NotFound):
        await server.services.filters.parsed_filter(alice.user_id, filter_id)


async def test_filters_are_for_their_owner_alone(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    path = f"/user/{alice.user_id}/filter"
    filter_id = (await server.post(path, {}, token=alice.token)).json["filter_id"]
    for answer in (
        await server.post(path, {}, token=bob.token),
        await server.get(f"{path}/{filter_id}", token=bob.token),
    ):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("body", [[], "x", {"room": 5}, {"room": {"timeline": {"limit": "x"}}}, {"event_format": "x"}])
async def test_malformed_filters_are_refused(server: UserServer, body: Any) -> None:
    alice = await server.register("alice")
    answer = await server.post(f"/user/{alice.user_id}/filter", body, token=alice.token)
    assert answer.status == 400
    assert answer.json["errcode"] in ("M_BAD_JSON", "M_INVALID_PARAM")


async def test_D08_filters_have_bounds(server: UserServer) -> None:
    alice = await server.register("alice")
    path = f"/user/{alice.user_id}/filter"
    big = await server.post(path, {"org.x": "y" * 65536}, token=alice.token)
    assert (big.status, big.json["errcode"]) == (413, "M_TOO_LARGE")
    for number in range(500):
        assert (await server.post(path, {"org.x": number}, token=alice.token)).status == 200
    full = await server.post(path, {"org.x": "more"}, token=alice.token)
    assert (full.status, full.json["errcode"]) == (413, "M_TOO_LARGE")
    assert (await server.post(path, {"org.x": 5}, token=alice.token)).status == 200
