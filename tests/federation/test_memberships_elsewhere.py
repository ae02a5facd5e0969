"""Members who come, ask and are refused by way of a server in the room: what all the servers hear of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.federation import FederatedServer, Network, open_federated, settle


def of_member(user_id: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    return next(one for one in events if (one["type"], one["state_key"]) == ("m.room.member", user_id))


async def test_servers_in_the_room_hear_at_once_of_who_joins_and_leaves_by_way_of_another(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    three = await open_federated(network, "three.test")
    alice, bob, carol = await one.register("alice"), await two.register("bob"), await three.register("carol")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await carol.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two, three)
    member = await bob.get(f"/rooms/{room_id}/state/m.room.member/{carol.user_id}")
    assert member["membership"] == "join"
    private = await alice.create_room(preset="private_chat")
    for guest in (bob, carol):
        await alice.invite(private, guest)
    await bob.join(private)
    await settle(one, two, three)
    await carol.post(f"/rooms/{private}/leave", {})  # an invite that is rejected: three.test is not in the room
    await settle(one, two, three)
    member = await bob.get(f"/rooms/{private}/state/m.room.member/{carol.user_id}")
    assert member["membership"] == "leave"


async def test_invite_shows_who_invites_and_why(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="private_chat")
    await alice.post(f"/rooms/{room_id}/invite", {"user_id": bob.user_id, "reason": "请进"})
    shown = (await bob.sync())["rooms"]["invite"][room_id]["invite_state"]["events"]
    own = of_member(bob.user_id, shown)
    assert (own["sender"], own["content"]["membership"]) == (alice.user_id, "invite")
    assert own["content"]["reason"] == "请进"
    assert own["event_id"].startswith("$")


@pytest.mark.parametrize("verb", ["kick", "ban"])
async def test_invite_that_is_taken_back_is_gone(one: FederatedServer, two: FederatedServer, verb: str) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="private_chat")
    await alice.invite(room_id, bob)
    since = (await bob.sync())["next_batch"]
    await alice.post(f"/rooms/{room_id}/{verb}", {"user_id": bob.user_id})
    await settle(one, two)
    assert room_id not in (await bob.sync()).get("rooms", {}).get("invite", {})
    assert room_id in (await bob.sync(since=since))["rooms"]["leave"]


async def test_knock_that_is_refused_is_over(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(preset="private_chat", initial_state=[rules])
    await bob.post(f"/knock/{room_id}", {}, via="one.test")
    shown = (await bob.sync())["rooms"]["knock"][room_id]["knock_state"]["events"]
    assert of_member(bob.user_id, shown)["content"]["membership"] == "knock"
    await settle(one, two)
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": bob.user_id})
    await settle(one, two)
    assert room_id not in (await bob.sync()).get("rooms", {}).get("knock", {})


async def test_knock_is_taken_back_where_the_room_names_no_server(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await alice.create_room(preset="private_chat", initial_state=[rules])
    await bob.post(f"/knock/{room_id}", {}, via="one.test")
    await bob.post(f"/rooms/{room_id}/leave", {})
    await settle(one, two)
    member = await alice.get(f"/rooms/{room_id}/state/m.room.member/{bob.user_id}")
    assert member["membership"] == "leave"


async def test_nobody_but_the_inviters_server_takes_an_invite_back(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    three = await open_federated(network, "three.test")
    alice, bob, carol = await one.register("alice"), await two.register("bob"), await three.register("carol")
    room_id = await alice.create_room(preset="private_chat")
    for guest in (carol, bob):
        await alice.invite(room_id, guest)
    await carol.join(room_id)
    levels = await alice.get(f"/rooms/{room_id}/state/m.room.power_levels")
    await alice.put(f"/rooms/{room_id}/state/m.room.power_levels", {**levels, "users": {carol.user_id: 100}})
    await settle(one, two, three)
    await carol.post(f"/rooms/{room_id}/kick", {"user_id": bob.user_id})
    await settle(one, two, three)
    assert room_id in (await bob.sync())["rooms"]["invite"]


async def test_restricted_room_says_whether_another_server_is_to_be_asked(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    lobby = await alice.create_room(preset="private_chat")

    async def refusal(allowed: str, **levels: Any) -> tuple[int, str]:
        allow = [{"type": "m.room_membership", "room_id": allowed}]
        rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "restricted", "allow": allow}}
        room_id = await alice.create_room(
            preset="private_chat", initial_state=[rules], power_level_content_override=levels
        )
        client = two.federation.client
        path = f"/_matrix/federation/v1/make_join/{room_id}/{bob.user_id}"
        with pytest.raises(Exception) as refused:
            await client.get("one.test", path, {"ver": ["12"]})
        return refused.value.status, refused.value.remote_errcode  # type: ignore[attr-defined]

    assert await refusal(lobby) == (403, "M_FORBIDDEN")
    assert await refusal("!nobody:three.test") == (400, "M_UNABLE_TO_AUTHORISE_JOIN")
