"""Whom somebody lets invite them, when the one who invites is of another server (v1.18)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.federation import FederatedServer, settle


@pytest.mark.parametrize(
    ("type", "content"),
    [
        ("m.invite_permission_config", {"default_action": "block"}),
        ("org.matrix.msc4155.invite_permission_config", {"blocked_servers": ["one.*"]}),
    ],
)
async def test_blocked_invite_is_refused_and_whoever_invites_learns_why(
    one: FederatedServer, two: FederatedServer, type: str, content: dict[str, Any]
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room()
    await bob.put(f"/user/{bob.user_id}/account_data/{type}", content)
    refused = await alice.request("POST", f"/rooms/{room_id}/invite", {"user_id": bob.user_id})
    assert (refused.status, refused.json["errcode"]) == (403, "M_INVITE_BLOCKED")
    await settle(one, two)
    assert "invite" not in (await bob.sync()).get("rooms", {})
    await bob.put(f"/user/{bob.user_id}/account_data/{type}", {})
    await alice.invite(room_id, bob)
    assert list((await bob.sync())["rooms"]["invite"]) == [room_id]


@pytest.mark.parametrize(
    ("type", "content"),
    [
        ("m.ignored_user_list", {"ignored_users": {"@alice:one.test": {}}}),
        ("org.matrix.msc4155.invite_permission_config", {"ignored_users": ["@alice:*"]}),
    ],
)
async def test_ignored_invite_of_another_server_is_made_and_not_shown(
    one: FederatedServer, two: FederatedServer, type: str, content: dict[str, Any]
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room()
    await bob.put(f"/user/{bob.user_id}/account_data/{type}", content)
    await bob.sync()
    await alice.invite(room_id, bob)
    for since in (bob.since, None):
        bob.since = since
        assert "rooms" not in await bob.sync()
    await bob.post(f"/rooms/{room_id}/join", {})
