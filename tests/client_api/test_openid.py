"""OpenID tokens: they say who somebody is to one service, and open nothing."""

from __future__ import annotations

from typing import Any

from homeserver.protocol.identifiers import domain_of
from tests.support.user_server import PASSWORD, SERVER_NAME, UserServer


async def token_of(server: UserServer, user_id: str, token: str) -> dict[str, Any]:
    body: dict[str, Any] = (await server.post(f"/user/{user_id}/openid/request_token", {}, token=token)).json
    return body


async def test_F15_a_token_names_only_a_user_of_the_server_that_it_says_to_ask(server: UserServer) -> None:
    alice = await server.register("alice")
    answer = await token_of(server, alice.user_id, alice.token)
    assert answer["matrix_server_name"] == SERVER_NAME
    named = await server.services.openid.find_user(answer["access_token"])
    assert named == alice.user_id
    assert domain_of(named) == answer["matrix_server_name"]
    for stranger in ("@bob:elsewhere.test", f"@bob:{SERVER_NAME}", "@alice:elsewhere.test"):
        refused = await server.post(f"/user/{stranger}/openid/request_token", {}, token=alice.token)
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_F15_a_token_opens_no_session_and_a_session_is_no_such_token(server: UserServer) -> None:
    alice = await server.register("alice")
    token = (await token_of(server, alice.user_id, alice.token))["access_token"]
    assert (await server.get("/account/whoami", token=token)).json["errcode"] == "M_UNKNOWN_TOKEN"
    assert (await server.post("/refresh", {"refresh_token": token})).json["errcode"] == "M_UNKNOWN_TOKEN"
    login = await server.post("/login", {"type": "m.login.token", "token": token})
    assert (login.status, login.json["errcode"]) == (403, "M_FORBIDDEN")
    for other in (alice.token, "", token[:-1], PASSWORD):
        assert await server.services.openid.find_user(other) is None


async def test_F15_a_token_is_short_lived_and_its_own(server: UserServer) -> None:
    alice = await server.register("alice")
    first = await token_of(server, alice.user_id, alice.token)
    second = await token_of(server, alice.user_id, alice.token)
    assert first["access_token"] != second["access_token"]
    assert first["expires_in"] <= 3600
    await server.clock.advance(first["expires_in"])
    for each in (first, second):
        assert await server.services.openid.find_user(each["access_token"]) is None


async def test_F15_a_token_of_somebody_who_was_locked_or_deactivated_names_nobody(server: UserServer) -> None:
    alice = await server.register("alice")
    token = (await token_of(server, alice.user_id, alice.token))["access_token"]
    await server.services.accounts.set_flag(alice.user_id, "is_locked", True)
    assert await server.services.openid.find_user(token) is None
    await server.services.accounts.set_flag(alice.user_id, "is_locked", False)
    assert await server.services.openid.find_user(token) == alice.user_id
    await server.services.accounts.deactivate(alice.user_id, erase=False)
    assert await server.services.openid.find_user(token) is None
