"""Logging in, out, and refreshing, over HTTP."""

from __future__ import annotations

import pytest

from tests.support.user_server import (
    IRC,
    PASSWORD,
    SERVER_NAME,
    TELEGRAM,
    V1,
    UserServer,
    login_body,
    open_user_server,
    person_of,
    settings,
)


async def test_login_flows_name_what_works(server: UserServer) -> None:
    answer = await server.get("/login")
    assert {flow["type"] for flow in answer.json["flows"]} == {
        "m.login.password",
        "m.login.token",
        "m.login.application_service",
    }
    assert (await server.get("/_matrix/client/r0/login")).json == answer.json


@pytest.mark.parametrize("name", ["alice", "ALICE", f"@alice:{SERVER_NAME}"])
async def test_password_login_opens_a_session(server: UserServer, name: str) -> None:
    await server.register("alice")
    answer = await server.post("/login", login_body(name, device_id="PHONE", initial_device_display_name="Phone"))
    assert answer.status == 200
    assert answer.json["user_id"] == f"@alice:{SERVER_NAME}"
    assert answer.json["device_id"] == "PHONE"
    assert answer.json["well_known"] == {"m.homeserver": {"base_url": "https://matrix.halfdoor.test"}}
    assert "refresh_token" not in answer.json
    whoami = await server.get("/account/whoami", token=answer.json["access_token"])
    assert whoami.json == {"user_id": f"@alice:{SERVER_NAME}", "device_id": "PHONE", "is_guest": False}


async def test_the_old_form_of_a_password_login_works(server: UserServer) -> None:
    await server.register("alice")
    answer = await server.post("/login", {"type": "m.login.password", "user": "alice", "password": PASSWORD})
    assert answer.status == 200


async def test_logging_in_again_on_a_device_voids_its_old_token(server: UserServer) -> None:
    first = await server.register("alice")
    second = await server.log_in("alice", device_id=first.device_id)
    assert (await server.get("/account/whoami", token=first.token)).json["errcode"] == "M_UNKNOWN_TOKEN"
    assert (await server.get("/account/whoami", token=second.token)).status == 200


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({"type": "m.login.sso"}, 400, "M_UNKNOWN"),
        ({"type": "m.login.password", "password": "x"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "a"}}, 400, "M_MISSING_PARAM"),
        ({"password": "x"}, 400, "M_MISSING_PARAM"),
        ({"type": 1}, 400, "M_BAD_JSON"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.phone"}, "password": "x"}, 400, "M_BAD_JSON"),
        ({"type": "m.login.password", "identifier": {"type": "m.id.face"}, "password": "x"}, 400, "M_INVALID_PARAM"),
        ({"type": "m.login.token"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.token", "token": "hdl_x"}, 403, "M_FORBIDDEN"),
        ({"type": "m.login.application_service", "user": "x"}, 401, "M_MISSING_TOKEN"),
    ],
)
async def test_bad_logins_are_refused(server: UserServer, body: object, status: int, errcode: str) -> None:
    answer = await server.post("/login", body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode)


async def test_F07_unknown_users_and_wrong_passwords_get_the_same_answer(server: UserServer) -> None:
    await server.register("alice")
    wrong = await server.post("/login", login_body("alice", "wrong password"))
    unknown = await server.post("/login", login_body("nobody", "wrong password"))
    malformed = await server.post("/login", login_body("@x:y:z:\0", "wrong password"))
    assert wrong.status == unknown.status == 403
    assert wrong.body == unknown.body
    assert malformed.status in (400, 403)


async def test_F02_a_deactivated_account_cannot_log_in_by_any_method() -> None:
    server = open_user_server(appservices=[IRC])
    alice = await server.register("alice")
    token, _ = await server.services.logins.create_login_token(
        await server.services.authentication.verify_token(alice.token)
    )
    await server.post(
        "/register",
        {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True},
        token=IRC.as_token,
    )
    for user in (alice.user_id, f"@_irc_bob:{SERVER_NAME}"):
        await server.services.accounts.deactivate(user, erase=False)
    by_password = await server.post("/login", login_body("alice"))
    by_token = await server.post("/login", {"type": "m.login.token", "token": token})
    by_service = await server.post(
        "/login",
        {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "_irc_bob"}},
        token=IRC.as_token,
    )
    assert [each.status for each in (by_password, by_token, by_service)] == [403, 403, 403]
    assert by_service.json["errcode"] == "M_USER_DEACTIVATED"


