"""Pushers over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.client_api.test_accounts import PUSHER
from tests.support.user_server import UserServer, open_user_server, settings


async def pushkeys(server: UserServer, token: str) -> list[str]:
    answer = await server.get("/pushers", token=token)
    return [pusher["pushkey"] for pusher in answer.json["pushers"]]


async def test_pusher_is_set_listed_updated_and_removed(server: UserServer) -> None:
    told: list[str] = []
    server.services.hooks.pushers_changed.append(told.append)
    alice = await server.register("alice")
    assert (await server.get("/pushers", token=alice.token)).json == {"pushers": []}
    assert (await server.post("/pushers/set", PUSHER, token=alice.token)).status == 200
    msc3881 = {"org.matrix.msc3881.enabled": True, "org.matrix.msc3881.device_id": alice.device_id}
    assert (await server.get("/pushers", token=alice.token)).json == {
        "pushers": [{**PUSHER, "profile_tag": "", **msc3881}]
    }
    update = {**PUSHER, "lang": "zh", "profile_tag": "x", "data": {**PUSHER["data"], "format": "event_id_only"}}
    await server.post("/pushers/set", update, token=alice.token)
    assert (await server.get("/pushers", token=alice.token)).json == {"pushers": [{**update, **msc3881}]}
    removal = {"app_id": "org.example", "pushkey": "key", "kind": None}
    for _ in range(2):
        assert (await server.post("/pushers/set", removal, token=alice.token)).status == 200
    assert (await server.get("/pushers", token=alice.token)).json == {"pushers": []}
    assert told == [alice.user_id] * 4


@pytest.mark.parametrize("append", [False, True])
async def test_same_key_of_another_user_stays_only_with_append(server: UserServer, append: bool) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    await server.post("/pushers/set", PUSHER, token=alice.token)
    await server.post("/pushers/set", {**PUSHER, "append": append}, token=bob.token)
    assert await pushkeys(server, alice.token) == (["key"] if append else [])
    assert await pushkeys(server, bob.token) == ["key"]


async def test_F16_logout_removes_the_pushers_of_the_device(server: UserServer) -> None:
    alice = await server.register("alice")
    other = await server.log_in("alice")
    await server.post("/pushers/set", {**PUSHER, "pushkey": "mine"}, token=alice.token)
    await server.post("/pushers/set", {**PUSHER, "pushkey": "other's"}, token=other.token)
    await server.post("/logout", token=other.token)
    assert await pushkeys(server, alice.token) == ["mine"]


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"kind": "email"}, "M_INVALID_PARAM"),
        ({"kind": 5}, "M_BAD_JSON"),
        ({"app_id": "x" * 65}, "M_INVALID_PARAM"),
        ({"pushkey": "x" * 513}, "M_INVALID_PARAM"),
        ({"lang": None}, "M_MISSING_PARAM"),
        ({"lang": 5}, "M_INVALID_PARAM"),
        ({"app_display_name": "x" * 1025}, "M_INVALID_PARAM"),
        ({"profile_tag": "x" * 33}, "M_INVALID_PARAM"),
        ({"data": None}, "M_MISSING_PARAM"),
        ({"data": {}}, "M_MISSING_PARAM"),
        ({"data": {"url": 5}}, "M_MISSING_PARAM"),
    ],
)
async def test_D08_bad_pushers_are_refused(server: UserServer, changes: dict[str, Any], errcode: str) -> None:
    alice = await server.register("alice")
    answer = await server.post("/pushers/set", {**PUSHER, **changes}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


@pytest.mark.parametrize(
    "url",
    [
        "http://push.example.org/_matrix/push/v1/notify",
        "https://push.example.org/",
        "https://push.example.org/_matrix/push/v1/notify/../../admin",
        "https:///_matrix/push/v1/notify",
        "https://[broken/_matrix/push/v1/notify",
        "ftp://push.example.org/_matrix/push/v1/notify",
        "file:///_matrix/push/v1/notify",
    ],
)
async def test_C04_gateways_have_one_path_and_https(server: UserServer, url: str) -> None:
    alice = await server.register("alice")
    answer = await server.post("/pushers/set", {**PUSHER, "data": {"url": url}}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_plain_http_can_be_allowed() -> None:
    server = open_user_server(chosen=settings(push_gateways_may_be_http=True))
    alice = await server.register("alice")
    data = {"url": "http://push.example.org/_matrix/push/v1/notify"}
    assert (await server.post("/pushers/set", {**PUSHER, "data": data}, token=alice.token)).status == 200


async def test_missing_members_are_named(server: UserServer) -> None:
    alice = await server.register("alice")
    for name in ("app_id", "pushkey", "kind"):
        body = {key: value for key, value in PUSHER.items() if key != name}
        answer = await server.post("/pushers/set", body, token=alice.token)
        assert answer.json["errcode"] == "M_MISSING_PARAM"
        assert name in answer.json["error"]
