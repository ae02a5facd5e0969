"""A new password by e-mail, from the request to the first login."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.confirming import SECRET, add_email, confirm, open_mail_server, press, request_token
from tests.support.http import Answer
from tests.support.user_server import UserServer, login_body

EMAIL = "alice@example.org"
NEW_PASSWORD = "another good password"
AUTH = "m.login.email.identity"


@pytest.fixture
async def mail_server() -> UserServer:
    """With Alice, who has an address and forgets her password."""
    server = open_mail_server()
    alice = await server.register("alice")
    await add_email(server, alice.token, EMAIL)
    return server


async def reset(server: UserServer, sid: str, secret: str = SECRET, **body: Any) -> Answer:
    wanted = {"new_password": NEW_PASSWORD, **body}
    asked = await server.post("/account/password", wanted)
    assert (asked.status, asked.json["flows"]) == (401, [{"stages": [AUTH]}])
    credentials = {"sid": sid, "client_secret": secret}
    auth = {"type": AUTH, "session": asked.json["session"], "threepid_creds": credentials}
    return await server.post("/account/password", {**wanted, "auth": auth})


@pytest.mark.parametrize("logout_devices", [True, False, None])
async def test_who_reads_the_e_mail_sets_a_new_password(mail_server: UserServer, logout_devices: bool | None) -> None:
    phone = await mail_server.log_in("alice", refresh_token=True)
    sid = await confirm(mail_server, "/account/password", "Alice@example.org")
    body: dict[str, Any] = {} if logout_devices is None else {"logout_devices": logout_devices}
    assert (await reset(mail_server, sid, **body)).json == {}
    assert (await mail_server.post("/login", login_body("alice"))).status == 403
    assert (await mail_server.post("/login", login_body("alice", NEW_PASSWORD))).status == 200
    stays = logout_devices is False
    assert (await mail_server.get("/account/whoami", token=phone.token)).status == (200 if stays else 401)
    refreshed = await mail_server.post("/refresh", {"refresh_token": phone.refresh_token})
    assert refreshed.status == (200 if stays else 401)
    await mail_server.services.validation_sessions.settle()
    told = mail_server.outbox.take()
    assert (told.to, told.subject) == (EMAIL, "Your password for halfdoor.test was changed")
    assert "@alice:halfdoor.test" in told.text


async def test_F03_no_password_changes_before_the_link_was_followed_or_with_another_secret(
    mail_server: UserServer,
) -> None:
    sid = (await request_token(mail_server, "/account/password", EMAIL)).json["sid"]
    link = mail_server.outbox.take().links[0]
    assert (await reset(mail_server, sid)).json["errcode"] == "M_UNAUTHORIZED"
    await press(mail_server, link)
    assert (await reset(mail_server, sid, secret="other")).json["errcode"] == "M_UNAUTHORIZED"
    assert (await mail_server.post("/login", login_body("alice"))).status == 200
    assert (await reset(mail_server, sid)).status == 200
    second = await reset(mail_server, sid, new_password="a third good password")
    assert (second.status, second.json["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_F03_one_reset_ends_all_others_of_the_address(mail_server: UserServer) -> None:
    early = await confirm(mail_server, "/account/password", EMAIL, secret="early")
    late = await confirm(mail_server, "/account/password", EMAIL, secret="late")
    assert (await reset(mail_server, late, "late")).status == 200
    assert (await reset(mail_server, early, "early")).status == 401


async def test_F03_an_address_that_was_removed_meanwhile_opens_nothing(mail_server: UserServer) -> None:
    alice = await mail_server.log_in("alice")
    sid = await confirm(mail_server, "/account/password", EMAIL)
    await mail_server.post("/account/3pid/delete", {"medium": "email", "address": EMAIL}, token=alice.token)
    refused = await reset(mail_server, sid)
    assert (refused.status, refused.json["errcode"]) == (401, "M_UNAUTHORIZED")
    assert (await mail_server.post("/login", login_body("alice"))).status == 200


async def test_a_session_for_an_address_without_account_resets_nothing(mail_server: UserServer) -> None:
    sid = (await request_token(mail_server, "/account/password", "nobody@example.org")).json["sid"]
    assert mail_server.outbox.sent == []
    assert (await reset(mail_server, sid)).status == 401


async def test_weak_passwords_are_refused_before_the_e_mail_is_used(mail_server: UserServer) -> None:
    sid = await confirm(mail_server, "/account/password", EMAIL)
    weak = await mail_server.post("/account/password", {"new_password": "x"})
    assert (weak.status, weak.json["errcode"]) == (400, "M_WEAK_PASSWORD")
    assert (await reset(mail_server, sid)).status == 200


async def test_guests_have_no_password(mail_server: UserServer) -> None:
    guest = (await mail_server.post("/register", {}, kind="guest")).json
    answer = await mail_server.post("/account/password", {"new_password": NEW_PASSWORD}, token=guest["access_token"])
    assert (answer.status, answer.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    wrong = await mail_server.post("/account/password", {"new_password": NEW_PASSWORD}, token="hd_wrong")
    assert wrong.json["errcode"] == "M_UNKNOWN_TOKEN"


async def test_F06_no_secret_of_a_reset_is_in_the_database(mail_server: UserServer) -> None:
    await request_token(mail_server, "/account/password", EMAIL, secret="very.secret.of.client")
    token = mail_server.outbox.take().links[0].rpartition("token=")[2]
    rows = await mail_server.db.fetch_all("SELECT * FROM validation_sessions")
    assert rows
    assert "very.secret.of.client" not in repr(rows)
    assert token not in repr(rows)


async def test_clients_that_ask_for_no_session_first_set_a_password_too(mail_server: UserServer) -> None:
    """As Element does: it sends the stage with its first request, and again until the link was followed."""
    sid = (await request_token(mail_server, "/account/password", EMAIL)).json["sid"]
    credentials = {"sid": sid, "client_secret": SECRET}
    auth = {"type": AUTH, "threepid_creds": credentials, "threepidCreds": credentials}
    body = {"new_password": NEW_PASSWORD, "logout_devices": False, "auth": auth}
    early = await mail_server.post("/account/password", body)
    assert (early.status, early.json["errcode"]) == (401, "M_UNAUTHORIZED")
    await press(mail_server, mail_server.outbox.take().links[0])
    assert (await mail_server.post("/account/password", body)).json == {}
    assert (await mail_server.post("/login", login_body("alice", NEW_PASSWORD))).status == 200
