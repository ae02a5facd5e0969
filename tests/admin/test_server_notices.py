"""The server speaks to its users. Spec: "Server Notices"."""

from __future__ import annotations

from typing import Any

from homeserver.admin.services import AdminSettings
from homeserver.rooms.administration import AdministrationSettings
from homeserver.rooms.server_notices import ServerNoticeSettings
from tests.support.server import SERVER_NAME, Server, User, open_server, server_settings

PATH = "/_synapse/admin/v1/send_server_notice"
NOTICES = f"@server-notices:{SERVER_NAME}"


def notice(user: User, body: str = "Down at noon") -> dict[str, Any]:
    return {"user_id": user.user_id, "content": {"msgtype": "m.text", "body": body}}


async def test_a_notice_reaches_its_user_in_a_room_that_is_tagged(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    event_id = (await admin.post(PATH, notice(alice)))["event_id"]
    (room_id,) = (await alice.sync())["rooms"]["invite"]
    assert "m.server_notice" in (await alice.get(f"/user/{alice.user_id}/rooms/{room_id}/tags"))["tags"]
    await alice.join(room_id)
    event = await alice.get(f"/rooms/{room_id}/event/{event_id}")
    assert (event["sender"], event["content"]["body"]) == (NOTICES, "Down at noon")
    await admin.post(PATH, notice(alice, "Up again"))
    timeline = (await alice.sync())["rooms"]["join"][room_id]["timeline"]["events"]
    assert timeline[-1]["content"]["body"] == "Up again"
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/1", notice(alice)["content"])
    assert answer.status == 403


async def test_nobody_leaves_or_declines_the_server_but_with_the_account(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    for user in (alice, bob):
        await admin.post(PATH, notice(user))
    (room_id,) = (await alice.sync())["rooms"]["invite"]
    refused = (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")
    answer = await alice.request("POST", f"/rooms/{room_id}/leave", {})
    assert (answer.status, answer.json["errcode"]) == refused
    await alice.join(room_id)
    answer = await alice.request("POST", f"/rooms/{room_id}/leave", {})
    assert (answer.status, answer.json["errcode"]) == refused
    server.homeserver.admin.forget_all()
    answer = await alice.request("POST", f"/rooms/{room_id}/leave", {})
    assert (answer.status, answer.json["errcode"]) == refused
    await admin.post(f"/_synapse/admin/v1/deactivate/{alice.user_id}", {})
    members = await admin.get(f"/_synapse/admin/v1/rooms/{room_id}/members")
    assert members["members"] == [NOTICES]
    (other,) = (await bob.sync())["rooms"]["invite"]
    await admin.ok("DELETE", f"/_synapse/admin/v1/rooms/{other}", {})
    await admin.post(PATH, notice(bob))
    assert other not in (await bob.sync())["rooms"]["invite"]


async def test_a_repeated_notice_is_one(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    first = await admin.put(f"{PATH}/t1", notice(alice))
    assert await admin.put(f"{PATH}/t1", notice(alice)) == first
    assert await admin.put(f"{PATH}/t2", notice(alice)) != first


async def test_notices_go_to_accounts_of_this_server(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    for body, status in (
        ({"user_id": f"@nobody:{SERVER_NAME}", "content": {"body": "x"}}, 404),
        ({"user_id": "@x:elsewhere.test", "content": {"body": "x"}}, 400),
        ({"user_id": alice.user_id, "content": {}}, 400),
        ({"user_id": alice.user_id}, 400),
        ({"user_id": "nonsense", "content": {"body": "x"}}, 400),
    ):
        assert (await admin.request("POST", PATH, body)).status == status, body


async def test_nobody_can_take_the_servers_name(server: Server, admin: User) -> None:
    body = {"username": "server-notices", "password": "long enough", "auth": {"type": "m.login.dummy"}}
    taken = await server.request("POST", "/register", body)
    assert (taken.status, taken.json["errcode"]) == (400, "M_USER_IN_USE")
    alice = await server.register("alice")
    notices = AdminSettings((), AdministrationSettings(notices=ServerNoticeSettings(localpart="alice")))
    other = open_server(server.homeserver.db, server_settings(admin=notices))
    root = await other.log_in("admin")
    answer = await root.request("POST", PATH, notice(admin))
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert "alice" in answer.json["error"]
    assert alice.user_id
    await other.homeserver.close()
