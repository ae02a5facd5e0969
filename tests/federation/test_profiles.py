"""Profiles of users of other servers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.federation import FederatedServer, Network, settle
from tests.support.liar import Liar

PROFILE = "/query/profile"


def asked(network: Network) -> int:
    """How often any server was asked for a profile since the last time."""
    count = sum(PROFILE in request.url for _, request in network.requests)
    network.requests.clear()
    return count


async def test_profile_with_its_own_fields_is_asked_for_once_in_five_minutes(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    await bob.put(f"/profile/{bob.user_id}/displayname", {"displayname": "鲍勃"})
    await bob.put(f"/profile/{bob.user_id}/org.example.pet", {"org.example.pet": {"kind": "猫"}})
    assert asked(network) == 0
    path = f"/profile/{bob.user_id}"
    for _ in range(3):
        assert await alice.get(path) == {"displayname": "鲍勃", "org.example.pet": {"kind": "猫"}}
        assert await alice.get(f"{path}/displayname") == {"displayname": "鲍勃"}
        assert await alice.get(f"{path}/org.example.pet") == {"org.example.pet": {"kind": "猫"}}
        assert (await alice.request("GET", f"{path}/org.example.none")).status == 404
    assert asked(network) == 1
    await bob.put(f"{path}/displayname", {"displayname": "新"})
    await one.clock.advance(301)
    assert await alice.get(f"{path}/displayname") == {"displayname": "新"}


async def test_profile_is_shown_for_a_day_where_its_server_is_away(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    path = f"/profile/{bob.user_id}"
    shown = await alice.get(path)
    network.lost = lambda origin, request: True
    await one.clock.advance(3600)
    assert await alice.get(path) == shown
    await one.clock.advance(24 * 3600)
    assert (await alice.request("GET", path)).status == 502


async def test_who_does_not_exist_is_asked_for_again_after_a_minute(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice = await one.register("alice")
    for _ in range(3):
        assert (await alice.request("GET", "/profile/@bob:two.test")).status == 404
    assert asked(network) == 1
    bob = await two.register("bob")
    await one.clock.advance(61)
    assert await alice.get(f"/profile/{bob.user_id}") == {}


async def test_G09_where_profiles_are_kept_from_strangers_so_they_are_from_their_servers(
    one: FederatedServer, two: FederatedServer
) -> None:
    two.homeserver.users.profiles.for_strangers = False  # as `user_directory.profiles_for_strangers` has it
    alice, bob = await one.register("alice"), await two.register("bob")
    for user_id in (bob.user_id, "@nobody:two.test"):
        assert (await alice.request("GET", f"/profile/{user_id}")).status == 403
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    assert (await alice.request("GET", f"/profile/{bob.user_id}")).status == 200


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ({"displayname": 7, "avatar_url": "https://x", "m.tz": [], "Bad Name": 1}, {}),
        ({"displayname": "x" * 300, "avatar_url": "mxc://liar.test/x"}, {"avatar_url": "mxc://liar.test/x"}),
        ({f"org.x{number}": number for number in range(5000)}, {f"org.x{number}": number for number in range(100)}),
        ([], {}),
        ("x", {}),
    ],
)
async def test_B23_profiles_have_the_form_that_clients_expect(
    network: Network, one: FederatedServer, answer: Any, shown: Any
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    liar.answers[PROFILE] = (200, answer)
    assert await alice.get("/profile/@m:liar.test") == shown
    liar.answers[PROFILE] = (403, {"errcode": "M_FORBIDDEN", "error": "no"})
    refused = await alice.request("GET", "/profile/@n:liar.test")
    assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
