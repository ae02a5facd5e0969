"""Registration of people, guests and ghosts, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.hooks import RegistrationToCheck
from homeserver.protocol.errors import Forbidden
from homeserver.storage.database import Transaction
from homeserver.storage.registration_tokens import RegistrationToken
from homeserver.users.registration import RegistrationSettings
from tests.support.http import Answer
from tests.support.user_server import (
    IRC,
    PASSWORD,
    SERVER_NAME,
    TELEGRAM,
    V1,
    UserServer,
    login_body,
    open_user_server,
    settings,
)

TERMS = {"privacy": {"version": "1", "en": {"name": "Privacy <b>policy</b>", "url": "https://halfdoor.test/privacy"}}}


async def register(server: UserServer, body: dict[str, Any], stage: str = "m.login.dummy", **auth: Any) -> Answer:
    """Register through one stage."""
    asked = await server.post("/register", body)
    if asked.status != 401:
        return asked
    auth = {"type": stage, "session": asked.json["session"], **auth}
    return await server.post("/register", {**body, "auth": auth})


async def add_token(server: UserServer, token: RegistrationToken) -> None:
    async def add(txn: Transaction) -> None:
        assert await server.services.registration_tokens.add_token(txn, token)

    await server.db.write(add)


async def test_registration_asks_for_a_stage_and_then_opens_a_session(server: UserServer) -> None:
    asked = await server.post("/register", {"username": "alice", "password": PASSWORD})
    assert asked.status == 401
    assert asked.json["flows"] == [{"stages": ["m.login.dummy"]}]
    assert asked.json["params"] == {}
    assert "errcode" not in asked.json
    body = {"username": "alice", "password": PASSWORD, "device_id": "PHONE", "initial_device_display_name": "My phone"}
    answer = await register(server, body)
    assert answer.json["user_id"] == f"@alice:{SERVER_NAME}"
    assert answer.json["device_id"] == "PHONE"
    token = answer.json["access_token"]
    assert (await server.get("/devices/PHONE", token=token)).json["display_name"] == "My phone"
    assert (await server.post("/login", login_body("alice"))).status == 200


async def test_dummy_stage_may_be_given_at_once_without_a_session(server: UserServer) -> None:
    answer = await server.post("/register", {"username": "bob", "auth": {"type": "m.login.dummy"}})
    assert answer.status == 200


async def test_client_that_asks_with_an_empty_body_first_may_keep_its_session(server: UserServer) -> None:
    session = (await server.post("/register", {})).json["session"]
    auth = {"type": "m.login.dummy", "session": session}
    answer = await server.post("/register", {"username": "carol", "password": PASSWORD, "auth": auth})
    assert answer.json["user_id"] == f"@carol:{SERVER_NAME}"


async def test_inhibit_login_makes_the_account_only(server: UserServer) -> None:
    answer = await register(server, {"username": "alice", "password": PASSWORD, "inhibit_login": True})
    assert answer.json == {"user_id": f"@alice:{SERVER_NAME}", "home_server": SERVER_NAME}


async def test_refresh_token_is_given_to_clients_that_want_it(server: UserServer) -> None:
    answer = await register(server, {"username": "alice", "password": PASSWORD, "refresh_token": True})
    assert answer.json["refresh_token"]
    assert answer.json["expires_in_ms"] == 300_000


async def test_capitals_in_user_names_are_lowered(server: UserServer) -> None:
    answer = await register(server, {"username": "user-UPPER", "password": PASSWORD})
    assert answer.json["user_id"] == f"@user-upper:{SERVER_NAME}"


async def test_a_name_is_made_when_none_is_given(server: UserServer) -> None:
    first, second = [(await register(server, {"password": PASSWORD})).json["user_id"] for _ in range(2)]
    assert first != second


@pytest.mark.parametrize("name", ["a b", "ä", "a:b", "@a", "", "x" * 250, "_ghost", "a\u2028", "😀"])
async def test_bad_user_names_are_refused_before_authentication(server: UserServer, name: str) -> None:
    answer = await server.post("/register", {"username": name, "password": PASSWORD})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_USERNAME")
    if name:
        available = await server.get("/register/available", username=name)
        assert (available.status, available.json["errcode"]) == (400, "M_INVALID_USERNAME")


@pytest.mark.parametrize("name", ["a", "0", "user.name", "a=b", "a-b", "a/b", "a+b", "a_b", "12345"])
async def test_good_user_names_are_taken(server: UserServer, name: str) -> None:
    assert (await server.get("/register/available", username=name)).json == {"available": True}
    assert (await register(server, {"username": name, "password": PASSWORD})).status == 200


async def test_taken_names_are_refused_even_after_deactivation(server: UserServer) -> None:
    alice = await server.register("alice")
    for _ in range(2):
        for answer in (
            await server.post("/register", {"username": "ALICE", "password": PASSWORD}),
            await server.get("/register/available", username="alice"),
        ):
            assert (answer.status, answer.json["errcode"]) == (400, "M_USER_IN_USE")
        await server.services.accounts.deactivate(alice.user_id, erase=True)


async def test_name_that_is_taken_during_authentication_is_refused_after_it(server: UserServer) -> None:
    body = {"username": "alice", "password": PASSWORD}
    session = (await server.post("/register", body)).json["session"]
    await server.register("alice")
    answer = await server.post("/register", {**body, "auth": {"type": "m.login.dummy", "session": session}})
    assert (answer.status, answer.json["errcode"]) == (400, "M_USER_IN_USE")


@pytest.mark.parametrize("password", ["short", "x" * 513])
async def test_weak_passwords_are_refused_before_authentication(server: UserServer, password: str) -> None:
    answer = await server.post("/register", {"username": "alice", "password": password})
    assert (answer.status, answer.json["errcode"]) == (400, "M_WEAK_PASSWORD")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"username": 1}, "M_BAD_JSON"),
        ({"password": ["x"]}, "M_BAD_JSON"),
        ({"inhibit_login": "yes"}, "M_BAD_JSON"),
        ({"auth": "x"}, "M_BAD_JSON"),
        ([], "M_BAD_JSON"),
        ({"device_id": "x" * 256, "auth": {"type": "m.login.dummy"}}, "M_INVALID_PARAM"),
        ({"device_id": "", "auth": {"type": "m.login.dummy"}}, "M_INVALID_PARAM"),
        ({"initial_device_display_name": "x" * 256, "auth": {"type": "m.login.dummy"}}, "M_TOO_LARGE"),
    ],
)
async def test_bad_bodies_are_refused(server: UserServer, body: object, errcode: str) -> None:
    answer = await server.post("/register", body)
    assert answer.status in (400, 413)
    assert answer.json["errcode"] == errcode


async def test_unknown_kind_is_refused(server: UserServer) -> None:
    assert (await server.post("/register", {}, kind="robot")).json["errcode"] == "M_INVALID_PARAM"


async def test_F09_closed_registration_has_no_side_door() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings()))
    body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    for answer in (
        await server.post("/register", body),
        await server.post("/_matrix/client/r0/register", body),
        await server.post("/register", {**body, "type": "m.login.password"}),
        await server.get("/register/available", username="alice"),
        await server.get(f"{V1}/register/m.login.registration_token/validity?token=x"),
    ):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    guest = await server.post("/register", {}, kind="guest")
    assert (guest.status, guest.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert await server.services.accounts.find_account(f"@alice:{SERVER_NAME}") is None


async def test_guest_gets_a_session_and_little_else(server: UserServer) -> None:
    wanted = {"username": "mine", "device_id": "MINE", "initial_device_display_name": "Cafe"}
    answer = await server.post("/register", wanted, kind="guest")
    assert answer.status == 200
    assert "mine" not in answer.json["user_id"]
    assert answer.json["device_id"] != "MINE"
    token = answer.json["access_token"]
    whoami = (await server.get("/account/whoami", token=token)).json
    assert whoami["is_guest"] is True
    refused = await server.put(f"/user/{whoami['user_id']}/account_data/x", {}, token=token)
    assert (refused.status, refused.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_guest_upgrades_to_a_full_account(server: UserServer) -> None:
    guest = (await server.post("/register", {}, kind="guest")).json
    name = guest["user_id"][1:].partition(":")[0]
    body = {"username": name, "password": PASSWORD, "guest_access_token": guest["access_token"]}
    answer = await register(server, body)
    assert answer.json["user_id"] == guest["user_id"]
    assert (await server.get("/account/whoami", token=answer.json["access_token"])).json["is_guest"] is False
    assert (await server.get("/account/whoami", token=guest["access_token"])).status == 401
    assert (await server.post("/login", login_body(name))).status == 200


async def test_guest_token_upgrades_nobody_else(server: UserServer) -> None:
    guest = (await server.post("/register", {}, kind="guest")).json
    alice = await server.register("alice")
    for token in (guest["access_token"], alice.token, "hd_wrong"):
        answer = await server.post("/register", {"username": "alice", "guest_access_token": token})
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_registration_token_is_counted_once_an_account_is_made() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, needs_token=True)))
    await add_token(server, RegistrationToken("once", uses_allowed=1))
    validity = f"{V1}/register/m.login.registration_token/validity"
    stage = "m.login.registration_token"
    asked = await server.post("/register", {"username": "alice"})
    assert asked.json["flows"] == [{"stages": [stage]}]
    wrong = await register(server, {"username": "alice"}, stage, token="wrong")
    assert (wrong.status, wrong.json["errcode"]) == (401, "M_UNAUTHORIZED")
    assert (await server.get(f"{validity}?token=once")).json == {"valid": True}
    assert (await register(server, {"username": "alice"}, stage, token="once")).status == 200
    assert (await server.get(f"{validity}?token=once")).json == {"valid": False}
    assert (await register(server, {"username": "bob"}, stage, token="once")).status == 401
    dummy = await register(server, {"username": "bob"})
    assert dummy.status == 401


async def test_two_sessions_cannot_share_the_last_use_of_a_token() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, needs_token=True, policies=TERMS)))
    await add_token(server, RegistrationToken("once", uses_allowed=1))
    sessions = {}
    for name in ("alice", "bob"):
        session = (await server.post("/register", {"username": name})).json["session"]
        auth = {"type": "m.login.registration_token", "token": "once", "session": session}
        half = await server.post("/register", {"username": name, "auth": auth})
        assert half.json["completed"] == ["m.login.registration_token"]
        sessions[name] = session
    answers = []
    for name, session in sessions.items():
        auth = {"type": "m.login.terms", "session": session}
        answers.append(await server.post("/register", {"username": name, "auth": auth}))
    assert [answer.status for answer in answers] == [200, 403]
    assert await server.services.accounts.find_account(f"@bob:{SERVER_NAME}") is None


async def test_registration_token_expires() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, needs_token=True)))
    await add_token(server, RegistrationToken("soon", expires_ts=server.clock.now_ms() + 1000))
    validity = f"{V1}/register/m.login.registration_token/validity"
    assert (await server.get(f"{validity}?token=soon")).json == {"valid": True}
    await server.clock.advance(1)
    assert (await server.get(f"{validity}?token=soon")).json == {"valid": False}
    assert (await server.get(validity)).json["errcode"] == "M_MISSING_PARAM"


async def test_captcha_is_judged_by_the_hook() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, recaptcha_public_key="KEY")))
    body, stage = {"username": "alice"}, "m.login.recaptcha"
    asked = await server.post("/register", body)
    assert asked.json["params"] == {stage: {"public_key": "KEY"}}
    nobody = await register(server, body, stage, response="yes")
    assert nobody.json["errcode"] == "M_CAPTCHA_INVALID"

    async def verify(response: str, address: str) -> bool:
        return (response, address) == ("yes", server.client.address)

    server.hooks.verify_captcha.append(verify)
    assert (await register(server, body, stage, response="no")).json["errcode"] == "M_CAPTCHA_INVALID"
    assert (await register(server, body, stage)).json["errcode"] == "M_CAPTCHA_NEEDED"
    assert (await register(server, body, stage, response="yes")).status == 200


async def test_every_stage_of_the_flow_must_be_done() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, needs_token=True, policies=TERMS)))
    await add_token(server, RegistrationToken("many"))
    body = {"username": "alice"}
    asked = await server.post("/register", body)
    assert asked.json["flows"] == [{"stages": ["m.login.registration_token", "m.login.terms"]}]
    assert asked.json["params"]["m.login.terms"]["policies"] == TERMS
    session = asked.json["session"]
    terms = await server.post("/register", {**body, "auth": {"type": "m.login.terms", "session": session}})
    assert (terms.status, terms.json["completed"]) == (401, ["m.login.terms"])
    auth = {"type": "m.login.registration_token", "token": "many", "session": session}
    assert (await server.post("/register", {**body, "auth": auth})).status == 200


async def test_hook_may_refuse_a_registration(server: UserServer) -> None:
    async def no_robots(wish: RegistrationToCheck) -> None:
        if "robot" in wish.username:
            raise Forbidden("No robots, please.")

    server.hooks.check_registration.append(no_robots)
    refused = await server.post("/register", {"username": "robot1", "password": PASSWORD})
    assert (refused.status, refused.json["error"]) == (403, "No robots, please.")
    assert (await register(server, {"username": "human", "password": PASSWORD})).status == 200


async def test_F10_exclusive_names_are_for_their_application_service_alone() -> None:
    server = open_user_server(appservices=[IRC, TELEGRAM])
    person = await server.post("/register", {"username": "_irc_alice", "password": PASSWORD})
    assert (person.status, person.json["errcode"]) == (400, "M_EXCLUSIVE")
    available = await server.get("/register/available", username="_irc_alice")
    assert (available.status, available.json["errcode"]) == (400, "M_EXCLUSIVE")
    wish = {"type": "m.login.application_service", "username": "_irc_alice"}
    other = await server.post("/register", wish, token=TELEGRAM.as_token)
    assert (other.status, other.json["errcode"]) == (400, "M_EXCLUSIVE")
    outside = await server.post("/register", {**wish, "username": "alice"}, token=IRC.as_token)
    assert (outside.status, outside.json["errcode"]) == (400, "M_EXCLUSIVE")
    assert (await server.post("/register", wish)).json["errcode"] == "M_MISSING_TOKEN"
    assert (await server.post("/register", wish, token="x")).json["errcode"] == "M_UNKNOWN_TOKEN"
    nameless = await server.post("/register", {"type": "m.login.application_service"}, token=IRC.as_token)
    assert nameless.json["errcode"] == "M_INVALID_USERNAME"
    made = await server.post("/register", {**wish, "inhibit_login": True}, token=IRC.as_token)
    assert made.json["user_id"] == f"@_irc_alice:{SERVER_NAME}"
    again = await server.post("/register", wish, token=IRC.as_token)
    assert again.json["errcode"] == "M_USER_IN_USE"


async def test_application_service_registers_even_where_registration_is_closed() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings()), appservices=[IRC])
    wish = {"type": "m.login.application_service", "username": "_irc_bob"}
    assert (await server.post("/register", wish, token=IRC.as_token)).status == 200
