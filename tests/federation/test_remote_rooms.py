"""Spaces and summaries of rooms that only other servers know."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.federation import FederatedServer, Network, open_federated, settle
from tests.support.liar import Asked, Liar
from tests.support.server import V1, User

HIERARCHY = "/federation/v1/hierarchy/"


async def space(user: User, name: str, **body: Any) -> str:
    return await user.create_room(
        **{"preset": "public_chat", "name": name, "creation_content": {"type": "m.space"}, **body}
    )


async def adopt(user: User, parent: str, child: str, via: str = "one.test", **content: Any) -> None:
    await user.set_state(parent, "m.space.child", {"via": [via], **content}, child)


async def tree(user: User, root: str, **query: Any) -> list[str]:
    return [room.get("name", "") for room in (await user.get(f"{V1}/rooms/{root}/hierarchy", **query))["rooms"]]


def asked(network: Network) -> int:
    """How many times anybody was asked for a hierarchy since the last time."""
    count = sum(HIERARCHY in request.url for _, request in network.requests)
    network.requests.clear()
    return count


async def test_tree_of_another_server_is_walked_to_its_leaves(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    root, below = await space(alice, "空间"), await space(alice, "下面")
    hall = await alice.create_room(preset="public_chat", name="大厅")
    leaf = await alice.create_room(preset="public_chat", name="叶子")
    closed = await alice.create_room(preset="private_chat", name="密室")
    for child, order in ((hall, "a"), (closed, "b"), (below, "c")):
        await adopt(alice, root, child, order=order)
    await adopt(alice, below, leaf, suggested=True)
    await adopt(alice, below, root)
    assert await tree(bob, root, via="one.test") == ["空间", "大厅", "下面", "叶子"]
    assert asked(network) == 2  # the leaves are told of by those above them
    assert await tree(bob, root, via="one.test") == ["空间", "大厅", "下面", "叶子"]
    assert await tree(bob, root, via="one.test", max_depth="1") == ["空间", "大厅", "下面"]
    assert asked(network) == 0  # for five minutes
    await one.clock.advance(301)
    await two.clock.advance(301)
    assert await tree(bob, below, via="one.test", suggested_only="true") == ["下面", "叶子"]
    refused = await bob.request("GET", f"{V1}/rooms/{closed}/hierarchy", via="one.test")
    assert refused.status == 403
    unknown = await bob.request("GET", f"{V1}/rooms/!nothing:one.test/hierarchy")
    assert (unknown.status, unknown.json) == (403, refused.json)


async def test_pages_of_a_tree_fit_together(network: Network, one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    root = await space(bob, "here")
    for number in range(5):
        child = await space(alice, f"{number}")
        await adopt(bob, root, child, order=f"{number}")
    seen: list[str] = []
    query: dict[str, str] = {}
    for _ in range(10):
        body = await bob.get(f"{V1}/rooms/{root}/hierarchy", limit=2, **query)
        seen += [room["name"] for room in body["rooms"]]
        if "next_batch" not in body:
            break
        query = {"from": body["next_batch"]}
    assert seen == ["here", "0", "1", "2", "3", "4"]
    assert asked(network) == 5


async def test_space_of_ours_has_rooms_of_others_and_a_dead_server_hides_only_its_own(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    root = await space(bob, "here")
    there = await alice.create_room(preset="public_chat", name="there", room_version="11")
    mine = await bob.create_room(preset="public_chat", name="mine")
    for number in range(8):
        await adopt(bob, root, f"!gone{number}:dead.test", "dead.test")
    await adopt(bob, root, there)
    await adopt(bob, root, mine, "two.test")
    assert sorted(await tree(bob, root)) == ["here", "mine", "there"]
    await adopt(bob, root, there, "dead.test")
    await two.clock.advance(301)
    assert sorted(await tree(bob, root)) == ["here", "mine", "there"]  # its id says where it began


async def test_G02_what_a_server_may_know_is_not_what_each_of_its_users_may(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob, carol = await one.register("alice"), await two.register("bob"), await two.register("carol")
    club = await alice.create_room(preset="public_chat")
    root = await space(alice, "root")
    inner = await alice.create_room(preset="private_chat", name="inner")
    allow = [{"type": "m.room_membership", "room_id": club}]
    await alice.set_state(inner, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
    invited = await alice.create_room(preset="private_chat", name="invited")
    await alice.invite(invited, bob)
    await adopt(alice, root, inner, order="1")
    await adopt(alice, root, invited, order="2")
    await bob.post(f"/join/{club}", {}, via="one.test")
    await settle(one, two)
    assert await tree(bob, root, via="one.test") == ["root", "inner", "invited"]
    assert await tree(carol, root, via="one.test") == ["root"]
    for room in (inner, invited):
        assert (await bob.get(f"{V1}/room_summary/{room}", via="one.test"))["room_id"] == room
        assert (await carol.request("GET", f"{V1}/room_summary/{room}", via="one.test")).status == 404
    assert (await bob.get(f"{V1}/room_summary/{invited}"))["membership"] == "invite"  # whoever invited is asked
    assert (await bob.get(f"{V1}/room_summary/{inner}", via="one.test"))["allowed_room_ids"] == [club]


async def test_summary_by_the_servers_that_are_named(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat", name="店", topic="茶", room_alias_name="shop")
    path = f"{V1}/room_summary/{room_id}"
    stranger = await two.request("GET", path, via="one.test")
    assert stranger.status == 404
    assert asked(network) == 0  # whoever is not logged in makes us ask nobody
    summary = await bob.get(path, via="one.test")
    assert (summary["name"], summary["topic"], summary["num_joined_members"]) == ("店", "茶", 1)
    assert (summary["room_version"], summary["membership"]) == ("12", "leave")
    assert await bob.get(f"{V1}/room_summary/%23shop%3Aone.test") == summary
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await alice.set_state(room_id, "m.room.name", {"name": "新店"})
    await settle(one, two)
    now = await bob.get(path)
    assert (now["name"], now["membership"], now["num_joined_members"]) == ("新店", "join", 2)
    assert (await bob.request("GET", f"{V1}/room_summary/!nothing:one.test", via="one.test")).status == 404


def described(room_id: str, **said: Any) -> dict[str, Any]:
    summary = {"room_id": room_id, "num_joined_members": 1, "world_readable": True, "guest_can_join": False}
    return {"room": {**summary, "children_state": [], **said}, "children": [], "inaccessible_children": []}


async def test_nobody_is_told_what_another_one_had_us_hear(network: Network) -> None:
    liar = Liar(network)
    one, two = await open_federated(network, "one.test"), await open_federated(network, "two.test")
    alice, bob, mallory = await one.register("alice"), await two.register("bob"), await two.register("mallory")
    room_id = await alice.create_room(preset="public_chat", name="true")
    liar.answers[HIERARCHY] = (200, described(room_id, name="false"))
    path = f"{V1}/room_summary/{room_id}"
    assert (await mallory.get(path, via="liar.test"))["name"] == "false"
    assert (await bob.get(path, via="one.test"))["name"] == "true"


JUNK: list[Any] = [
    None,
    [],
    {"room": None, "children": [], "inaccessible_children": []},
    described("!another:liar.test"),
    {"room": described("!x:liar.test")["room"]},
    described("!x:liar.test", name=7, topic=["x"], avatar_url="javascript:alert(1)", canonical_alias="x", join_rule=7),
    described("!x:liar.test", num_joined_members=-1, encryption="none", room_type=7, allowed_room_ids=[7, "x"]),
    described("!x:liar.test", room_type="m.space", children_state=[7, {}, {"type": "m.space.child"}, None] * 3000),
    {**described("!x:liar.test", room_type="m.space"), "children": [7, {}, {"room_id": 7}], "inaccessible_children": 7},
    described(
        "!x:liar.test",
        room_type="m.space",
        children_state=[
            {
                "type": "m.space.child",
                "state_key": "!x:liar.test",
                "content": {"via": ["liar.test", "../../x", "127.0.0.1:1/"], "order": 7},
                "sender": "@m:liar.test",
                "origin_server_ts": 1,
                "unsigned": {"age": 1},
            }
        ],
    ),
]


@pytest.mark.parametrize("answer", JUNK)
async def test_B14_junk_about_a_room_breaks_no_client(network: Network, one: FederatedServer, answer: Any) -> None:
    liar, alice = Liar(network), await one.register("alice")
    liar.answers[HIERARCHY] = (200, answer)
    root = await space(alice, "root")
    for number in range(3):
        await adopt(alice, root, f"!x{number or ''}:liar.test", "liar.test")
    names = await tree(alice, root)  # the answers are held against the specification
    assert names[0] == "root"
    summary = await alice.request("GET", f"{V1}/room_summary/{quote('!x:liar.test')}")
    assert summary.status in (200, 404)


async def test_A22_a_tree_that_another_server_makes_up_as_it_goes_has_an_end(
    network: Network, one: FederatedServer
) -> None:
    liar, alice = Liar(network), await one.register("alice")

    def deeper(request: Asked) -> tuple[int, Any]:
        room_id = request.target.split(HIERARCHY)[1].split("?")[0].replace("%21", "!").replace("%3A", ":")
        number = int(room_id[1:].partition(":")[0])
        children = [
            {
                "type": "m.space.child",
                "state_key": f"!{number * 10 + one}:liar.test",
                "content": {"via": ["liar.test"]},
                "sender": "@m:liar.test",
                "origin_server_ts": 1,
            }
            for one in range(10)
        ]
        return 200, described(room_id, room_type="m.space", children_state=children, name=f"{number}")

    liar.answers[HIERARCHY] = deeper
    names = await tree(alice, "!1:liar.test", limit="50")
    assert len(names) == 50
    assert asked(network) <= 110
