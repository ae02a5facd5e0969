"""Single sign-on for clients of the legacy API, and what apps ask to be confirmed in a browser (F04, F05, F08)."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from homeserver.storage.database import Database
from tests.oauth.apps import log_in_reader, open_oauth_server, register_app
from tests.oauth.providers import IdentityProvider, open_provider_server
from tests.support.http import Answer
from tests.support.key_material import Identity
from tests.support.pages import PageReader
from tests.support.server import PASSWORD, V3, Server, User, open_server

CLIENT = "https://client.example/app?a=1&loginToken=old&b=2#/home"


async def redirect(server: Server, url: str, provider: str = "", **more: str) -> Answer:
    path = f"{V3}/login/sso/redirect{provider}"
    return await server.client.request("GET", path, query={"redirectUrl": url, **more})


async def test_a_client_of_the_legacy_api_logs_in_on_our_pages(database: Database) -> None:
    server = open_oauth_server(database)
    alice = await server.register()
    flows = (await server.request("GET", "/login")).json["flows"]
    assert flows[0]["type"] == "m.login.sso"
    assert flows[0]["oauth_aware_preferred"] is True
    assert {"type": "m.login.password"} in flows
    answer = await redirect(server, CLIENT, action="login")
    assert answer.status == 302
    reader = PageReader(server.client)
    page = await reader.get(answer.headers["location"])
    page = await reader.submit(page, user="alice", password=PASSWORD)
    assert "https://client.example" in page.text
    assert "form-action 'self' https:;" in page.answer.headers["content-security-policy"]
    assert "loginToken=hdl" not in page.text, "no token before somebody said yes"
    page = await reader.submit(page, follow=False)
    assert page.location.startswith("https://client.example/app?a=1&b=2&loginToken=hdl_")
    assert page.location.endswith("#/home")
    token = page.location.partition("loginToken=")[2].partition("#")[0]
    body = {"type": "m.login.token", "token": token}
    login = await server.request("POST", "/login", body)
    assert login.json["user_id"] == alice.user_id
    assert (await server.request("POST", "/login", body)).status == 403
    await server.close()


async def test_F08_a_login_token_is_short_lived() -> None:
    server = open_oauth_server()
    await server.register()
    reader = await log_in_reader(server)
    page = await reader.get(f"/_halfdoor/account/sso?redirectUrl={quote(CLIENT, safe='')}")
    page = await reader.submit(page, follow=False)
    token = page.location.partition("loginToken=")[2].partition("#")[0]
    await server.clock.advance(21)
    assert (await server.request("POST", "/login", {"type": "m.login.token", "token": token})).status == 403


async def test_registering_clients_are_led_to_registration() -> None:
    server = open_oauth_server()
    answer = await redirect(server, CLIENT, action="register")
    page = await PageReader(server.client).get(answer.headers["location"])
    assert "Create an account" in page.text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://client.example/x",
        "https://user:password@client.example/",
        "https:///nothing",
        "https://",
        "//client.example/",
        "/relative",
        "client",
        "https://client.example/\r\nSet-Cookie: a=b",
        "https://client.example/ space",
        "https://client.example\\@evil.example/",
        "https://client.example:port/",
        "https://client.example/" + "a" * 5000,
        "",
    ],
)
async def test_F08_addresses_that_could_run_in_our_origin_get_no_token(url: str) -> None:
    server = open_oauth_server()
    await server.register()
    answer = await redirect(server, url)
    assert answer.status == 400
    reader = await log_in_reader(server)
    page = await reader.get(f"/_halfdoor/account/sso?redirectUrl={quote(url, safe='')}")
    assert page.status == 400
    good = await reader.get("/_halfdoor/account/sso?redirectUrl=https://client.example/")
    assert (await reader.submit(good, redirectUrl=url, follow=False)).status == 400


async def test_F08_a_yes_to_one_client_is_no_yes_to_another() -> None:
    server = open_oauth_server()
    await server.register()
    reader = await log_in_reader(server)
    page = await reader.get("/_halfdoor/account/sso?redirectUrl=https://client.example/")
    assert (await reader.submit(page, redirectUrl="https://evil.example/", follow=False)).status == 403


async def test_without_oauth_and_providers_there_is_no_single_sign_on() -> None:
    server = open_server()
    flows = (await server.request("GET", "/login")).json["flows"]
    assert "m.login.sso" not in {flow["type"] for flow in flows}
    assert (await redirect(server, CLIENT)).status == 404
    assert (await server.client.request("GET", "/_halfdoor/account/login")).status == 404


async def test_a_client_may_name_the_provider() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider, oauth=False)
    flows = (await server.request("GET", "/login")).json["flows"]
    assert "oauth_aware_preferred" not in flows[0]
    answer = await redirect(server, CLIENT, "/company")
    assert answer.status == 302
    reader = PageReader(server.client)
    away = await reader.get(answer.headers["location"], follow=False)
    page = await reader.get(provider.log_in(away.location))
    page = await reader.submit(page, follow=False)
    token = page.location.partition("loginToken=")[2].partition("#")[0]
    login = await server.request("POST", "/login", {"type": "m.login.token", "token": token})
    assert login.json["user_id"] == "@carol:halfdoor.test"
    unknown = await redirect(server, CLIENT, "/unknown")
    assert unknown.status == 404
    assert unknown.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", '"};alert(1);//', "\u2028"])
async def test_F08_the_fallback_page_hands_parameters_on_as_data(text: str) -> None:
    server = open_oauth_server()
    query = {"device_id": text, "loginToken": text, "initial_device_display_name": text}
    answer = await server.client.request("GET", "/_matrix/static/client/login/", query=query)
    assert answer.status == 200
    assert answer.headers["x-frame-options"] == "DENY"
    policy = answer.headers["content-security-policy"]
    assert "script-src 'nonce-" in policy
    assert "connect-src 'self'" in policy
    page = answer.body.decode()
    assert page.count("<script") == page.count("</script>") == 2
    assert "<!--" not in page
    told = json.loads(page.partition('id="given">')[2].partition("</script>")[0])
    assert told["token"] == told["more"]["device_id"] == text


async def carol(provider: IdentityProvider, db: Database | None = None) -> tuple[Server, PageReader, User]:
    """Somebody without a password, with a session of the legacy API."""
    server = open_provider_server(provider, db=db)
    reader = PageReader(server.client)
    away = await reader.get("/_halfdoor/account/providers/company", follow=False)
    await reader.get(provider.log_in(away.location))
    return server, reader, await legacy_session(server, reader)


async def legacy_session(server: Server, reader: PageReader) -> User:
    page = await reader.get("/_halfdoor/account/sso?redirectUrl=https://client.example/")
    page = await reader.submit(page, follow=False)
    token = page.location.partition("loginToken=")[2]
    body = (await server.request("POST", "/login", {"type": "m.login.token", "token": token})).json
    return User(server, body["user_id"], body["access_token"], body["device_id"])


async def test_who_has_no_password_confirms_in_a_browser(database: Database) -> None:
    provider = IdentityProvider()
    server, reader, user = await carol(provider, database)
    other = await legacy_session(server, reader)
    path = f"/devices/{other.device_id}"
    asked = await user.request("DELETE", path, {})
    assert asked.status == 401
    assert asked.json["flows"] == [{"stages": ["m.login.sso"]}]
    session = asked.json["session"]
    auth = {"auth": {"session": session}}
    claimed = {"auth": {"type": "m.login.sso", "session": session, "user_id": user.user_id}}
    assert (await user.request("DELETE", path, claimed)).status == 401, "saying so is no proof"
    assert (await user.request("DELETE", path, auth)).status == 401
    fallback = f"{V3}/auth/m.login.sso/fallback/web?session={session}"
    answer = await server.client.request("GET", fallback)
    assert answer.status == 302
    page = await reader.get(answer.headers["location"])
    assert "Log out other sessions" in page.text
    page = await reader.submit(page)
    assert "onAuthDone" in page.text
    assert "cross-origin-opener-policy" not in page.answer.headers
    swapped = await user.request("DELETE", f"/devices/{user.device_id}", auth)
    assert swapped.status == 403, "F05: another operation than the one that was confirmed"
    assert (await user.request("DELETE", path, auth)).status == 200
    assert (await user.request("DELETE", path, auth)).status >= 400
    await server.close()


async def test_F05_a_confirmation_is_for_the_request_as_it_was() -> None:
    server, reader, user = await carol(IdentityProvider())
    first, second = await legacy_session(server, reader), await legacy_session(server, reader)
    asked = await user.request("POST", "/delete_devices", {"devices": [first.device_id]})
    session = asked.json["session"]
    page = await reader.get(f"/_halfdoor/account/confirm?session={session}")
    await reader.submit(page)
    body = {"devices": [second.device_id], "auth": {"session": session}}
    assert (await user.request("POST", "/delete_devices", body)).status == 403
    assert (await second.request("GET", "/account/whoami")).status == 200


async def test_F04_nobody_confirms_for_somebody_else() -> None:
    provider = IdentityProvider()
    server, _, user = await carol(provider)
    asked = await user.request("POST", "/delete_devices", {"devices": [user.device_id]})
    session = asked.json["session"]
    await server.register("mallory")
    mallory = await log_in_reader(server, "mallory")
    assert (await mallory.get(f"/_halfdoor/account/confirm?session={session}")).status == 403
    page = await mallory.get("/_halfdoor/account/manage")
    forged = {"session": session, "csrf": page.forms[0].fields["csrf"]}
    assert (await mallory.post("/_halfdoor/account/confirm", forged)).status == 403
    assert (await user.request("POST", "/delete_devices", {"auth": {"session": session}})).status in (400, 401)


async def test_F04_an_old_login_confirms_nothing() -> None:
    provider = IdentityProvider()
    server, reader, user = await carol(provider)
    asked = await user.request("POST", "/delete_devices", {"devices": [user.device_id]})
    page = await reader.get(f"/_halfdoor/account/confirm?session={asked.json['session']}")
    await server.clock.advance(601)
    late = await reader.submit(page)
    assert "/login" in late.url
    link = next(each for each in late.links if "/providers/company" in each)
    away = await reader.get(link, follow=False)
    assert "prompt=login" in away.location, "the provider is asked to look again"
    page = await reader.get(provider.log_in(away.location))
    await reader.submit(page)
    body = {"devices": [user.device_id], "auth": {"session": asked.json["session"]}}
    assert (await user.request("POST", "/delete_devices", body)).status == 200


@pytest.mark.parametrize("stage", ["m.oauth", "org.matrix.cross_signing_reset"])
async def test_cross_signing_keys_of_an_oauth_session_are_replaced_after_a_yes_on_our_pages(stage: str) -> None:
    server = open_oauth_server()
    await server.register()
    reader = await log_in_reader(server)
    app = await register_app(server)
    tokens = (await app.exchange(await app.code(reader))).json
    user = User(server, "@alice:halfdoor.test", tokens["access_token"], app.device_id)
    path = "/keys/device_signing/upload"
    first, second, third = (Identity(user.user_id, seed).upload() for seed in ("one", "two", "three"))
    assert (await user.request("POST", path, first)).status == 200, "the first keys need no proof"
    asked = await user.request("POST", path, second)
    assert asked.status == 401
    assert [flow["stages"] for flow in asked.json["flows"]] == [["m.oauth"], ["org.matrix.cross_signing_reset"]]
    url = asked.json["params"][stage]["url"]
    auth = {"auth": {"session": asked.json["session"]}}
    assert (await user.request("POST", path, {**second, **auth})).status == 401
    with_type = {"auth": {"session": asked.json["session"], "type": stage}}
    assert (await user.request("POST", path, {**second, **with_type})).status == 401
    fallback = await server.client.request("GET", f"{V3}/auth/{stage}/fallback/web?session={asked.json['session']}")
    assert (fallback.status, fallback.headers["location"]) == (302, url)
    page = await reader.get(url.removeprefix("https://matrix.halfdoor.test"))
    assert (await user.request("POST", path, {**second, **auth})).status == 401, "looking is no yes"
    await reader.submit(page)
    assert (await user.request("POST", path, {**second, **auth})).status == 200
    asked = await user.request("POST", path, third)
    auth = {"auth": {"session": asked.json["session"]}}
    assert (await user.request("POST", path, {**third, **auth})).status == 401, "a yes is good for once"
    page = await reader.get(url.removeprefix("https://matrix.halfdoor.test"))
    await reader.submit(page)
    await server.clock.advance(601)
    late = await user.request("POST", path, {**third, **auth})
    assert late.status in (400, 401)


async def test_apps_of_the_oauth_api_never_ask_for_a_password() -> None:
    server = open_oauth_server()
    alice = await server.register()
    app = await register_app(server)
    tokens = (await app.exchange(await app.code(await log_in_reader(server)))).json
    user = User(server, alice.user_id, tokens["access_token"], app.device_id)
    asked = await user.request("DELETE", f"/devices/{alice.device_id}", {})
    assert asked.json["flows"] == [{"stages": ["m.login.sso"]}]
    password = {"type": "m.login.password", "session": asked.json["session"], "password": PASSWORD}
    assert (await user.request("DELETE", f"/devices/{alice.device_id}", {"auth": password})).status == 401
    legacy = await alice.request("DELETE", f"/devices/{app.device_id}", {})
    assert legacy.json["flows"] == [{"stages": ["m.login.password"]}]
