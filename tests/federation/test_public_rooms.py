"""Directories of other servers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.federation import FederatedServer, Network
from tests.support.liar import Liar
from tests.support.server import User

PUBLIC = "/publicRooms"


async def shops(alice: User, count: int) -> list[str]:
    """Published rooms, in the order of a directory: the one with the most members first."""
    rooms = [
        await alice.create_room(preset="public_chat", visibility="public", name=f"店{number}", topic="茶")
        for number in range(count)
    ]
    return sorted(rooms)


async def listed(user: User, **body: Any) -> list[str]:
    return [room["room_id"] for room in (await user.post(PUBLIC, body, server="one.test"))["chunk"]]


async def test_pages_of_another_servers_directory_fit_together_both_ways(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    rooms = await shops(alice, 5)
    first = await bob.get(PUBLIC, server="one.test", limit=2)
    second = await bob.get(PUBLIC, server="one.test", limit=2, since=first["next_batch"])
    third = await bob.get(PUBLIC, server="one.test", limit=2, since=second["next_batch"])
    pages = [[room["room_id"] for room in page["chunk"]] for page in (first, second, third)]
    assert [one for page in pages for one in page] == rooms
    assert "next_batch" not in third
    assert first["total_room_count_estimate"] == 5
    back = await bob.post(PUBLIC, {"limit": 2, "since": third["prev_batch"]}, server="one.test")
    assert back["chunk"] == second["chunk"]


async def test_no_limit_is_all_that_there_is(one: FederatedServer, two: FederatedServer) -> None:
    rooms = await shops(await one.register("alice"), 3)
    path = "/_matrix/federation/v1/publicRooms"
    for answer in (
        await two.federation.client.get("one.test", path),
        await two.federation.client.get("one.test", path, {"limit": 0}),
        await two.federation.client.request("one.test", "POST", path, body={}),
        await two.federation.client.request("one.test", "POST", path, body={"limit": 0}),
    ):
        assert [room["room_id"] for room in answer["chunk"]] == rooms


async def test_search_and_kinds_of_rooms_reach_the_other_server(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    rooms = await shops(alice, 3)
    space = await alice.create_room(
        preset="public_chat", visibility="public", name="街", creation_content={"type": "m.space"}
    )
    assert await listed(bob, filter={"generic_search_term": "店1"}) != []
    assert await listed(bob, filter={"generic_search_term": "没有"}) == []
    assert await listed(bob, filter={"room_types": ["m.space"]}) == [space]
    assert await listed(bob, filter={"room_types": [None]}) == rooms


async def test_rooms_of_a_network_are_listed_under_it(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    (ours,) = await shops(alice, 1)
    bridged = await alice.create_room(preset="public_chat", name="irc")
    await one.homeserver.rooms.public_rooms.change_network("irc", "libera", bridged, published=True)
    assert await listed(bob) == [ours]
    assert await listed(bob, third_party_instance_id="irc|libera") == [bridged]
    assert await listed(bob, third_party_instance_id="irc|oftc") == []
    assert sorted(await listed(bob, include_all_networks=True)) == sorted([ours, bridged])
    path = "/_matrix/federation/v1/publicRooms"
    told = await two.federation.client.get("one.test", path, {"third_party_instance_id": "irc|libera"})
    assert [room["room_id"] for room in told["chunk"]] == [bridged]
    everything = await two.federation.client.get("one.test", path, {"include_all_networks": "true"})
    assert len(everything["chunk"]) == 2


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"chunk": 7, "next_batch": 7, "total_room_count_estimate": "x"},
        {
            "chunk": [7, {}, {"room_id": "x"}, {"room_id": "!x:liar.test", "name": 7, "num_joined_members": "many"}]
            * 900
        },
        {
            "chunk": [{"room_id": "!x:liar.test", "avatar_url": "javascript:x", "world_readable": "yes"}],
            "x": [1] * 9000,
        },
    ],
)
async def test_B14_a_directory_has_the_form_that_clients_expect(
    network: Network, one: FederatedServer, answer: Any
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    liar.answers["/publicRooms"] = (200, answer)
    body = await alice.post(PUBLIC, {}, server="liar.test")  # which is held against the specification
    assert set(body) <= {"chunk", "next_batch", "prev_batch", "total_room_count_estimate"}
    assert len(body["chunk"]) <= 500


@pytest.mark.parametrize(
    ("answer", "status", "servers"),
    [
        ({"room_id": "!x:liar.test", "servers": ["a.test", 7, "b/c", "d.test"]}, 200, ["a.test", "d.test"]),
        ({"room_id": "!x:liar.test", "servers": "a.test"}, 200, ["liar.test"]),
        ({"room_id": "!x:liar.test", "servers": ["a.test"] * 900}, 200, ["a.test"] * 50),
        ({"room_id": "x", "servers": []}, 404, None),
        ({"room_id": 7}, 404, None),
        ([], 404, None),
    ],
)
async def test_B14_what_an_alias_is_said_to_mean_has_the_form_of_it(
    network: Network, one: FederatedServer, answer: Any, status: int, servers: Any
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    liar.answers["/query/directory"] = (200, answer)
    told = await alice.request("GET", "/directory/room/%23x%3Aliar.test")
    assert (told.status, told.json.get("servers")) == (status, servers)
