"""Account data over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.stream import Change
from tests.support.user_server import UserServer

ROOM = "!room:halfdoor.test"


@pytest.mark.parametrize("scope", ["", f"/rooms/{ROOM}"])
async def test_what_is_set_is_read_back_and_announced(server: UserServer, scope: str) -> None:
    alice = await server.register("alice")
    path = f"/user/{alice.user_id}{scope}/account_data/org.example.config"
    absent = await server.get(path, token=alice.token)
    assert (absent.status, absent.json["errcode"]) == (404, "M_NOT_FOUND")
    before = server.stream.position
    content = {"a": [1, {"ü": None}], "float": 0.5}
    assert (await server.put(path, content, token=alice.token)).json == {}
    assert (await server.get(path, token=alice.token)).json == content
    assert server.stream.changed_since(Change.ACCOUNT_DATA, alice.user_id, before)
    assert (await server.put(path, {}, token=alice.token)).status == 200
    assert (await server.get(path, token=alice.token)).json == {}


async def test_global_data_is_not_inherited_by_rooms(server: UserServer) -> None:
    alice = await server.register("alice")
    await server.put(f"/user/{alice.user_id}/account_data/org.x", {"x": 1}, token=alice.token)
    assert (await server.get(f"/user/{alice.user_id}/rooms/{ROOM}/account_data/org.x", token=alice.token)).status == 404


@pytest.mark.parametrize("scope", ["", f"/rooms/{ROOM}"])
async def test_account_data_is_for_its_owner_alone(server: UserServer, scope: str) -> None:
    alice, bob = (
        await server.register("alice"),
        await server.register(
            "bob",
        ),
    )
    path = f"/user/{alice.user_id}{scope}/account_data/org.x"
    await server.put(path, {"x": 1}, token=alice.token)
    for answer in (await server.get(path, token=bob.token), await server.put(path, {}, token=bob.token)):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await server.get(path, token=alice.token)).json == {"x": 1}


@pytest.mark.parametrize("scope", ["", f"/rooms/{ROOM}"])
@pytest.mark.parametrize("type", ["m.fully_read", "m.push_rules"])
async def test_types_of_the_server_cannot_be_written(server: UserServer, scope: str, type: str) -> None:
    alice = await server.register("alice")
    answer = await server.put(f"/user/{alice.user_id}{scope}/account_data/{type}", {}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (405, "M_BAD_JSON")


async def test_push_rules_and_fully_read_markers_can_be_read(server: UserServer) -> None:
    alice = await server.register("alice")
    rules = await server.get(f"/user/{alice.user_id}/account_data/m.push_rules", token=alice.token)
    assert rules.json == (await server.get("/pushrules/", token=alice.token)).json
    await server.services.account_data.set_fully_read(alice.user_id, ROOM, "$event")
    path = f"/user/{alice.user_id}/rooms/{ROOM}/account_data/m.fully_read"
    assert (await server.get(path, token=alice.token)).json == {"event_id": "$event"}


@pytest.mark.parametrize("body", [[], "text", 5, None, True])
async def test_content_must_be_an_object(server: UserServer, body: Any) -> None:
    alice = await server.register("alice")
    answer = await server.put(f"/user/{alice.user_id}/account_data/org.x", body, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, "M_BAD_JSON")


async def test_room_must_be_a_room(server: UserServer) -> None:
    alice = await server.register("alice")
    path = f"/user/{alice.user_id}/rooms/@not:a.room/account_data/org.x"
    for answer in (await server.get(path, token=alice.token), await server.put(path, {}, token=alice.token)):
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_D08_account_data_has_bounds(server: UserServer) -> None:
    alice = await server.register("alice")
    user = f"/user/{alice.user_id}/account_data"
    big = await server.put(f"{user}/org.x", {"x": "y" * 65536}, token=alice.token)
    assert (big.status, big.json["errcode"]) == (413, "M_TOO_LARGE")
    long = await server.put(f"{user}/{'x' * 256}", {}, token=alice.token)
    assert (long.status, long.json["errcode"]) == (400, "M_INVALID_PARAM")
    for number in range(1000):
        assert (await server.put(f"{user}/t{number}", {}, token=alice.token)).status == 200
    full = await server.put(f"{user}/one.more", {}, token=alice.token)
    assert (full.status, full.json["errcode"]) == (413, "M_TOO_LARGE")
    assert (await server.put(f"{user}/t5", {"still": "writable"}, token=alice.token)).status == 200


async def test_ignored_users_follow_the_account_data(server: UserServer) -> None:
    alice = await server.register("alice")
    ignored = server.services.account_data.ignored_users
    assert await ignored(alice.user_id) == frozenset()
    path = f"/user/{alice.user_id}/account_data/m.ignored_user_list"
    await server.put(path, {"ignored_users": {"@spam:x.y": {}, alice.user_id: {}}}, token=alice.token)
    assert await ignored(alice.user_id) == {"@spam:x.y"}
    await server.put(path, {"ignored_users": ["malformed"]}, token=alice.token)
    assert await ignored(alice.user_id) == frozenset()


async def test_changes_for_sync_hold_the_newest_of_each_type(server: UserServer) -> None:
    alice = await server.register("alice")
    user = f"/user/{alice.user_id}/account_data"
    await server.put(f"{user}/a", {"n": 1}, token=alice.token)
    middle = server.stream.position
    await server.put(f"{user}/b", {"n": 2}, token=alice.token)
    await server.put(f"{user}/a", {"n": 3}, token=alice.token)
    end = server.stream.position
    changes = server.services.account_data.list_changes
    everything = await changes(alice.user_id, 0, end)
    assert [(each.type, each.content) for each in everything[1:]] == [("b", '{"n":2}'), ("a", '{"n":3}')]
    assert everything[0].type == "m.push_rules"
    assert [each.type for each in await changes(alice.user_id, middle, end)] == ["b", "a"]
    assert await changes(alice.user_id, end, end) == []
