"""One day of a user, on both engines and their own drivers: registration to deactivation over HTTP."""

from __future__ import annotations

from homeserver.storage.database import Database
from tests.client_api.test_accounts import PUSHER
from tests.support.user_server import PASSWORD, login_body, open_user_server, settings

ROOM = "!room:halfdoor.test"


async def test_a_day_from_registration_to_deactivation(database: Database) -> None:
    server = open_user_server(database, settings(directory_finds_everybody=True))
    body = {"username": "alice", "password": PASSWORD, "refresh_token": True}
    session = (await server.post("/register", body)).json["session"]
    made = await server.post("/register", {**body, "auth": {"type": "m.login.dummy", "session": session}})
    assert made.status == 200
    fresh = (await server.post("/refresh", {"refresh_token": made.json["refresh_token"]})).json
    token, user_id = fresh["access_token"], made.json["user_id"]
    user = f"/user/{user_id}"
    for method, path, content in (
        ("PUT", f"/profile/{user_id}/displayname", {"displayname": "愛麗絲"}),
        ("PUT", f"{user}/account_data/org.x", {"a": "ü"}),
        ("PUT", f"{user}/rooms/{ROOM}/tags/u.x", {"order": 0.5}),
        ("POST", f"{user}/filter", {"room": {"timeline": {"limit": 1}}}),
        ("PUT", "/pushrules/global/content/cake", {"pattern": "cake", "actions": ["notify"]}),
        ("PUT", f"/presence/{user_id}/status", {"presence": "online"}),
        ("POST", "/pushers/set", PUSHER),
        ("PUT", "/sendToDevice/m.x/1", {"messages": {user_id: {"*": {"x": 1}}}}),
        ("POST", f"{user}/openid/request_token", {}),
    ):
        answer = await server.request(method, path, content, token=token)
        assert answer.status == 200, (path, answer.body)
    other = await server.register("bob")
    found = await server.post("/user_directory/search", {"search_term": "愛"}, token=other.token)
    assert [result["user_id"] for result in found.json["results"]] == [user_id]
    changes = await server.services.account_data.list_changes(user_id, 0, server.stream.position)
    assert {change.type for change in changes} == {"m.push_rules", "org.x", "m.tag"}
    inbox, _ = await server.services.to_device.list_messages(user_id, made.json["device_id"], 0, server.stream.position)
    assert len(inbox) == 1
    await server.services.close()
    devices = (await server.get("/devices", token=token)).json["devices"]
    assert devices[0]["last_seen_ip"] == server.client.address
    ended = await server.with_password("POST", "/account/deactivate", {"erase": True}, token=token)
    assert ended.status == 200
    assert (await server.post("/login", login_body("alice"))).status == 403
    await server.services.close()
