"""The account pages: what people do there, in two languages, and what others cannot do in their name (F08, F14)."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.storage.database import Database
from tests.oauth.apps import App, log_in_reader, open_oauth_server, register_app
from tests.support.pages import PageReader
from tests.support.server import PASSWORD, Server, User, server_settings

MANAGE = "/_halfdoor/account/manage"


async def open_with_alice(db: Database | None = None) -> tuple[Server, User, PageReader]:
    server = open_oauth_server(db)
    alice = await server.register()
    return server, alice, await log_in_reader(server)


async def test_the_overview_changes_the_name_and_logs_out() -> None:
    server, alice, reader = await open_with_alice()
    page = await reader.get(MANAGE)
    assert alice.user_id in page.text
    page = await reader.submit(page, name="Alice <A>")
    assert "Alice &lt;A&gt;" in page.text
    assert (await alice.get(f"/profile/{alice.user_id}"))["displayname"] == "Alice <A>"
    page = await reader.submit(page, form=1)
    assert "/login" in page.url
    assert "/login" in (await reader.get(MANAGE)).url
    await server.close()


async def test_sessions_are_listed_viewed_and_ended(database: Database) -> None:
    server, alice, reader = await open_with_alice(database)
    other = await server.log_in(initial_device_display_name="Old phone")
    app = await register_app(server)
    await app.exchange(await app.code(reader))
    page = await reader.get(f"{MANAGE}?action=org.matrix.devices_list")
    assert "Old phone" in page.text
    assert "App: Example app" in page.text
    page = await reader.get(f"{MANAGE}?action=org.matrix.device_view&device_id={other.device_id}")
    assert other.device_id in page.text
    end = next(link for link in page.links if "device_delete" in link)
    page = await reader.get(end)
    assert (await other.request("GET", "/account/whoami")).status == 200, "a link alone ends nothing"
    await reader.submit(page)
    assert (await other.request("GET", "/account/whoami")).status == 401
    assert (await alice.request("GET", "/account/whoami")).status == 200
    await server.close()


async def test_one_cannot_see_or_end_sessions_of_others() -> None:
    server, _, reader = await open_with_alice()
    bob = await server.register("bob")
    for action in ("org.matrix.device_view", "org.matrix.device_delete"):
        page = await reader.get(f"{MANAGE}?action={action}&device_id={bob.device_id}")
        assert page.status == 404
    assert (await bob.request("GET", "/account/whoami")).status == 200


@pytest.mark.parametrize("action", ["org.matrix.session_end", "session_end", "org.matrix.device_delete"])
async def test_what_destroys_asks_again_who_is_there(action: str) -> None:
    server, alice, reader = await open_with_alice()
    target = f"{MANAGE}?action={action}&device_id={alice.device_id}"
    page = await reader.get(target)
    await server.clock.advance(601)
    late = await reader.submit(page)
    assert "confirm" in late.text
    assert (await alice.request("GET", "/account/whoami")).status == 200
    page = await reader.get(target)
    assert "/login" in page.url
    assert page.forms[0].fields["user"] == "alice"
    await server.register("bob")
    refused = await reader.submit(page, user="bob", password=PASSWORD)
    assert refused.status == 403
    page = await reader.submit(page, password=PASSWORD)
    await reader.submit(page)
    assert (await alice.request("GET", "/account/whoami")).status == 401


async def test_an_account_is_deactivated_only_on_purpose() -> None:
    _server, alice, reader = await open_with_alice()
    page = await reader.get(f"{MANAGE}?action=org.matrix.account_deactivate")
    assert (await alice.request("GET", "/account/whoami")).status == 200
    page = await reader.submit(page)
    assert page.status == 200
    assert (await alice.request("GET", "/account/whoami")).status == 401
    assert "/login" in (await reader.get(MANAGE)).url


async def test_a_new_password_ends_the_sessions_of_the_pages() -> None:
    server, alice, reader = await open_with_alice()
    await server.homeserver.users.accounts.change_password(
        alice.user_id, "another good password", keep_device=None, logout_devices=False
    )
    assert "/login" in (await reader.get(MANAGE)).url


async def test_F16_logging_out_everywhere_ends_the_sessions_of_the_pages_too() -> None:
    server, alice, reader = await open_with_alice()
    assert (await alice.request("POST", "/logout/all")).status == 200
    assert "/login" in (await reader.get(MANAGE)).url
    await server.close()


async def test_the_password_is_changed_on_the_pages() -> None:
    server, alice, reader = await open_with_alice()
    other = await log_in_reader(server)
    page = await reader.get(f"{MANAGE}?action=password")
    assert (await reader.submit(page, password="short", again="short")).status == 400
    assert (await reader.submit(page, password="a new password", again="another one")).status == 400
    assert (await reader.submit(page, password="a new password", again="a new password")).status == 200
    assert alice.user_id in (await reader.get(MANAGE)).text
    assert "/login" in (await other.get(MANAGE)).url
    assert (await alice.request("GET", "/account/whoami")).status == 200, "the box was not ticked"
    page = await reader.get(f"{MANAGE}?action=password")
    await reader.submit(page, password="a third password", again="a third password", others="on")
    assert (await alice.request("GET", "/account/whoami")).status == 401
    page = await other.get("/_halfdoor/account/login")
    assert (await other.submit(page, user="alice", password=PASSWORD)).status == 403
    assert (await other.submit(page, user="alice", password="a third password")).status == 200


async def test_an_e_mail_address_serves_as_a_user_name() -> None:
    from homeserver.storage.threepids import Threepid, ThreepidStore

    server, alice, _ = await open_with_alice()
    threepid = Threepid("email", "alice@example.org", alice.user_id, 0, 0)
    db = server.homeserver.db
    await db.write(lambda txn: ThreepidStore(db).add_threepid(txn, threepid))
    reader = PageReader(server.client)
    page = await reader.get("/_halfdoor/account/login")
    assert (await reader.submit(page, user="nobody@example.org", password=PASSWORD)).status == 403
    page = await reader.submit(page, user="Alice@example.org", password=PASSWORD)
    assert alice.user_id in page.text


async def test_a_session_of_the_pages_ends_in_time() -> None:
    server, _, reader = await open_with_alice()
    await server.clock.advance(15 * 24 * 3600)
    assert "/login" in (await reader.get(MANAGE)).url


async def test_F14_forms_of_other_sites_are_refused() -> None:
    server, alice, reader = await open_with_alice()
    stranger = PageReader(server.client)
    other_token = (await stranger.get("/_halfdoor/account/login")).forms[0].fields["csrf"]
    own_other_form = (await reader.get(MANAGE)).forms[1].fields["csrf"]
    for token in ("", "0" * 64, other_token, own_other_form):
        forged = {"action": "org.matrix.account_deactivate", "device_id": "", "csrf": token}
        assert (await reader.post(MANAGE, forged)).status == 403
        assert (
            await reader.post("/_halfdoor/account/login", {"user": "x", "password": "y", "csrf": token})
        ).status == 403
    assert (await alice.request("GET", "/account/whoami")).status == 200


@pytest.mark.parametrize(("site", "status"), [("same-origin", 303), ("same-site", 403), ("cross-site", 403)])
async def test_F14_a_form_that_a_browser_says_is_from_elsewhere_is_refused(site: str, status: int) -> None:
    from urllib.parse import urlencode

    server, _, reader = await open_with_alice()
    page = await reader.get(MANAGE)
    headers = {
        "cookie": reader.cookie or "",
        "content-type": "application/x-www-form-urlencoded",
        "sec-fetch-site": site,
    }
    body = urlencode({**page.forms[0].fields, "name": "Alice"}).encode()
    answer = await server.client.request("POST", MANAGE, body=body, headers=headers)
    assert answer.status == status


async def test_F14_a_page_is_no_answer_to_another_origin() -> None:
    server, _, reader = await open_with_alice()
    assert reader.cookie is not None
    headers = {"cookie": reader.cookie, "origin": "https://evil.example"}
    answer = await server.client.request("GET", MANAGE, headers=headers)
    assert not any(name.startswith("access-control") for name in answer.headers)
    preflight = await server.client.request("OPTIONS", MANAGE, headers=headers)
    assert not any(name.startswith("access-control") for name in preflight.headers)


async def test_F08_a_login_gives_a_new_cookie() -> None:
    server = open_oauth_server()
    await server.register()
    reader = PageReader(server.client)
    page = await reader.get("/_halfdoor/account/login")
    planted = reader.cookie
    await reader.submit(page, user="alice", password=PASSWORD)
    assert reader.cookie != planted
    thief = PageReader(server.client, cookie=planted)
    assert "/login" in (await thief.get(MANAGE)).url


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/_halfdoor/account/../../evil",
        "/_halfdoor/account/manage\r\nSet-Cookie: x=1",
        "javascript:alert(1)",
        "/_matrix/client/v3/logout",
        "/_halfdoor/account/" + "a" * 9000,
        "",
    ],
)
async def test_F08_a_login_leads_to_our_own_pages_only(target: str) -> None:
    from urllib.parse import quote

    server = open_oauth_server()
    await server.register()
    reader = PageReader(server.client)
    page = await reader.get(f"/_halfdoor/account/login?next={quote(target, safe='')}")
    page = await reader.submit(page, user="alice", password=PASSWORD, follow=False)
    assert page.location == MANAGE
    page = await reader.get(f"/_halfdoor/account/login?next={quote(target, safe='')}", follow=False)
    assert page.location == MANAGE


XSS = [
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</title><svg onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    '" autofocus onfocus=alert(1) x="',
    "{title}{0.__class__}{style}",
    "javascript:alert(1)",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
]


@pytest.mark.parametrize("text", XSS)
async def test_F08_what_others_wrote_is_only_text_on_our_pages(text: str) -> None:
    """Client names, device names, display names, user names, codes and actions: `PageReader` refuses scripts."""
    server = open_oauth_server()
    alice = await server.register()
    reader = await log_in_reader(server)
    app = await register_app(server, client_name=text)
    await alice.put(f"/devices/{alice.device_id}", {"display_name": text})
    await server.homeserver.users.profiles.set_field(_requester(alice), alice.user_id, "displayname", text)
    from urllib.parse import quote

    quoted = quote(text, safe="")
    for url in (
        app.authorize_url(),
        app.authorize_url(state=text),
        MANAGE,
        f"{MANAGE}?action={quoted}",
        f"{MANAGE}?action=org.matrix.devices_list",
        f"{MANAGE}?action=org.matrix.device_view&device_id={alice.device_id}",
        f"{MANAGE}?action=org.matrix.device_view&device_id={quoted}",
        f"{MANAGE}?action=org.matrix.device_delete&device_id={alice.device_id}",
        f"/_halfdoor/account/link?user_code={quoted}",
        f"/_halfdoor/account/confirm?session={quoted}",
        f"/_halfdoor/account/sso?redirectUrl=https://client.example/{quoted}",
        f"/_halfdoor/account/login?other=1&next={quoted}&ui_locales={quoted}",
        f"/_halfdoor/account/authorize?client_id={quoted}&redirect_uri={quoted}",
    ):
        page = await reader.get(url)
        assert "<script" not in page.text.lower().replace("<script nonce", "")
        assert "<img" not in page.text.lower()
        assert "<svg" not in page.text.lower()
    login = await PageReader(server.client).get("/_halfdoor/account/login")
    failed = await PageReader(server.client, cookie=None).get("/_halfdoor/account/login")
    assert login.status == failed.status == 200


async def test_F07_the_login_page_says_the_same_of_everybody() -> None:
    server = open_oauth_server()
    await server.register()
    reader = PageReader(server.client)
    page = await reader.get("/_halfdoor/account/login")
    wrong = await reader.submit(page, user="alice", password="wrong password")
    unknown = await reader.submit(page, user="nobody", password="wrong password")
    assert wrong.status == unknown.status == 403
    assert wrong.text.replace("alice", "") == unknown.text.replace("nobody", "")


async def test_F07_passwords_cannot_be_tried_without_end_on_the_page() -> None:
    server = open_oauth_server()
    await server.register()
    reader = PageReader(server.client)
    page = await reader.get("/_halfdoor/account/login")
    statuses = [(await reader.submit(page, user="alice", password=f"wrong {n}")).status for n in range(7)]
    assert statuses[0] == 403
    assert statuses[-1] == 429
    assert (await reader.submit(page, user="alice", password=PASSWORD)).status == 429


@pytest.mark.parametrize(
    ("query", "header", "language"),
    [
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("", "en-GB,zh;q=0.9", "en"),
        ("", "fr,zh;q=0.5", "zh-Hans"),
        ("", "fr", "en"),
        ("ui_locales=zh", "en", "zh-Hans"),
        ("ui_locales=en-US", "zh", "en"),
        ("ui_locales=fr zh", "en", "zh-Hans"),
        ("", "zh;q=nonsense,en;q=0.1", "en"),
        ("", "", "en"),
    ],
)
async def test_pages_speak_english_and_chinese(query: str, header: str, language: str) -> None:
    server = open_oauth_server()
    page = await PageReader(server.client, language=header).get(f"/_halfdoor/account/login?{query}")
    assert f'<html lang="{language}">' in page.text
    assert ("密码" in page.text) == (language != "en")


async def test_an_app_is_described_in_the_persons_language() -> None:
    server, _, _ = await open_with_alice()
    app = await register_app(server)
    reader = await log_in_reader(server, language="zh")
    page = await reader.get(app.authorize_url())
    assert "示例应用" in page.text
    assert "允许" in page.text


async def test_prompt_create_leads_to_registration_and_back(database: Database) -> None:
    server = open_oauth_server(database)
    app = await register_app(server)
    reader = PageReader(server.client)
    page = await reader.get(app.authorize_url(prompt="create"))
    assert page.url.startswith("/_halfdoor/account/register")
    short = await reader.submit(page, user="newcomer", password="short")
    assert short.status == 400
    page = await reader.submit(page, user="newcomer", password=PASSWORD)
    assert "@newcomer:halfdoor.test" in page.text
    page = await reader.submit(page, answer="allow", follow=False)
    assert page.location.startswith("https://app.example.com/callback#code=")
    other = PageReader(server.client)
    page = await other.get(app.authorize_url(prompt="create"))
    assert (await other.submit(page, user="newcomer", password=PASSWORD)).status == 400
    await server.close()


async def test_F09_the_registration_page_has_no_way_around_the_rules() -> None:
    from dataclasses import replace

    from homeserver.users.registration import RegistrationSettings

    closed = replace(server_settings().users, registration=RegistrationSettings())
    server = open_oauth_server(users=closed)
    assert (await PageReader(server.client).get("/_halfdoor/account/register")).status == 403
    metadata = await server.request("GET", "/_matrix/client/v1/auth_metadata")
    assert "prompt_values_supported" not in metadata.json
    policies = {"privacy": {"version": "1", "en": {"name": "Privacy", "url": "https://halfdoor.test/privacy"}}}
    strict = replace(
        server_settings().users,
        registration=RegistrationSettings(is_open=True, needs_token=True, policies=policies),
    )
    server = open_oauth_server(users=strict)
    reader = PageReader(server.client)
    page = await reader.get("/_halfdoor/account/register")
    assert "https://halfdoor.test/privacy" in page.links
    assert (await reader.submit(page, user="dora", password=PASSWORD, token="wrong", accept="on")).status == 400
    await server.homeserver.db.write(lambda txn: server.homeserver.users.registration_tokens.add_token(txn, _token()))
    assert (await reader.submit(page, user="dora", password=PASSWORD, token="welcome")).status == 400
    page = await reader.submit(page, user="dora", password=PASSWORD, token="welcome", accept="on")
    assert "@dora:halfdoor.test" in page.text


def _requester(user: User) -> Any:
    from homeserver.users.requester import Requester

    return Requester(user.user_id)


def _token() -> Any:
    from homeserver.storage.registration_tokens import RegistrationToken

    return RegistrationToken("welcome", uses_allowed=1)


async def test_the_app_can_be_used_by_another_account(server_and_app: tuple[Server, App]) -> None:
    server, app = server_and_app
    await server.register("bob")
    reader = await log_in_reader(server)
    page = await reader.get(app.authorize_url())
    page = await reader.get(next(link for link in page.links if "other=1" in link))
    page = await reader.submit(page, user="bob", password=PASSWORD)
    assert "@bob:halfdoor.test" in page.text


@pytest.fixture
async def server_and_app() -> tuple[Server, App]:
    server = open_oauth_server()
    await server.register()
    return server, await register_app(server)
