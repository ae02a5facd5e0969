"""Confirming e-mail addresses, over HTTP: what is sent, what the link does, and what else it might have done."""

from __future__ import annotations

import re
from typing import Any

import pytest

from homeserver.protocol.errors import InvalidParam
from homeserver.storage.database import Database
from homeserver.users.registration import RegistrationSettings
from tests.support.confirming import (
    SECRET,
    add_email,
    confirm,
    follow,
    open_mail_server,
    press,
    request_token,
)
from tests.support.user_server import PASSWORD, UserServer, login_body

PATHS = ["/register", "/account/3pid", "/account/password"]
AUTH = "m.login.email.identity"


@pytest.fixture
def mail_server() -> UserServer:
    return open_mail_server()


async def register_with(server: UserServer, sid: str, secret: str = SECRET, name: str = "alice") -> Any:
    """POST /register with a confirmed session as the only stage."""
    body = {"username": name, "password": PASSWORD}
    session = (await server.post("/register", body)).json["session"]
    auth = {"type": AUTH, "session": session, "threepid_creds": {"sid": sid, "client_secret": secret}}
    return await server.post("/register", {**body, "auth": auth})


async def test_an_address_is_confirmed_by_its_link_and_belongs_to_the_new_account(database: Database) -> None:
    server = open_mail_server(db=database)
    answer = await request_token(server, "/register", "Alice@Example.ORG")
    assert set(answer.json) == {"sid"}
    early = await register_with(server, answer.json["sid"])
    assert (early.status, early.json["errcode"]) == (401, "M_UNAUTHORIZED")
    mail = server.outbox.take()
    assert mail.to == "alice@example.org"
    page = await follow(server, mail.links[0])
    assert page.status == 200
    assert "alice@example.org" in page.body.decode()
    assert (await register_with(server, answer.json["sid"])).status == 401  # looking at it is not agreeing
    assert (await press(server, mail.links[0])).status == 200
    done = await register_with(server, answer.json["sid"])
    assert done.status == 200
    kept = (await server.get("/account/3pid", token=done.json["access_token"])).json["threepids"]
    assert [(each["medium"], each["address"]) for each in kept] == [("email", "alice@example.org")]
    assert await server.services.threepids.list_emails("@alice:halfdoor.test") == ["alice@example.org"]


async def test_a_waiting_client_is_let_on_when_the_link_was_followed(mail_server: UserServer) -> None:
    server = mail_server
    sid = (await request_token(server, "/register", "alice@example.org")).json["sid"]
    body = {"username": "alice", "password": PASSWORD}
    asked = await server.post("/register", body)
    assert asked.json["flows"] == [{"stages": ["m.login.dummy"]}, {"stages": [AUTH]}]
    auth = {"type": AUTH, "session": asked.json["session"], "threepid_creds": {"sid": sid, "client_secret": SECRET}}
    for _ in range(3):
        waiting = await server.post("/register", {**body, "auth": auth})
        assert (waiting.status, waiting.json["errcode"]) == (401, "M_UNAUTHORIZED")
        assert waiting.json["session"] == asked.json["session"]
    await press(server, server.outbox.take().links[0])
    assert (await server.post("/register", {**body, "auth": auth})).status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_bad_requests_for_a_token_are_refused(mail_server: UserServer, path: str) -> None:
    good: dict[str, Any] = {"client_secret": SECRET, "email": "a@example.org", "send_attempt": 1}
    for change, errcode in (
        ({"email": "nobody"}, "M_INVALID_PARAM"),
        ({"email": "a@example.org\r\nBcc: b@example.org"}, "M_INVALID_PARAM"),
        ({"email": 1}, "M_BAD_JSON"),
        ({"client_secret": "a b"}, "M_INVALID_PARAM"),
        ({"client_secret": "x" * 256}, "M_INVALID_PARAM"),
        ({"send_attempt": "one"}, "M_BAD_JSON"),
        ({"send_attempt": 2**63}, "M_BAD_JSON"),
        ({"send_attempt": -1}, "M_BAD_JSON"),
        ({"next_link": "javascript:alert(1)"}, "M_INVALID_PARAM"),
        ({"next_link": "file:///etc/passwd"}, "M_INVALID_PARAM"),
        ({"next_link": "https://[::1"}, "M_INVALID_PARAM"),
    ):
        answer = await mail_server.post(f"{path}/email/requestToken", {**good, **change})
        assert (answer.status, answer.json["errcode"]) == (400, errcode), change
    for missing in good:
        body = {name: value for name, value in good.items() if name != missing}
        answer = await mail_server.post(f"{path}/email/requestToken", body)
        assert answer.json["errcode"] == "M_MISSING_PARAM"
    assert mail_server.outbox.sent == []