async def test_F02_a_hook_that_says_yes_does_not_let_a_deactivated_account_in(server: UserServer) -> None:
    alice = await server.register("alice")
    await server.services.accounts.deactivate(alice.user_id, erase=False)

    async def everybody(user_id: str, password: str) -> bool | None:
        return True

    server.hooks.check_password.append(everybody)
    answer = await server.post("/login", login_body("alice"))
    assert (answer.status, answer.json["errcode"]) == (403, "M_USER_DEACTIVATED")


async def test_locked_account_cannot_log_in_but_its_session_can_log_out(server: UserServer) -> None:
    alice = await server.register("alice")
    await server.services.accounts.set_flag(alice.user_id, "is_locked", True)
    for answer in (
        await server.post("/login", login_body("alice")),
        await server.get("/account/whoami", token=alice.token),
    ):
        assert (answer.status, answer.json["errcode"], answer.json["soft_logout"]) == (401, "M_USER_LOCKED", True)
    assert (await server.post("/logout", {}, token=alice.token)).status == 200
    await server.services.accounts.set_flag(alice.user_id, "is_locked", False)
    assert (await server.get("/account/whoami", token=alice.token)).json["errcode"] == "M_UNKNOWN_TOKEN"


async def test_application_service_logs_in_its_own_users_only() -> None:
    server = open_user_server(appservices=[IRC, TELEGRAM])
    registration = {"type": "m.login.application_service", "username": "_irc_bob"}
    assert (await server.post("/register", registration, token=IRC.as_token)).status == 200
    login = {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "_irc_bob"}}
    assert (await server.post("/login", login, token=IRC.as_token)).status == 200
    foreign = await server.post("/login", login, token=TELEGRAM.as_token)
    assert (foreign.status, foreign.json["errcode"]) == (400, "M_EXCLUSIVE")
    unknown = await server.post("/login", login, token="wrong")
    assert (unknown.status, unknown.json["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    login["identifier"] = {"type": "m.id.user", "user": "_irc_nobody"}
    unregistered = await server.post("/login", login, token=IRC.as_token)
    assert (unregistered.status, unregistered.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_login_token_lets_another_client_in_once(server: UserServer) -> None:
    alice = await server.register("alice")
    answer = await server.with_password("POST", f"{V1}/login/get_token", {}, token=alice.token)
    assert answer.json["expires_in_ms"] == 120_000
    login = {"type": "m.login.token", "token": answer.json["login_token"]}
    assert (await server.post("/login", login)).json["user_id"] == alice.user_id
    assert (await server.post("/login", login)).json["errcode"] == "M_FORBIDDEN"


async def test_login_token_is_too_old_after_two_minutes(server: UserServer) -> None:
    alice = await server.register("alice")
    answer = await server.with_password("POST", f"{V1}/login/get_token", {}, token=alice.token)
    await server.clock.advance(120)
    login = {"type": "m.login.token", "token": answer.json["login_token"]}
    assert (await server.post("/login", login)).json["errcode"] == "M_FORBIDDEN"


async def test_logout_ends_the_device_with_its_token(server: UserServer) -> None:
    alice = await server.register("alice")
    other = await server.log_in("alice")
    assert (await server.post("/logout", {}, token=alice.token)).status == 200
    assert (await server.get("/account/whoami", token=alice.token)).json == {
        "errcode": "M_UNKNOWN_TOKEN",
        "error": "This access token is unknown; log in again.",
        "soft_logout": False,
    }
    devices = (await server.get("/devices", token=other.token)).json["devices"]
    assert [device["device_id"] for device in devices] == [other.device_id]


async def test_logout_everywhere_ends_all_devices(server: UserServer) -> None:
    alice = await server.register("alice")
    other = await server.log_in("alice")
    assert (await server.post("/logout/all", token=alice.token)).status == 200
    for token in (alice.token, other.token):
        assert (await server.get("/account/whoami", token=token)).status == 401
    fresh = await server.log_in("alice")
    assert len((await server.get("/devices", token=fresh.token)).json["devices"]) == 1


async def test_logout_without_a_token_is_refused(server: UserServer) -> None:
    assert (await server.post("/logout")).json["errcode"] == "M_MISSING_TOKEN"
    assert (await server.post("/logout/all", token="hd_wrong")).json["errcode"] == "M_UNKNOWN_TOKEN"


async def test_access_token_of_a_refreshing_client_expires_softly(server: UserServer) -> None:
    await server.register("alice")
    alice = await server.log_in("alice", refresh_token=True)
    await server.clock.advance(299)
    assert (await server.get("/account/whoami", token=alice.token)).status == 200
    await server.clock.advance(1)
    answer = await server.get("/account/whoami", token=alice.token)
    assert (answer.status, answer.json["errcode"], answer.json["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)


async def test_refresh_keeps_the_device_and_voids_the_old_token_at_first_use(server: UserServer) -> None:
    await server.register("alice")
    alice = await server.log_in("alice", refresh_token=True)
    answer = await server.post("/refresh", {"refresh_token": alice.refresh_token})
    assert answer.json["expires_in_ms"] == 300_000
    assert (await server.get("/account/whoami", token=alice.token)).status == 200
    fresh = await server.get("/account/whoami", token=answer.json["access_token"])
    assert fresh.json["device_id"] == alice.device_id
    assert (await server.get("/account/whoami", token=alice.token)).status == 401


async def test_a_lost_answer_to_refresh_can_be_asked_for_again(server: UserServer) -> None:
    await server.register("alice")
    alice = await server.log_in("alice", refresh_token=True)
    lost = await server.post("/refresh", {"refresh_token": alice.refresh_token})
    again = await server.post("/refresh", {"refresh_token": alice.refresh_token})
    assert again.status == 200
    assert (await server.get("/account/whoami", token=lost.json["access_token"])).status == 401
    assert (await server.get("/account/whoami", token=again.json["access_token"])).status == 200


@pytest.mark.parametrize("used", ["access", "refresh"])
async def test_F16_a_spent_refresh_token_revokes_all_its_descendants(server: UserServer, used: str) -> None:
    await server.register("alice")
    alice = await server.log_in("alice", refresh_token=True)
    other = await server.log_in("alice")
    second = (await server.post("/refresh", {"refresh_token": alice.refresh_token})).json
    if used == "access":
        assert (await server.get("/account/whoami", token=second["access_token"])).status == 200
    else:
        third = (await server.post("/refresh", {"refresh_token": second["refresh_token"]})).json
        assert (await server.get("/account/whoami", token=third["access_token"])).status == 200
    stolen = await server.post("/refresh", {"refresh_token": alice.refresh_token})
    assert (stolen.status, stolen.json["errcode"], stolen.json["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
    for token in (alice.token, second["access_token"]):
        assert (await server.get("/account/whoami", token=token)).status == 401
    assert (await server.post("/refresh", {"refresh_token": second["refresh_token"]})).status == 401
    assert (await server.get("/account/whoami", token=other.token)).status == 200


async def test_F16_logout_ends_refresh_tokens(server: UserServer) -> None:
    await server.register("alice")
    alice = await server.log_in("alice", refresh_token=True)
    await server.post("/logout", token=alice.token)
    answer = await server.post("/refresh", {"refresh_token": alice.refresh_token})
    assert (answer.status, answer.json["errcode"], answer.json["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", False)


async def test_refresh_token_can_expire() -> None:
    from homeserver.users.access_tokens import TokenSettings

    server = open_user_server(chosen=settings(tokens=TokenSettings(refresh_ms=3600_000)))
    await server.register("alice")
    alice = await server.log_in("alice", refresh_token=True)
    await server.clock.advance(3600)
    answer = await server.post("/refresh", {"refresh_token": alice.refresh_token})
    assert (answer.status, answer.json["soft_logout"]) == (401, True)


async def test_D13_ten_thousand_wrong_passwords_are_hardly_looked_at(server: UserServer) -> None:
    await server.register("alice")
    looked_at = 0

    async def count(user_id: str, password: str) -> bool | None:
        nonlocal looked_at
        looked_at += 1
        return False

    server.hooks.check_password.append(count)
    statuses = set()
    for _ in range(10_000 // 36):
        for _ in range(36):
            statuses.add((await server.post("/login", login_body("alice", "guess"))).status)
        await server.clock.advance(3600 / (10_000 // 36))
    assert statuses == {403, 429}
    assert looked_at <= 16  # a burst of 5 and 10.8 in the hour


async def test_right_passwords_do_not_use_up_attempts(server: UserServer) -> None:
    await server.register("alice")
    for _ in range(20):
        person_of(await server.post("/login", login_body("alice", device_id="SAME")))
