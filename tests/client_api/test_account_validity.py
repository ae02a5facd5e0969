"""Accounts that end: what they can still do, who is told, and how they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from homeserver.storage.database import Database
from homeserver.users.account_validity import RENEW_PATH, ValiditySettings
from homeserver.users.validation_sessions import EmailSettings
from tests.support.confirming import FORM, add_email
from tests.support.user_server import IRC, SERVER_NAME, UserServer, login_body, open_user_server, settings

DAY = 24 * 3600
BASE = "https://matrix.halfdoor.test"
SEND_MAIL = "/_matrix/client/unstable/account_validity/send_mail"
EMAIL = "alice@example.org"


def open_ending_server(db: Database | None = None) -> UserServer:
    """Accounts last thirty days; the e-mail comes ten days before."""
    validity = ValiditySettings(period_days=30, renew_days=10, base_url=BASE)
    server = open_user_server(db, settings(email=EmailSettings(base_url=BASE), validity=validity), appservices=[IRC])
    server.services.start()
    return server


@pytest.fixture
async def ending() -> AsyncIterator[UserServer]:
    server = open_ending_server()
    yield server
    await server.services.close()


async def press(server: UserServer, link: str) -> int:
    """Press the button of the page that a link leads to."""
    fields = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    answer = await server.client.request("POST", RENEW_PATH, body=urlencode(fields).encode(), headers=FORM)
    return answer.status


async def whoami(server: UserServer, token: str) -> str:
    """The error code, or `ok`."""
    body = (await server.get("/account/whoami", token=token)).json
    return str(body.get("errcode", "ok"))


async def test_an_account_ends_and_goes_on_where_it_was(database: Database) -> None:
    server = open_ending_server(database)
    alice = await server.register("alice")
    await server.clock.advance(1)  # it is given its end
    assert await whoami(server, alice.token) == "ok"
    await server.clock.advance(30 * DAY - 2)
    assert await whoami(server, alice.token) == "ok"
    await server.clock.advance(1)
    for _ in range(2):
        assert await whoami(server, alice.token) == "ORG_MATRIX_EXPIRED_ACCOUNT"
    answer = await server.get("/account/whoami", token=alice.token)
    assert answer.status == 403
    again = await server.post("/login", login_body("alice"))
    assert again.status == 200
    assert await whoami(server, again.json["access_token"]) == "ORG_MATRIX_EXPIRED_ACCOUNT"
    end = await server.services.account_validity.renew_by_operator(alice.user_id, None, sends_mails=True)
    assert end == server.clock.now_ms() + 30 * DAY * 1000
    assert await whoami(server, alice.token) == "ok"
    await server.services.close()


async def test_an_ended_account_may_log_out(ending: UserServer) -> None:
    alice = await ending.register("alice")
    await ending.clock.advance(31 * DAY)
    assert (await ending.post("/logout", token=alice.token)).status == 200
    assert await whoami(ending, alice.token) == "M_UNKNOWN_TOKEN"


async def test_the_owner_is_told_in_time_and_renews_by_the_link(ending: UserServer) -> None:
    alice = await ending.register("alice")
    await add_email(ending, alice.token, EMAIL)
    await ending.clock.advance(19 * DAY)
    assert ending.outbox.sent == []
    await ending.clock.advance(2 * DAY)
    mail = ending.outbox.take()  # one, though it was looked each hour
    assert mail.to == EMAIL
    assert "@alice:halfdoor.test" in mail.text
    (link,) = mail.links
    page = await ending.client.request("GET", link.removeprefix(BASE))
    assert (page.status, "@alice:halfdoor.test" in page.body.decode()) == (200, True)
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    await ending.clock.advance(10 * DAY)
    assert await whoami(ending, alice.token) == "ORG_MATRIX_EXPIRED_ACCOUNT"  # looking was not renewing
    assert await press(ending, link) == 200
    assert await whoami(ending, alice.token) == "ok"
    assert await press(ending, link) == 404  # once
    assert (await ending.client.request("GET", link.removeprefix(BASE))).status == 404
    await ending.clock.advance(21 * DAY)
    assert ending.outbox.take().links != [link]


async def test_another_link_can_be_asked_for_even_after_the_end(ending: UserServer) -> None:
    alice = await ending.register("alice")
    await ending.clock.advance(3600)
    nowhere = await ending.post(SEND_MAIL, token=alice.token)
    assert (nowhere.status, nowhere.json["errcode"]) == (404, "M_NOT_FOUND")
    await add_email(ending, alice.token, EMAIL)
    await ending.clock.advance(31 * DAY)
    ending.outbox.sent.clear()
    assert (await ending.post(SEND_MAIL, token=alice.token)).json == {}
    first = ending.outbox.take().links[0]
    assert (await ending.post(SEND_MAIL, token=alice.token)).json == {}
    assert await press(ending, first) == 404  # only the newest is good
    assert await press(ending, ending.outbox.take().links[0]) == 200
    assert await whoami(ending, alice.token) == "ok"
    for _ in range(4):
        await ending.post(SEND_MAIL, token=alice.token)
    assert (await ending.post(SEND_MAIL, token=alice.token)).json["errcode"] == "M_LIMIT_EXCEEDED"
    assert (await ending.post(SEND_MAIL)).json["errcode"] == "M_MISSING_TOKEN"


async def test_administrators_guests_and_ghosts_do_not_end(ending: UserServer) -> None:
    admin = await ending.register("admin", admin=True)
    guest = (await ending.post("/register", {}, kind="guest")).json["access_token"]
    wish = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
    await ending.post("/register", wish, token=IRC.as_token)
    await ending.clock.advance(365 * DAY)
    assert await whoami(ending, admin.token) == "ok"
    assert await whoami(ending, guest) == "ok"
    ghost = await ending.get("/account/whoami", token=IRC.as_token, user_id=f"@_irc_bob:{SERVER_NAME}")
    assert ghost.status == 200


async def test_a_token_that_expires_first_is_still_only_an_expired_token() -> None:
    validity = ValiditySettings(period_days=30, base_url=BASE)
    chosen = settings(validity=validity)
    server = open_user_server(chosen=replace(chosen, tokens=replace(chosen.tokens, plain_ms=1000)))
    server.services.start()
    alice = await server.register("alice")
    await server.clock.advance(2)
    answer = await server.get("/account/whoami", token=alice.token)
    assert (answer.json["errcode"], answer.json["soft_logout"]) == ("M_UNKNOWN_TOKEN", True)
    await server.services.close()


async def test_without_the_setting_nothing_ends_and_no_page_is_there(server: UserServer) -> None:
    server.services.start()
    alice = await server.register("alice")
    await server.clock.advance(3650 * DAY)
    assert await whoami(server, alice.token) == "ok"
    assert (await server.client.request("GET", f"{RENEW_PATH}?token=x")).status == 404
    assert (await server.post(SEND_MAIL, token=alice.token)).json["errcode"] == "M_UNRECOGNIZED"
