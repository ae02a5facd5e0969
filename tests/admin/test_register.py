"""Shared-secret registration, as Synapse's tools speak it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from homeserver.admin.register import SharedSecretRegistration
from homeserver.http.application import HttpApplication
from homeserver.http.authentication import BearerAuthenticator
from homeserver.http.routing import Router
from homeserver.users.registration import RegistrationSettings
from tests.support.http import Answer, MemoryClient
from tests.support.user_server import (
    PASSWORD,
    SERVER_NAME,
    SHARED_SECRET,
    UserServer,
    login_body,
    open_user_server,
    settings,
)

PATH = "/_synapse/admin/v1/register"


@pytest.fixture
def server() -> UserServer:
    """Registration is closed to everybody else."""
    return open_user_server(chosen=settings(RegistrationSettings()))


def proof(nonce: str, username: str, password: str, admin: bool, user_type: str | None, secret: str) -> str:
    """As Synapse's documentation computes it."""
    mac = hmac.new(secret.encode("utf8"), digestmod=hashlib.sha1)
    for number, part in enumerate([nonce, username, password, "admin" if admin else "notadmin", user_type]):
        if part is not None:
            mac.update((b"\x00" if number else b"") + part.encode("utf8"))
    return mac.hexdigest()


async def register(
    server: UserServer,
    username: str,
    *,
    admin: bool = False,
    user_type: str | None = None,
    secret: str = SHARED_SECRET,
    **sent: Any,
) -> Answer:
    """`sent` are members that the proof does not cover."""
    nonce = (await server.get(PATH)).json["nonce"]
    body: dict[str, Any] = {"nonce": nonce, "username": username, "password": PASSWORD, "admin": admin}
    body["mac"] = proof(nonce, username, PASSWORD, admin, user_type, secret)
    if user_type is not None:
        body["user_type"] = user_type
    return await server.post(PATH, {**body, **sent})


async def test_operator_makes_an_account_with_a_session(server: UserServer) -> None:
    answer = await register(server, "pepper", displayname="Pepper Roni")
    assert answer.status == 200
    assert answer.json["user_id"] == f"@pepper:{SERVER_NAME}"
    assert answer.json["home_server"] == SERVER_NAME
    assert (await server.get("/account/whoami", token=answer.json["access_token"])).status == 200
    assert (await server.get(f"/profile/@pepper:{SERVER_NAME}")).json == {"displayname": "Pepper Roni"}
    assert (await server.post("/login", login_body("pepper"))).status == 200
    account = await server.services.accounts.find_account(f"@pepper:{SERVER_NAME}")
    assert account is not None
    assert not account.is_admin


async def test_operator_makes_administrators_and_bots(server: UserServer) -> None:
    assert (await register(server, "boss", admin=True)).status == 200
    assert (await register(server, "robot", user_type="bot", inhibit_login=True)).json == {
        "user_id": f"@robot:{SERVER_NAME}",
        "home_server": SERVER_NAME,
    }
    boss = await server.services.accounts.find_account(f"@boss:{SERVER_NAME}")
    robot = await server.services.accounts.find_account(f"@robot:{SERVER_NAME}")
    assert boss is not None
    assert robot is not None
    assert (boss.is_admin, robot.is_admin, robot.user_type) == (True, False, "bot")


@pytest.mark.parametrize(
    "changes",
    [
        {"mac": "0" * 40},
        {"mac": ""},
        {"mac": "ü"},
        {"admin": True},
        {"username": "other"},
        {"password": "another password"},
        {"user_type": "bot"},
    ],
)
async def test_F09_proof_covers_everything_that_counts(server: UserServer, changes: dict[str, Any]) -> None:
    nonce = (await server.get(PATH)).json["nonce"]
    body = {"nonce": nonce, "username": "pepper", "password": PASSWORD}
    body["mac"] = proof(nonce, "pepper", PASSWORD, False, None, SHARED_SECRET)
    answer = await server.post(PATH, {**body, **changes})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert await server.services.accounts.find_account(f"@pepper:{SERVER_NAME}") is None


async def test_F09_wrong_secret_is_refused(server: UserServer) -> None:
    assert (await register(server, "pepper", secret="wrong")).status == 403
    assert (await register(server, "pepper", secret="")).status == 403


async def test_F09_nonce_is_good_once_and_for_a_minute(server: UserServer) -> None:
    nonce = (await server.get(PATH)).json["nonce"]
    body = {"nonce": nonce, "username": "a", "password": PASSWORD}
    body["mac"] = proof(nonce, "a", PASSWORD, False, None, SHARED_SECRET)
    assert (await server.post(PATH, {**body, "mac": "wrong"})).status == 403
    used = await server.post(PATH, body)
    assert (used.status, used.json["errcode"]) == (400, "M_INVALID_PARAM")
    for nonce in ("", "unknown"):
        assert (await server.post(PATH, {**body, "nonce": nonce})).status == 400
    old = (await server.get(PATH)).json["nonce"]
    await server.clock.advance(60)
    body = {**body, "nonce": old, "mac": proof(old, "a", PASSWORD, False, None, SHARED_SECRET)}
    assert (await server.post(PATH, body)).status == 400


async def test_nonces_have_a_bound(server: UserServer) -> None:
    first = (await server.get(PATH)).json["nonce"]
    for _ in range(1000):
        await server.get(PATH)
    body = {"nonce": first, "username": "a", "password": PASSWORD, "mac": ""}
    assert (await server.post(PATH, body)).json["errcode"] == "M_INVALID_PARAM"


@pytest.mark.parametrize(
    ("username", "changes", "errcode"),
    [
        ("bad name", {}, "M_INVALID_USERNAME"),
        ("a", {"user_type": "king"}, "M_INVALID_PARAM"),
        ("a", {"admin": "yes"}, "M_BAD_JSON"),
        ("a", {"mac": None}, "M_BAD_JSON"),
    ],
)
async def test_bad_requests_are_refused(server: UserServer, username: str, changes: Any, errcode: str) -> None:
    answer = await register(server, username, **changes)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


async def test_taken_name_is_refused(server: UserServer) -> None:
    await register(server, "pepper")
    answer = await register(server, "pepper")
    assert (answer.status, answer.json["errcode"]) == (400, "M_USER_IN_USE")


@pytest.mark.parametrize("secret", [None, ""])
async def test_F01_without_a_secret_there_is_no_such_endpoint(server: UserServer, secret: str | None) -> None:
    registration = SharedSecretRegistration(server.services.registration, server.clock, secret)
    authenticator = BearerAuthenticator(server.services.authentication)
    client = MemoryClient(HttpApplication(Router(registration.routes()), authenticator, clock=server.clock))
    for method in ("GET", "POST"):
        answer = await client.request(method, PATH, json={"nonce": "", "username": "a", "password": "b", "mac": ""})
        assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")
