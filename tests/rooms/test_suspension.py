"""Suspended users in rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.server import Server, User, open_server

SUSPENDED = (403, "M_USER_SUSPENDED")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    opened = open_server()
    yield opened
    await opened.close()


async def suspend(admin: User, user: User, *, suspended: bool = True) -> None:
    await admin.put(f"/_matrix/client/v1/admin/suspend/{user.user_id}", {"suspended": suspended})


async def test_suspended_users_say_nothing_and_enter_nowhere(server: Server) -> None:
    admin = await server.register("admin", admin=True)
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id, other = await alice.create_room(preset="public_chat"), await bob.create_room(preset="public_chat")
    mine = await alice.say(room_id, "mine")
    await bob.join(room_id)
    his = await bob.say(room_id, "his")
    await suspend(admin, alice)
    text = {"msgtype": "m.text", "body": "x"}
    for method, path, body in (
        ("PUT", f"/rooms/{room_id}/send/m.room.message/1", text),
        ("PUT", f"/rooms/{room_id}/state/m.room.topic/", {"topic": "x"}),
        ("POST", f"/rooms/{room_id}/invite", {"user_id": admin.user_id}),
        ("POST", f"/rooms/{room_id}/kick", {"user_id": bob.user_id}),
        ("POST", f"/rooms/{other}/join", {}),
        ("POST", "/createRoom", {}),
        ("PUT", f"/rooms/{room_id}/redact/{his}/2", {}),
    ):
        answer = await alice.request(method, path, body)
        assert (answer.status, answer.json["errcode"]) == SUSPENDED, path
    await alice.put(f"/rooms/{room_id}/redact/{mine}/3", {})
    assert room_id in (await alice.sync())["rooms"]["join"]
    await alice.post(f"/rooms/{room_id}/leave")
    await suspend(admin, alice, suspended=False)
    await alice.join(other)


async def test_suspension_is_known_after_a_restart(server: Server) -> None:
    admin, alice = await server.register("admin", admin=True), await server.register("alice")
    room_id = await alice.create_room()
    await suspend(admin, alice)
    server.homeserver.admin.forget_all()
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/1", {"msgtype": "m.text", "body": "x"})
    assert (answer.status, answer.json["errcode"]) == SUSPENDED