async def test_the_same_attempt_sends_nothing_again_and_a_higher_one_does(mail_server: UserServer) -> None:
    first = await request_token(mail_server, "/register", "a@example.org")
    old = mail_server.outbox.take()
    again = await request_token(mail_server, "/register", "a@example.org")
    assert again.json == first.json
    assert mail_server.outbox.sent == []
    third = await request_token(mail_server, "/register", "a@example.org", attempt=2)
    assert third.json == first.json
    new = mail_server.outbox.take()
    assert (await press(mail_server, old.links[0])).status == 400  # only the newest link is good
    assert (await press(mail_server, new.links[0])).status == 200
    other = await request_token(mail_server, "/register", "a@example.org", secret="another")
    assert other.json != first.json


async def test_one_mailbox_gets_few_messages(mail_server: UserServer) -> None:
    for number in range(6):
        assert (await request_token(mail_server, PATHS[number % 2], "a@example.org", secret=f"s{number}")).status == 200
    for path in PATHS:
        refused = await request_token(mail_server, path, "A@example.org", secret="more")
        assert (refused.status, refused.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert len(mail_server.outbox.sent) == 6
    assert (await request_token(mail_server, "/register", "b@example.org")).status == 200
    await mail_server.clock.advance(3600)
    assert (await request_token(mail_server, "/register", "a@example.org", secret="later")).status == 200


async def test_links_and_confirmed_sessions_grow_old(mail_server: UserServer) -> None:
    await request_token(mail_server, "/register", "a@example.org")
    await mail_server.clock.advance(3601)
    assert (await press(mail_server, mail_server.outbox.take().links[0])).status == 400
    sid = await confirm(mail_server, "/register", "b@example.org")
    await mail_server.clock.advance(24 * 3600)
    assert (await register_with(mail_server, sid)).status == 401


async def test_F03_a_session_is_worth_nothing_with_another_secret_id_purpose_or_address(
    mail_server: UserServer,
) -> None:
    server = mail_server
    mallory = await server.register("mallory")
    sid = await confirm(server, "/register", "mallory@example.org", secret="mallory")
    other = (await request_token(server, "/register", "victim@example.org", secret="mallory")).json["sid"]
    server.outbox.take()
    for wrong_sid, wrong_secret in ((sid, "other"), (other, "mallory"), ("unknown", "mallory"), ("", "mallory")):
        answer = await register_with(server, wrong_sid, wrong_secret)
        assert (answer.status, answer.json["errcode"]) == (401, "M_UNAUTHORIZED")
    # A session of registration adds no address to an account, and resets no password.
    body = {"sid": sid, "client_secret": "mallory"}
    added = await server.post("/account/3pid/add", body, token=mallory.token)
    assert (added.status, added.json["errcode"]) == (403, "M_THREEPID_AUTH_FAILED")
    reset = {"new_password": "a new password"}
    session = (await server.post("/account/password", reset)).json["session"]
    auth = {"type": AUTH, "session": session, "threepid_creds": body}
    refused = await server.post("/account/password", {**reset, "auth": auth})
    assert (refused.status, refused.json["errcode"]) == (401, "M_UNAUTHORIZED")
    # And one for adding registers nobody.
    adding = await confirm(server, "/account/3pid", "mallory@example.org", secret="mallory")
    assert (await register_with(server, adding, "mallory")).status == 401
    assert (await register_with(server, sid, "mallory")).status == 200


async def test_F03_a_link_is_good_once_and_for_its_own_session(mail_server: UserServer) -> None:
    server = mail_server
    mine = (await request_token(server, "/register", "mallory@example.org", secret="m")).json["sid"]
    my_link = server.outbox.take().links[0]
    theirs = (await request_token(server, "/register", "victim@example.org", secret="m")).json["sid"]
    their_link = server.outbox.take().links[0]
    for link, changes in (
        (my_link, {"sid": theirs}),
        (my_link, {"token": "hdv_x"}),
        (my_link, {"token": ""}),
        (their_link, {"sid": mine}),
    ):
        refused = await press(server, link, **changes)
        assert refused.status == 400
    assert (await press(server, my_link)).status == 200
    for _ in range(2):
        assert (await press(server, my_link)).status == 400
        assert (await follow(server, my_link)).status == 400
    with pytest.raises(InvalidParam):
        await server.services.validation_sessions.confirm(mine, "")


async def test_F03_a_confirmed_session_serves_one_account(mail_server: UserServer) -> None:
    sid = await confirm(mail_server, "/register", "a@example.org")
    assert (await register_with(mail_server, sid, name="alice")).status == 200
    again = await register_with(mail_server, sid, name="bob")
    assert (again.status, again.json["errcode"]) == (401, "M_UNAUTHORIZED")
    assert await mail_server.services.accounts.find_account("@bob:halfdoor.test") is None


async def test_F03_two_registrations_cannot_both_take_an_address(mail_server: UserServer) -> None:
    sids = [await confirm(mail_server, "/register", "a@example.org", secret=secret) for secret in ("one", "two")]
    assert (await register_with(mail_server, sids[0], "one", "alice")).status == 200
    second = await register_with(mail_server, sids[1], "two", "bob")
    assert (second.status, second.json["errcode"]) == (400, "M_THREEPID_IN_USE")
    assert await mail_server.services.accounts.find_account("@bob:halfdoor.test") is None


async def test_F07_nobody_learns_which_addresses_have_accounts(mail_server: UserServer) -> None:
    server = mail_server
    alice = await server.register("alice")
    await add_email(server, alice.token, "alice@example.org")
    for path in PATHS:
        known, unknown = [
            [await request_token(server, path, email, secret="probe") for _ in range(2)]
            for email in ("alice@example.org", "nobody@example.org")
        ]
        for answers in (known, unknown):
            assert [(each.status, set(each.json)) for each in answers] == [(200, {"sid"})] * 2
            assert answers[0].json == answers[1].json  # the same session again, in both cases
        await server.clock.advance(3600)
    told = {(mail.to, mail.subject) for mail in server.outbox.sent}
    assert told == {
        ("alice@example.org", "You have an account on halfdoor.test already"),  # register, add
        ("alice@example.org", "Reset your password for halfdoor.test"),
        ("nobody@example.org", "Confirm your e-mail address for halfdoor.test"),  # register, add
    }
    assert len(server.outbox.sent) == 5
    assert all(not mail.links for mail in server.outbox.sent if "already" in mail.subject)


async def test_accounts_are_told_of_where_the_operator_wants_it() -> None:
    server = open_mail_server(hides_accounts=False)
    alice = await server.register("alice")
    await add_email(server, alice.token, "alice@example.org")
    for path, email, errcode in (
        ("/register", "Alice@example.org", "M_THREEPID_IN_USE"),
        ("/account/3pid", "alice@example.org", "M_THREEPID_IN_USE"),
        ("/account/password", "nobody@example.org", "M_THREEPID_NOT_FOUND"),
    ):
        answer = await request_token(server, path, email)
        assert (answer.status, answer.json["errcode"]) == (400, errcode)
    assert server.outbox.sent == []
    server.outbox.failing = True
    failed = await request_token(server, "/register", "new@example.org")
    assert failed.status == 503


async def test_a_mail_server_that_is_away_is_noted_in_the_log(
    mail_server: UserServer, caplog: pytest.LogCaptureFixture
) -> None:
    mail_server.outbox.failing = True
    assert (await request_token(mail_server, "/register", "a@example.org")).status == 200
    assert "not sent" in caplog.text
    assert "a@example.org" not in caplog.text


async def test_F08_people_are_sent_on_to_named_hosts_only() -> None:
    server = open_mail_server(next_link_hosts=("app.example.org",))
    allowed = "https://app.example.org/#/register?x=1;script-src%20*"
    for number, (next_link, goes_on) in enumerate(
        [
            (allowed, True),
            ("https://evil.example/", False),
            ("https://app.example.org@evil.example/", False),
            ("https://app.example.org.evil.example/", False),
            ("https://evil.example\\@app.example.org/", False),
            ("//app.example.org/", None),
            ("https://app.example.org/\r\nSet-Cookie: a=b", None),
        ]
    ):
        email = f"a{number}@example.org"
        answer = await request_token(server, "/register", email, next_link=next_link)
        if goes_on is None:
            assert answer.json["errcode"] == "M_INVALID_PARAM"
            continue
        link = server.outbox.take().links[0]
        policy = (await follow(server, link)).headers["content-security-policy"]
        assert ("https://app.example.org;" in policy) is goes_on
        assert "script-src 'none'" in policy
        pressed = await press(server, link)
        assert pressed.headers.get("location") == (allowed if goes_on else None)
        assert pressed.status == (303 if goes_on else 200)


async def test_F08_links_are_of_the_configured_address_whatever_the_host_header_says(mail_server: UserServer) -> None:
    body = {"client_secret": SECRET, "email": "a@example.org", "send_attempt": 1}
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    await mail_server.client.request(
        "POST", "/_matrix/client/v3/register/email/requestToken", json=body, headers=headers
    )
    await mail_server.services.validation_sessions.settle()
    assert "evil" not in mail_server.outbox.take().text


async def test_F08_pages_and_e_mails_escape_what_they_are_given(mail_server: UserServer) -> None:
    address = "<b>'x'&@example.org".replace("<b>", "a{0}!")  # angle brackets are in no address; these are
    answer = await request_token(mail_server, "/register", address)
    assert answer.status == 200
    page = await follow(mail_server, mail_server.outbox.take().links[0])
    assert "a{0}!&#x27;x&#x27;&amp;@example.org" in page.body.decode()
    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


async def test_e_mails_and_pages_speak_chinese_to_those_who_read_it(mail_server: UserServer) -> None:
    body = {"client_secret": SECRET, "email": "a@example.org", "send_attempt": 1}
    chinese = {"accept-language": "zh-CN,zh;q=0.9,en;q=0.1"}
    await mail_server.client.request(
        "POST", "/_matrix/client/v3/register/email/requestToken", json=body, headers=chinese
    )
    await mail_server.services.validation_sessions.settle()
    mail = mail_server.outbox.take()
    assert mail.subject == "请确认您在 halfdoor.test 的电子邮箱地址"
    assert "只能使用一次" in mail.text
    assert mail.html is not None
    assert "确认邮箱地址" in mail.html
    page = (await follow(mail_server, mail.links[0], **{"accept-language": "zh-TW"})).body.decode()
    assert '<html lang="zh-Hans">' in page
    assert "确认 a@example.org 是您的邮箱地址吗" in page


async def test_the_html_of_an_e_mail_loads_nothing(mail_server: UserServer) -> None:
    await request_token(mail_server, "/register", "a@example.org")
    html = mail_server.outbox.take().html
    assert html is not None
    assert re.findall(r"(?:src|href)=\"([^\"]*)", html) == re.findall(
        r"href=\"(https://matrix.halfdoor.test/[^\"]*)", html
    )


async def test_without_a_mail_server_nothing_is_offered(server: UserServer) -> None:
    for path in PATHS:
        answer = await request_token(server, path, "a@example.org")
        assert (answer.status, answer.json["errcode"]) == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
    assert (await server.post("/register", {})).json["flows"] == [{"stages": ["m.login.dummy"]}]
    assert (await server.post("/account/password", {"new_password": PASSWORD})).json["errcode"] == "M_MISSING_TOKEN"


@pytest.mark.parametrize("path", PATHS)
async def test_no_text_message_is_sent_to_any_phone(mail_server: UserServer, path: str) -> None:
    body = {"client_secret": SECRET, "country": "GB", "phone_number": "07700900001", "send_attempt": 1}
    answer = await mail_server.post(f"{path}/msisdn/requestToken", body)
    assert (answer.status, answer.json["errcode"]) == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
    del body["country"]
    assert (await mail_server.post(f"{path}/msisdn/requestToken", body)).json["errcode"] == "M_MISSING_PARAM"


async def test_registration_may_demand_an_address_of_certain_domains() -> None:
    server = open_mail_server(
        registration=RegistrationSettings(is_open=True, needs_email=True, needs_token=False),
        patterns=(re.compile(r".*@example\.org"),),
    )
    asked = await server.post("/register", {"username": "alice", "password": PASSWORD})
    assert asked.json["flows"] == [{"stages": [AUTH]}]
    dummy = {"type": "m.login.dummy", "session": asked.json["session"]}
    assert (await server.post("/register", {"username": "alice", "password": PASSWORD, "auth": dummy})).status == 401
    for path in ("/register", "/account/3pid"):
        for address in ("a@elsewhere.test", "a@example.org.evil.test", "a@example.orgx"):
            denied = await request_token(server, path, address)
            assert (denied.status, denied.json["errcode"]) == (403, "M_THREEPID_DENIED")
    sid = await confirm(server, "/register", "alice@EXAMPLE.org")
    assert (await register_with(server, sid)).status == 200


async def test_closed_registration_sends_nothing() -> None:
    server = open_mail_server(registration=RegistrationSettings())
    answer = await request_token(server, "/register", "a@example.org")
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert server.outbox.sent == []


async def test_a_guest_who_registers_brings_an_address(mail_server: UserServer) -> None:
    guest = (await mail_server.post("/register", {}, kind="guest")).json
    name = guest["user_id"][1:].partition(":")[0]
    sid = await confirm(mail_server, "/register", "guest@example.org")
    body = {"username": name, "password": PASSWORD, "guest_access_token": guest["access_token"]}
    session = (await mail_server.post("/register", body)).json["session"]
    auth = {"type": AUTH, "session": session, "threepid_creds": {"sid": sid, "client_secret": SECRET}}
    assert (await mail_server.post("/register", {**body, "auth": auth})).status == 200
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": "Guest@example.org"}
    login = await mail_server.post("/login", {**login_body(name), "identifier": identifier})
    assert login.json["user_id"] == guest["user_id"]
