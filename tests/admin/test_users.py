"""Accounts in operators' hands: listed, made, changed, ended, acted for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from homeserver.users.account_validity import ValiditySettings
from tests.support.server import PASSWORD, SERVER_NAME, Server, User, open_server, server_settings

V1 = "/_synapse/admin/v1"
V2 = "/_synapse/admin/v2"


def user_id(name: str) -> str:
    return f"@{name}:{SERVER_NAME}"


async def names(admin: User, path: str = f"{V2}/users", **query: Any) -> list[str]:
    body = await admin.get(path, **query)
    return [user["name"].removeprefix("@").partition(":")[0] for user in body["users"]]


async def test_lists_are_filtered_sorted_and_paged(server: Server, admin: User) -> None:
    for name in ("alice", "bob", "carol"):
        await server.clock.advance(1)
        user = await server.register(name)
        await user.put(f"/profile/{user.user_id}/displayname", {"displayname": f"Doctor {name.title()}"})
    guest = (await server.request("POST", "/register", {}, kind="guest")).json["user_id"]
    await admin.put(f"{V2}/users/{user_id('carol')}", {"locked": True})
    assert set(await names(admin)) == {"admin", "alice", "bob", guest[1:].partition(":")[0]}
    assert await names(admin, guests="false") == ["admin", "alice", "bob"]
    assert await names(admin, guests="false", locked="true") == ["admin", "alice", "bob", "carol"]
    assert await names(admin, admins="true") == ["admin"]
    assert await names(admin, name="DOCTOR a") == ["alice"]
    assert await names(admin, guests="false", name="bo") == ["bob"]
    assert await names(admin, name=SERVER_NAME) == []
    assert await names(admin, guests="false", user_id=f"b:{SERVER_NAME}") == ["bob"]
    assert await names(admin, name="_") == []
    ordered = await names(admin, guests="false", order_by="creation_ts", dir="b")
    assert ordered == ["bob", "alice", "admin"]
    first = await admin.get(f"{V2}/users", guests="false", limit=2)
    assert (first["total"], first["next_token"], len(first["users"])) == (3, "2", 2)
    rest = await admin.get(f"{V2}/users", guests="false", limit=2, **{"from": first["next_token"]})
    assert [user["name"] for user in rest["users"]] == [user_id("bob")]
    assert "next_token" not in rest
    for query in ({"order_by": "password"}, {"dir": "x"}, {"from": "-1"}, {"guests": "perhaps"}):
        assert (await admin.request("GET", f"{V2}/users", **query)).status == 400


async def test_deactivated_users_are_listed_by_version(server: Server, admin: User) -> None:
    await server.register("alice")
    await admin.post(f"{V1}/deactivate/{user_id('alice')}", {})
    assert await names(admin) == ["admin"]
    assert await names(admin, deactivated="true") == ["admin", "alice"]
    v3 = "/_synapse/admin/v3/users"
    assert await names(admin, v3) == ["admin", "alice"]
    assert await names(admin, v3, deactivated="true") == ["alice"]
    assert await names(admin, v3, deactivated="false") == ["admin"]


async def test_put_makes_a_user_who_can_log_in(server: Server, admin: User) -> None:
    answer = await admin.request(
        "PUT",
        f"{V2}/users/{user_id('dora')}",
        {
            "password": PASSWORD,
            "displayname": "Dora",
            "avatar_url": "mxc://example.org/abc",
            "threepids": [{"medium": "email", "address": "Dora@Example.org"}],
            "user_type": "bot",
            "unknown_to_us": 1,
        },
    )
    assert answer.status == 201
    body = answer.json
    assert (body["name"], body["displayname"], body["user_type"]) == (user_id("dora"), "Dora", "bot")
    assert body["avatar_url"] == "mxc://example.org/abc"
    assert [(each["medium"], each["address"]) for each in body["threepids"]] == [("email", "dora@example.org")]
    assert (await admin.get(f"{V1}/threepid/email/users/DORA@example.org"))["user_id"] == user_id("dora")
    assert (await admin.request("GET", f"{V1}/threepid/email/users/no@example.org")).status == 404
    await server.log_in("dora")


async def test_put_changes_what_it_names_alone(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    path = f"{V2}/users/{alice.user_id}"
    assert (await admin.put(path, {"displayname": "Alice", "user_type": "support"}))["user_type"] == "support"
    assert (await admin.put(path, {"locked": True}))["displayname"] == "Alice"
    assert (await alice.request("GET", "/account/whoami")).json["errcode"] == "M_USER_LOCKED"
    changed = await admin.put(path, {"locked": False, "user_type": None, "displayname": ""})
    assert (changed["user_type"], changed["displayname"], changed["locked"]) == (None, None, False)
    assert (await alice.request("GET", "/account/whoami")).status == 200
    await admin.put(path, {"password": "another long phrase", "logout_devices": False})
    assert (await alice.request("GET", "/account/whoami")).status == 200
    await admin.put(path, {"password": "a third long phrase"})
    assert (await alice.request("GET", "/account/whoami")).status == 401
    for body in ({"user_type": "king"}, {"password": "short"}, {"threepids": [{"medium": "email", "address": "x"}]}):
        assert (await admin.request("PUT", path, body)).status == 400, body
    assert (await admin.request("PUT", f"{V2}/users/@x:elsewhere.test", {})).status == 400


async def test_an_address_belongs_to_one_account(server: Server, admin: User) -> None:
    for name in ("alice", "bob"):
        await server.register(name)
    threepids = {"threepids": [{"medium": "email", "address": "a@example.org"}]}
    await admin.put(f"{V2}/users/{user_id('alice')}", threepids)
    taken = await admin.request("PUT", f"{V2}/users/{user_id('bob')}", threepids)
    assert (taken.status, taken.json["errcode"]) == (400, "M_THREEPID_IN_USE")
    await admin.put(f"{V2}/users/{user_id('alice')}", {"threepids": []})
    assert (await admin.put(f"{V2}/users/{user_id('bob')}", threepids))["threepids"][0]["address"] == "a@example.org"


async def test_an_administrator_cannot_lock_the_own_door(server: Server, admin: User) -> None:
    path = f"{V2}/users/{admin.user_id}"
    for body in ({"admin": False}, {"deactivated": True}, {"locked": True}, {"suspended": True}):
        assert (await admin.request("PUT", path, body)).status == 400, body
    assert (await admin.get(f"{V1}/users/{admin.user_id}/admin")) == {"admin": True}


async def test_a_deactivated_account_is_opened_again(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    path = f"{V2}/users/{alice.user_id}"
    assert (await admin.put(path, {"deactivated": True}))["deactivated"] is True
    assert (await alice.request("GET", "/account/whoami")).status == 401
    assert (await admin.request("PUT", path, {"password": "a new long phrase"})).status == 400
    opened = await admin.put(path, {"deactivated": False, "password": PASSWORD, "displayname": "Alice again"})
    assert (opened["deactivated"], opened["displayname"]) == (False, "Alice again")
    await server.log_in("alice")


async def test_reset_password_logs_out(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    await admin.post(f"{V1}/reset_password/{alice.user_id}", {"new_password": "something else entirely"})
    assert (await alice.request("GET", "/account/whoami")).status == 401
    assert (
        await admin.request("POST", f"{V1}/reset_password/{user_id('nobody')}", {"new_password": "x" * 10})
    ).status == 404


async def test_suspension_in_synapses_form(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    body = await admin.put(f"{V1}/suspend/{alice.user_id}", {"suspend": True})
    assert body == {f"user_{alice.user_id}_suspended": True}
    refused = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/x", {"body": "x", "msgtype": "m.text"})
    assert refused.json["errcode"] == "M_USER_SUSPENDED"
    assert (await admin.get(f"{V2}/users/{alice.user_id}"))["suspended"] is True
    await admin.put(f"{V1}/suspend/{alice.user_id}", {"suspend": False})
    await alice.say(room_id, "again")


async def test_logging_in_as_a_user_is_short_and_narrow(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    token = (await admin.post(f"{V1}/users/{alice.user_id}/login"))["access_token"]
    puppet = User(server, alice.user_id, token, "")
    assert (await puppet.get("/account/whoami")) == {"user_id": alice.user_id, "is_guest": False}
    await puppet.say(room_id, "by the operator")
    assert len((await alice.get("/devices"))["devices"]) == 1
    change = await puppet.request("POST", "/account/password", {"new_password": "mine now, really"})
    assert change.status == 401
    session = change.json["session"]
    auth = {"type": "m.login.password", "session": session, "identifier": {"type": "m.id.user", "user": "alice"}}
    guessed = await puppet.request(
        "POST", "/account/password", {"new_password": "mine now, really", "auth": {**auth, "password": "guess"}}
    )
    assert guessed.status in (401, 403)
    assert (await puppet.request("GET", f"{V2}/users")).status == 403
    assert (await puppet.request("POST", "/logout/all", {})).status == 403
    await server.clock.advance(3601)
    assert (await puppet.request("GET", "/account/whoami")).json["errcode"] == "M_UNKNOWN_TOKEN"


async def test_a_login_as_a_user_ends_with_its_logout_and_the_administrators(server: Server, admin: User) -> None:
    alice, other = await server.register("alice"), await server.register("other", admin=True)
    path = f"{V1}/users/{alice.user_id}/login"
    tokens = [(await admin.post(path))["access_token"], (await other.post(path))["access_token"]]
    await server.request("POST", "/logout", {}, token=tokens[0])
    statuses = [(await server.request("GET", "/account/whoami", token=token)).status for token in tokens]
    assert statuses == [401, 200]
    await alice.post("/logout/all")
    assert (await server.request("GET", "/account/whoami", token=tokens[1])).status == 200
    await other.post("/logout/all")
    assert (await server.request("GET", "/account/whoami", token=tokens[1])).status == 401
    for target, status in ((admin.user_id, 400), (other.user_id, 403), (user_id("nobody"), 404)):
        assert (await admin.request("POST", f"{V1}/users/{target}/login", {})).status == status
    now = server.clock.now_ms()
    assert (await admin.request("POST", path, {"valid_until_ms": now})).status == 400
    long = (await admin.post(path, {"valid_until_ms": now + 10**12}))["access_token"]
    await server.clock.advance(24 * 3600)
    assert (await server.request("GET", "/account/whoami", token=long)).status == 401


async def test_devices_are_listed_renamed_and_removed(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    second = await server.log_in("alice")
    path = f"{V2}/users/{alice.user_id}/devices"
    listed = await admin.get(path)
    assert (listed["total"], {device["device_id"] for device in listed["devices"]}) == (
        2,
        {alice.device_id, second.device_id},
    )
    assert set(listed["devices"][0]) == {
        "device_id",
        "display_name",
        "last_seen_ip",
        "last_seen_user_agent",
        "last_seen_ts",
        "user_id",
        "dehydrated",
    }
    await admin.put(f"{path}/{second.device_id}", {"display_name": "Phone"})
    assert (await admin.get(f"{path}/{second.device_id}"))["display_name"] == "Phone"
    await admin.request("DELETE", f"{path}/{second.device_id}")
    assert (await second.request("GET", "/account/whoami")).status == 401
    assert (await admin.request("POST", path, {"device_id": "NEW"})).status == 201
    await admin.post(f"{V2}/users/{alice.user_id}/delete_devices", {"devices": ["NEW", alice.device_id, "NONE"]})
    assert (await admin.get(path))["total"] == 0


async def test_whereabouts_settings_and_counts_of_a_user(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    begin = server.clock.now_ms()
    room_id = await alice.create_room()
    await alice.invite(room_id, bob)
    left = await alice.create_room()
    await alice.post(f"/rooms/{left}/leave")
    await alice.put(f"/user/{alice.user_id}/account_data/org.example.x", {"a": 1})
    await alice.put(f"/user/{alice.user_id}/rooms/{room_id}/account_data/org.example.y", {"b": 2})
    path = f"{V1}/users/{alice.user_id}"
    assert await admin.get(f"{path}/joined_rooms") == {"joined_rooms": [room_id], "total": 1}
    assert (await admin.get(f"{path}/memberships"))["memberships"] == {room_id: "join", left: "leave"}
    assert await admin.get(f"{path}/sent_invite_count", from_ts=begin) == {"invite_count": 1}
    joined = await admin.get(f"{path}/cumulative_joined_room_count", from_ts=begin)
    assert joined == {"cumulative_joined_room_count": 2}
    assert await admin.get(f"{path}/sent_invite_count", from_ts=begin + 10**9) == {"invite_count": 0}
    data = (await admin.get(f"{path}/accountdata"))["account_data"]
    assert data["global"]["org.example.x"] == {"a": 1}
    assert data["rooms"][room_id]["org.example.y"] == {"b": 2}
    assert await admin.get(f"{path}/pushers") == {"pushers": [], "total": 0}
    whois = await admin.get(f"{V1}/whois/{alice.user_id}")
    assert whois["user_id"] == alice.user_id
    (connection,) = whois["devices"][""]["sessions"][0]["connections"]
    assert connection["ip"] == server.client.address


async def test_user_names_are_checked_also_where_registration_is_closed(server: Server, admin: User) -> None:
    assert await admin.get(f"{V1}/username_available", username="new") == {"available": True}
    taken = await admin.request("GET", f"{V1}/username_available", username="admin")
    assert (taken.status, taken.json["errcode"]) == (400, "M_USER_IN_USE")


async def test_a_users_rate_limit_is_overridden(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    path = f"{V1}/users/{alice.user_id}/override_ratelimit"
    assert await admin.get(path) == {}
    assert await admin.post(path, {"messages_per_second": 5, "burst_count": 9}) == {
        "messages_per_second": 5,
        "burst_count": 9,
    }
    overrides = server.homeserver.admin.users.rate_limits
    assert overrides.of_user(alice.user_id) == (5, 9)
    assert (await admin.request("POST", path, {"messages_per_second": -1})).status == 400
    await admin.request("DELETE", path)
    assert await admin.get(path) == {}
    assert overrides.of_user(alice.user_id) is None


@pytest.mark.parametrize("erase", [False, True])
async def test_deactivation_erases_only_where_that_is_asked(server: Server, admin: User, erase: bool) -> None:
    alice = await server.register("alice")
    await admin.post(f"{V1}/deactivate/{alice.user_id}", {"erase": erase})
    details = await admin.get(f"{V2}/users/{alice.user_id}")
    assert (details["deactivated"], details["erased"]) == (True, erase)
    with pytest.raises(AssertionError):
        await server.log_in("alice")


async def test_features_for_single_users_are_refused_honestly(server: Server, admin: User) -> None:
    path = f"{V1}/experimental_features/{admin.user_id}"
    assert await admin.get(path) == {"features": {}}
    refused = await admin.request("PUT", path, {"features": {"msc3881": True}})
    assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await admin.request("POST", f"{V1}/users/{admin.user_id}/shadow_ban", {})).status == 404


async def test_registration_tokens_are_kept(server: Server, admin: User) -> None:
    path = f"{V1}/registration_tokens"
    made = await admin.post(f"{path}/new", {"uses_allowed": 2})
    assert (len(made["token"]), made["uses_allowed"], made["pending"], made["completed"]) == (16, 2, 0, 0)
    named = await admin.post(f"{path}/new", {"token": "abc-._~", "expiry_time": server.clock.now_ms() + 1000})
    assert named["token"] == "abc-._~"
    assert (await admin.request("POST", f"{path}/new", {"token": "abc-._~"})).status == 400
    for body in ({"token": "a b"}, {"token": ""}, {"length": 65}, {"uses_allowed": -1}, {"expiry_time": 1}):
        assert (await admin.request("POST", f"{path}/new", body)).status == 400, body
    assert len((await admin.get(path))["registration_tokens"]) == 2
    await server.clock.advance(2)
    assert [token["token"] for token in (await admin.get(path, valid="false"))["registration_tokens"]] == ["abc-._~"]
    assert (await admin.put(f"{path}/{made['token']}", {"uses_allowed": None}))["uses_allowed"] is None
    assert (await admin.get(f"{path}/{made['token']}"))["expiry_time"] is None
    await admin.request("DELETE", f"{path}/{made['token']}")
    for method in ("GET", "DELETE"):
        assert (await admin.request(method, f"{path}/{made['token']}")).status == 404


async def test_accounts_are_renewed_where_they_end() -> None:
    validity = replace(server_settings().users, validity=ValiditySettings(period_days=30))
    server = open_server(settings=server_settings(users=validity))
    admin, alice = await server.register("admin", admin=True), await server.register("alice")
    path = f"{V1}/account_validity/validity"
    renewed = await admin.post(path, {"user_id": alice.user_id})
    assert renewed == {"expiration_ts": server.clock.now_ms() + 30 * 24 * 3600 * 1000}
    until = server.clock.now_ms() + 1000
    assert await admin.post(path, {"user_id": alice.user_id, "expiration_ts": until}) == {"expiration_ts": until}
    assert (await admin.request("POST", path, {"user_id": user_id("nobody")})).status == 404
    await server.close()


async def test_accounts_that_do_not_end_are_not_renewed(server: Server, admin: User) -> None:
    answer = await admin.request("POST", f"{V1}/account_validity/validity", {"user_id": admin.user_id})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_external_identities_are_linked_and_found(server: Server, admin: User) -> None:
    for name in ("alice", "bob"):
        await server.register(name)
    identity = {"auth_provider": "https://idp.example.org", "external_id": "sub 1"}
    path = f"{V2}/users/{user_id('alice')}"
    assert (await admin.put(path, {"external_ids": [identity]}))["external_ids"] == [identity]
    found = f"{V1}/auth_providers/https%3A%2F%2Fidp.example.org/users/sub%201"
    assert await admin.get(found) == {"user_id": user_id("alice")}
    taken = await admin.request("PUT", f"{V2}/users/{user_id('bob')}", {"external_ids": [identity]})
    assert (taken.status, taken.json["errcode"]) == (400, "M_USER_IN_USE")
    assert (await admin.put(path, {"external_ids": []}))["external_ids"] == []
    assert (await admin.request("GET", found)).status == 404
