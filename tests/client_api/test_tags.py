"""Tags of rooms over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.stream import Change
from tests.support.user_server import UserServer

ROOM = "!room:halfdoor.test"


async def test_tags_are_set_listed_and_removed(server: UserServer) -> None:
    alice = await server.register("alice")
    tags = f"/user/{alice.user_id}/rooms/{ROOM}/tags"
    assert (await server.get(tags, token=alice.token)).json == {"tags": {}}
    before = server.stream.position
    await server.put(f"{tags}/m.favourite", {"order": 0.25}, token=alice.token)
    await server.put(f"{tags}/u.工作", {}, token=alice.token)
    expected = {"m.favourite": {"order": 0.25}, "u.工作": {}}
    assert (await server.get(tags, token=alice.token)).json == {"tags": expected}
    data = f"/user/{alice.user_id}/rooms/{ROOM}/account_data/m.tag"
    assert (await server.get(data, token=alice.token)).json == {"tags": expected}
    assert server.stream.changed_since(Change.ACCOUNT_DATA, alice.user_id, before)
    for _ in range(2):
        assert (await server.delete(f"{tags}/m.favourite", token=alice.token)).status == 200
    assert (await server.get(tags, token=alice.token)).json == {"tags": {"u.工作": {}}}


@pytest.mark.parametrize("order", [0, 1, 0.5, None])
async def test_order_is_from_zero_to_one(server: UserServer, order: Any) -> None:
    alice = await server.register("alice")
    path = f"/user/{alice.user_id}/rooms/{ROOM}/tags/u.x"
    assert (await server.put(path, {"order": order}, token=alice.token)).status == 200


@pytest.mark.parametrize("order", [-0.1, 1.1, "0.5", True, [], 1e300])
async def test_other_orders_are_refused(server: UserServer, order: Any) -> None:
    alice = await server.register("alice")
    answer = await server.put(f"/user/{alice.user_id}/rooms/{ROOM}/tags/u.x", {"order": order}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_tags_are_for_their_owner_alone(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    tags = f"/user/{alice.user_id}/rooms/{ROOM}/tags"
    for answer in (
        await server.get(tags, token=bob.token),
        await server.put(f"{tags}/u.x", {}, token=bob.token),
        await server.delete(f"{tags}/u.x", token=bob.token),
    ):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_D08_tags_have_bounds(server: UserServer) -> None:
    alice = await server.register("alice")
    tags = f"/user/{alice.user_id}/rooms/{ROOM}/tags"
    long = await server.put(f"{tags}/{'x' * 256}", {}, token=alice.token)
    assert (long.status, long.json["errcode"]) == (400, "M_INVALID_PARAM")
    big = await server.put(f"{tags}/u.big", {"x": "y" * 65536}, token=alice.token)
    assert (big.status, big.json["errcode"]) == (413, "M_TOO_LARGE")
    for number in range(100):
        assert (await server.put(f"{tags}/u.{number}", {}, token=alice.token)).status == 200
    full = await server.put(f"{tags}/u.more", {}, token=alice.token)
    assert (full.status, full.json["errcode"]) == (413, "M_TOO_LARGE")


async def test_tags_survive_nonsense_that_a_client_wrote(server: UserServer) -> None:
    alice = await server.register("alice")
    await server.put(f"/user/{alice.user_id}/rooms/{ROOM}/account_data/m.tag", {"tags": [1]}, token=alice.token)
    tags = f"/user/{alice.user_id}/rooms/{ROOM}/tags"
    assert (await server.get(tags, token=alice.token)).json == {"tags": {}}
    assert (await server.put(f"{tags}/u.x", {}, token=alice.token)).status == 200
    assert (await server.get("/user/x/rooms/nonsense/tags", token=alice.token)).status == 403
    nonsense = await server.get(f"/user/{alice.user_id}/rooms/nonsense/tags", token=alice.token)
    assert nonsense.json["errcode"] == "M_INVALID_PARAM"
