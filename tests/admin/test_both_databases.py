"""The operators' lists ask both databases the same."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from homeserver.media.services import MediaSettings
from homeserver.storage.account_listing import OrderBy
from homeserver.storage.database import Database
from homeserver.storage.media_statistics import UsageOrder
from tests.support.server import open_server, server_settings

V1, V2 = "/_synapse/admin/v1", "/_synapse/admin/v2"


async def test_lists_on_both_databases(database: Database, tmp_path: Path) -> None:
    server = open_server(database, server_settings(media=MediaSettings(folder=tmp_path / "media")))
    admin, alice = await server.register("admin", admin=True), await server.register("alice")
    room_id = await alice.create_room(name="Den", preset="public_chat", visibility="public")
    event_id = await alice.say(room_id, "rude")
    await admin.join(room_id)
    await admin.post(f"/rooms/{room_id}/report/{event_id}", {"reason": "rude"})
    await server.client.request("POST", "/_matrix/media/v3/upload", body=b"x", token=alice.token)
    for order in get_args(OrderBy):
        users = await admin.get(f"{V2}/users", order_by=order, dir="b", name="A", guests="false", not_user_type="bot")
        assert {user["name"] for user in users["users"]} == {admin.user_id, alice.user_id}, order
    assert (await admin.get(f"{V2}/users", user_id="alice"))["total"] == 1
    for usage in get_args(UsageOrder):
        found = await admin.get(f"{V1}/statistics/users/media", order_by=usage, search_term="ALI")
        assert found["users"][0]["media_length"] == 1, usage
    (room,) = (await admin.get(f"{V1}/rooms", search_term="de"))["rooms"]
    assert (room["joined_members"], room["joined_local_members"], room["public"]) == (2, 2, True)
    assert (await admin.get(f"{V1}/rooms/{room_id}"))["joined_local_devices"] == 2
    assert (await admin.get(f"{V1}/statistics/database/rooms"))["rooms"][0]["room_id"] == room_id
    reports = await admin.get(
        f"{V1}/event_reports", user_id="admin", room_id=room_id, event_sender_user_id="alice", dir="f"
    )
    assert reports["total"] == 1
    path = f"{V1}/users/{alice.user_id}"
    assert (await admin.get(f"{path}/sent_invite_count", from_ts=0))["invite_count"] == 0
    assert (await admin.get(f"{path}/cumulative_joined_room_count", from_ts=0))["cumulative_joined_room_count"] == 1
    assert (await admin.get(f"{path}/media", order_by="media_length"))["total"] == 1
    assert (await admin.get(f"{V1}/federation/destinations"))["total"] == 0
    await admin.put(f"{V1}/rooms/{room_id}/block", {"block": True})
    await admin.post(f"{V1}/users/{alice.user_id}/override_ratelimit", {"messages_per_second": 1, "burst_count": 1})
    token = (await admin.post(f"{V1}/users/{alice.user_id}/login"))["access_token"]
    assert (await server.request("GET", "/account/whoami", token=token)).status == 200
    await admin.post(f"{V1}/send_server_notice", {"user_id": alice.user_id, "content": {"body": "x"}})
    await admin.post(f"{V1}/deactivate/{alice.user_id}", {"erase": True})
    assert (await server.request("GET", "/account/whoami", token=token)).status == 401
    await server.homeserver.close()
