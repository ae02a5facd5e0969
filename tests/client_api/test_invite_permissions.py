"""Whom somebody lets invite them (v1.18, MSC4155), over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.protocol.invite_permissions import BLOCKING, FILTERING, STABLE, InviteRules
from tests.support.server import Server, User, open_server

BLOCK = {"default_action": "block"}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = open_server()
    yield running
    await running.close()


async def configure(user: User, content: dict[str, Any], type: str = STABLE) -> None:
    await user.put(f"/user/{user.user_id}/account_data/{type}", content)


async def invite(sender: User, room_id: str, target: User) -> tuple[int, str]:
    answer = await sender.request("POST", f"/rooms/{room_id}/invite", {"user_id": target.user_id})
    return answer.status, answer.json.get("errcode", "")


@pytest.mark.parametrize("type", [STABLE, BLOCKING])
async def test_whoever_blocks_all_invites_gets_none_by_any_way(server: Server, type: str) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room()
    await configure(bob, BLOCK, type)
    assert await invite(alice, room_id, bob) == (403, "M_INVITE_BLOCKED")
    rooms = await alice.get("/joined_rooms")
    made = await alice.request("POST", "/createRoom", {"invite": [bob.user_id]})
    assert (made.status, made.json["errcode"]) == (403, "M_INVITE_BLOCKED")
    assert await alice.get("/joined_rooms") == rooms  # no room without its guest
    path = f"/rooms/{room_id}/state/m.room.member/{bob.user_id}"
    state = await alice.request("PUT", path, {"membership": "invite"})
    assert (state.status, state.json["errcode"]) == (403, "M_INVITE_BLOCKED")
    await configure(bob, {}, type)
    assert await invite(alice, room_id, bob) == (200, "")


async def test_invites_that_exist_disappear_while_they_are_blocked(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room()
    await alice.invite(room_id, bob)
    assert list((await bob.sync())["rooms"]["invite"]) == [room_id]
    await configure(bob, BLOCK)
    bob.since = None
    assert "invite" not in (await bob.sync()).get("rooms", {})
    assert (await bob.get("/initialSync"))["rooms"] == []
    state = await alice.get(f"/rooms/{room_id}/state/m.room.member/{bob.user_id}")
    assert state["membership"] == "invite"
    await configure(bob, {})
    bob.since = None
    assert list((await bob.sync())["rooms"]["invite"]) == [room_id]


async def test_ignored_invites_are_made_and_not_shown(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id, other = await alice.create_room(), await carol.create_room()
    await configure(bob, {"ignored_users": ["@al*:halfdoor.test"]}, FILTERING)
    assert await invite(alice, room_id, bob) == (200, "")
    assert await invite(carol, other, bob) == (200, "")
    assert list((await bob.sync())["rooms"]["invite"]) == [other]
    await bob.post(f"/rooms/{room_id}/join")


async def test_blocked_servers_and_allowed_users(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id, other = await alice.create_room(), await carol.create_room()
    await configure(bob, {"allowed_users": [carol.user_id], "blocked_servers": ["halfdoor.*"]}, FILTERING)
    assert await invite(alice, room_id, bob) == (403, "M_INVITE_BLOCKED")
    assert await invite(carol, other, bob) == (200, "")


async def test_events_of_ignored_users_count_as_nothing_unread(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await carol.join(room_id)
    await bob.sync()
    await bob.put(f"/user/{bob.user_id}/account_data/m.ignored_user_list", {"ignored_users": {alice.user_id: {}}})
    await alice.say(room_id, "buy this")
    await carol.say(room_id, "hello")
    room = (await bob.sync())["rooms"]["join"][room_id]
    assert room["unread_notifications"]["notification_count"] == 1
    assert [event["content"].get("body") for event in room["timeline"]["events"]] == ["hello"]


def test_announced() -> None:
    from homeserver.client_api.versions import UNSTABLE_FEATURES

    assert UNSTABLE_FEATURES["org.matrix.msc4155"]
    assert UNSTABLE_FEATURES["org.matrix.msc4380.stable"]


@pytest.mark.parametrize(
    ("content", "decision"),
    [
        ({}, "allow"),
        ({"blocked_users": ["@spam*:*"]}, "block"),
        ({"ignored_users": ["@spam*:*"], "blocked_users": ["@spam*:*"]}, "ignore"),
        ({"allowed_users": ["@spam?:x.org"], "blocked_servers": ["x.org"]}, "block"),
        ({"allowed_users": ["@spam:x.org"], "blocked_servers": ["x.org"]}, "allow"),
        ({"ignored_servers": ["X.ORG"]}, "ignore"),
        ({"blocked_servers": ["*.x.org"]}, "allow"),
        ({"enabled": False, "blocked_servers": ["*"]}, "allow"),
        ({"blocked_users": "@spam:x.org", "blocked_servers": [1, "", None, "*" * 256]}, "allow"),
    ],
)
def test_rules_are_looked_up_in_their_order(content: dict[str, Any], decision: str) -> None:
    assert InviteRules.of({FILTERING: content}).decide("@spam:x.org") == decision
