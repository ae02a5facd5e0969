"""/account: who am I, password, deactivation, addresses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.user_server import IRC, PASSWORD, SERVER_NAME, UserServer, login_body, open_user_server

NEW_PASSWORD = "another good password"
PUSHER: dict[str, Any] = {
    "app_id": "org.example",
    "pushkey": "key",
    "kind": "http",
    "app_display_name": "App",
    "device_display_name": "Phone",
    "lang": "en",
    "data": {"url": "https://push.example.org/_matrix/push/v1/notify"},
}


async def test_whoami_without_a_valid_token_is_refused(server: UserServer) -> None:
    assert (await server.get("/account/whoami")).json["errcode"] == "M_MISSING_TOKEN"
    assert (await server.get("/account/whoami", token="hd_x")).json["errcode"] == "M_UNKNOWN_TOKEN"


async def test_F10_application_service_acts_as_its_own_registered_users_only() -> None:
    server = open_user_server(appservices=[IRC])
    alice = await server.register("alice")
    token = IRC.as_token
    assert (await server.get("/account/whoami", token=token)).json == {"user_id": IRC.sender, "is_guest": False}
    name = {"displayname": "IRC"}
    assert (await server.put(f"/profile/{IRC.sender}/displayname", name, token=token)).status == 200
    ghost = f"@_irc_bob:{SERVER_NAME}"
    unregistered = await server.get("/account/whoami", token=token, user_id=ghost)
    assert (unregistered.status, unregistered.json["errcode"]) == (403, "M_FORBIDDEN")
    wish = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
    await server.post("/register", wish, token=token)
    for _ in range(2):  # the second time from memory
        assert (await server.get("/account/whoami", token=token, user_id=ghost)).json["user_id"] == ghost
    for foreign in (alice.user_id, "@_irc_bob:elsewhere.test", "nonsense"):
        answer = await server.get("/account/whoami", token=token, user_id=foreign)
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    await server.services.accounts.deactivate(ghost, erase=False)
    assert (await server.get("/account/whoami", token=token, user_id=ghost)).status == 403


async def test_F10_application_service_names_only_devices_that_exist() -> None:
    server = open_user_server(appservices=[IRC])
    token, ghost = IRC.as_token, f"@_irc_bob:{SERVER_NAME}"
    wish = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
    await server.post("/register", wish, token=token)
    unknown = await server.get("/account/whoami", token=token, user_id=ghost, device_id="D")
    assert (unknown.status, unknown.json["errcode"]) == (400, "M_UNKNOWN_DEVICE")
    assert (await server.put("/devices/D", {}, token=token, user_id=ghost)).status == 201
    for _ in range(2):
        answer = await server.get("/account/whoami", token=token, user_id=ghost, device_id="D")
        assert answer.json["device_id"] == "D"
    await server.delete("/devices/D", token=token, user_id=ghost)
    gone = await server.get("/account/whoami", token=token, user_id=ghost, device_id="D")
    assert gone.json["errcode"] == "M_UNKNOWN_DEVICE"


async def test_people_cannot_masquerade(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    answer = await server.get("/account/whoami", token=alice.token, user_id=bob.user_id, device_id=bob.device_id)
    assert answer.json["user_id"] == alice.user_id
    assert answer.json["device_id"] == alice.device_id


@pytest.mark.parametrize("logout_devices", [True, False, None])
async def test_F16_new_password_logs_other_devices_out_unless_told_not_to(
    server: UserServer, logout_devices: bool | None
) -> None:
    alice = await server.register("alice")
    other = await server.log_in("alice")
    assert (await server.post("/pushers/set", {**PUSHER, "pushkey": "mine"}, token=alice.token)).status == 200
    assert (await server.post("/pushers/set", {**PUSHER, "pushkey": "other's"}, token=other.token)).status == 200
    body: dict[str, Any] = {"new_password": NEW_PASSWORD}
    if logout_devices is not None:
        body["logout_devices"] = logout_devices
    answer = await server.with_password("POST", "/account/password", body, token=alice.token)
    assert answer.status == 200
    assert (await server.get("/account/whoami", token=alice.token)).status == 200
    stays = logout_devices is False
    assert (await server.get("/account/whoami", token=other.token)).status == (200 if stays else 401)
    pushers = (await server.get("/pushers", token=alice.token)).json["pushers"]
    assert [pusher["pushkey"] for pusher in pushers] == (["mine", "other's"] if stays else ["mine"])
    assert (await server.post("/login", login_body("alice"))).status == 403
    assert (await server.post("/login", login_body("alice", NEW_PASSWORD))).status == 200


async def test_password_change_is_refused_without_the_old_password(server: UserServer) -> None:
    alice = await server.register("alice")
    body = {"new_password": NEW_PASSWORD}
    wrong = await server.with_password("POST", "/account/password", body, token=alice.token, password="wrong")
    assert (wrong.status, wrong.json["errcode"]) == (401, "M_FORBIDDEN")
    weak = await server.post("/account/password", {"new_password": "x"}, token=alice.token)
    assert (weak.status, weak.json["errcode"]) == (400, "M_WEAK_PASSWORD")
    assert (await server.post("/account/password", {}, token=alice.token)).json["errcode"] == "M_MISSING_PARAM"
    assert (await server.post("/account/password", body)).json["errcode"] == "M_MISSING_TOKEN"
    assert (await server.post("/login", login_body("alice"))).status == 200


async def test_deactivation_ends_everything_that_the_account_had(server: UserServer) -> None:
    ended: list[tuple[str, bool]] = []

    async def note(user_id: str, erase: bool) -> None:
        ended.append((user_id, erase))

    server.services.hooks.deactivated.append(note)
    alice = await server.register("alice")
    user = f"/user/{alice.user_id}"
    await server.put(f"{user}/account_data/org.x", {"secret": 1}, token=alice.token)
    await server.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"}, token=alice.token)
    await server.post("/pushers/set", PUSHER, token=alice.token)
    answer = await server.with_password("POST", "/account/deactivate", {"erase": True}, token=alice.token)
    assert answer.json == {"id_server_unbind_result": "success"}
    assert ended == [(alice.user_id, True)]
    assert (await server.get("/account/whoami", token=alice.token)).json["errcode"] == "M_UNKNOWN_TOKEN"
    assert (await server.post("/login", login_body("alice"))).json["errcode"] == "M_FORBIDDEN"
    assert (await server.get(f"/profile/{alice.user_id}")).json["errcode"] == "M_NOT_FOUND"
    account = await server.services.accounts.find_account(alice.user_id)
    assert account is not None
    assert account.is_deactivated
    assert account.is_erased
    assert account.password_hash is None
    for table in ("account_data", "devices", "access_tokens", "pushers", "profiles", "user_directory"):
        assert await server.db.fetch_value(f"SELECT COUNT(*) FROM {table}") == 0, table


async def test_application_service_ends_its_ghost_without_a_password() -> None:
    server = open_user_server(appservices=[IRC])
    ghost = f"@_irc_bob:{SERVER_NAME}"
    wish = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
    await server.post("/register", wish, token=IRC.as_token)
    password = await server.post("/account/password", {"new_password": PASSWORD}, token=IRC.as_token, user_id=ghost)
    assert password.status == 403
    assert (await server.post("/account/deactivate", {}, token=IRC.as_token, user_id=ghost)).status == 200
    assert not await server.services.accounts.exists(ghost)
