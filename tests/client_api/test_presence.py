"""Presence over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.stream import Change
from tests.client_api.test_user_directory import Knows
from tests.support.user_server import SERVER_NAME, UserServer, open_user_server, settings


def path(user_id: str) -> str:
    return f"/presence/{user_id}/status"


async def test_own_presence_is_set_and_read(server: UserServer) -> None:
    alice = await server.register("alice")
    assert (await server.get(path(alice.user_id), token=alice.token)).json == {"presence": "offline"}
    before = server.stream.position
    body = {"presence": "online", "status_msg": "在家"}
    assert (await server.put(path(alice.user_id), body, token=alice.token)).status == 200
    assert (await server.get(path(alice.user_id), token=alice.token)).json == {
        "presence": "online",
        "status_msg": "在家",
        "currently_active": True,
        "last_active_ago": 0,
    }
    assert server.stream.changed_since(Change.PRESENCE, alice.user_id, before)
    await server.clock.advance(7)
    assert (await server.get(path(alice.user_id), token=alice.token)).json["last_active_ago"] == 7000


@pytest.mark.parametrize("state", ["unavailable", "offline"])
async def test_idle_and_offline_can_be_wished(server: UserServer, state: str) -> None:
    alice = await server.register("alice")
    for wished in ("online", state):
        await server.put(path(alice.user_id), {"presence": wished}, token=alice.token)
    answer = await server.get(path(alice.user_id), token=alice.token)
    assert answer.json["presence"] == state
    assert "currently_active" not in answer.json


async def test_G06_presence_is_for_those_who_share_a_room(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    await server.put(path(alice.user_id), {"presence": "online"}, token=alice.token)
    for stranger in (alice.user_id, f"@nobody:{SERVER_NAME}", "@x:elsewhere.test"):
        answer = await server.get(path(stranger), token=bob.token)
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    server.services.hooks.acquaintances = Knows(shared={alice.user_id})
    assert (await server.get(path(alice.user_id), token=bob.token)).json["presence"] == "online"
    foreign = await server.put(path(alice.user_id), {"presence": "offline"}, token=bob.token)
    assert (foreign.status, foreign.json["errcode"]) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"presence": "busy!"}, "M_INVALID_PARAM"),
        ({"presence": 1}, "M_BAD_JSON"),
        ({"presence": "online", "status_msg": 5}, "M_BAD_JSON"),
        ({"presence": "online", "status_msg": "x" * 513}, "M_INVALID_PARAM"),
    ],
)
async def test_bad_presence_is_refused(server: UserServer, body: Any, errcode: str) -> None:
    alice = await server.register("alice")
    answer = await server.put(path(alice.user_id), body, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


async def test_malformed_user_is_refused(server: UserServer) -> None:
    alice = await server.register("alice")
    assert (await server.get(path("nonsense"), token=alice.token)).json["errcode"] == "M_INVALID_PARAM"


async def test_presence_can_be_turned_off() -> None:
    server = open_user_server(chosen=settings(presence_enabled=False))
    alice = await server.register("alice")
    assert (await server.put(path(alice.user_id), {"presence": "online"}, token=alice.token)).status == 200
    assert (await server.get(path(alice.user_id), token=alice.token)).json == {"presence": "offline"}
    assert server.clock.pending <= 1  # the one that writes when devices were last seen
