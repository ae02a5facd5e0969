"""The authorization code grant: from the app to the pages and back (row F12, and F02, F08, F16 where they meet it)."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.protocol.identifiers import parse_user_id
from homeserver.storage.database import Database
from tests.oauth.apps import App, log_in_reader, open_oauth_server, register_app
from tests.support.pages import PageReader, split_location
from tests.support.server import PASSWORD, Server


@pytest.fixture
async def server() -> Server:
    server = open_oauth_server()
    await server.homeserver.users.accounts.create_account(parse_user_id("@alice:halfdoor.test"), password=PASSWORD)
    return server


@pytest.fixture
async def app(server: Server) -> App:
    return await register_app(server)


async def test_an_app_gets_a_session_of_the_device_it_named(database: Database) -> None:
    server = open_oauth_server(database)
    alice = await server.register()
    app = await register_app(server)
    reader = PageReader(server.client)
    page = await reader.get(app.authorize_url())
    assert page.url.startswith("/_halfdoor/account/login?next=")
    page = await reader.submit(page, user="alice", password=PASSWORD)
    assert "Example app" in page.text
    assert "app.example.com" in page.text
    assert "@alice:halfdoor.test" in page.text
    page = await reader.submit(page, answer="allow", follow=False)
    target, carried = split_location(page.location)
    assert target == "https://app.example.com/callback"
    assert "#" in page.location
    assert carried["state"] == "state-of-app"
    answer = await app.exchange(carried["code"])
    assert answer.status == 200, answer.body
    tokens = answer.json
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 300
    assert tokens["scope"] == app.scope
    assert answer.headers["cache-control"] == "no-store"
    who = await server.request("GET", "/account/whoami", token=tokens["access_token"])
    assert who.json == {"user_id": alice.user_id, "device_id": "APPDEVICE1", "is_guest": False}
    devices = await alice.get("/devices")
    assert {"APPDEVICE1": "Example app"}.items() <= {
        each["device_id"]: each.get("display_name") for each in devices["devices"]
    }.items()
    renewed = await app.refresh(tokens["refresh_token"])
    assert renewed.status == 200
    assert renewed.json["access_token"] != tokens["access_token"]
    assert (await server.request("GET", "/account/whoami", token=renewed.json["access_token"])).status == 200
    await server.homeserver.close()


async def test_response_mode_query_and_a_denial(server: Server, app: App) -> None:
    reader = await log_in_reader(server)
    page = await reader.get(app.authorize_url(response_mode="query"))
    denied = await reader.submit(page, answer="deny", follow=False)
    target, carried = split_location(denied.location)
    assert "#" not in denied.location
    assert target == app.redirect_uri
    assert carried["error"] == "access_denied"
    assert carried["state"] == "state-of-app"
    assert "code" not in carried


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://app.example.com/callback/../evil"},
        {"redirect_uri": "https://evil.example.com/callback"},
        {"redirect_uri": "https://app.example.com/callback?x=1"},
        {"redirect_uri": "HTTPS://app.example.com/callback"},
        {"redirect_uri": None},
        {"client_id": "unknown"},
        {"client_id": None},
    ],
)
async def test_F12_a_client_that_is_not_known_for_sure_is_told_nothing(
    server: Server, app: App, changes: dict[str, str | None]
) -> None:
    page = await PageReader(server.client).get(app.authorize_url(**changes), follow=False)
    assert page.status == 400
    assert "location" not in page.answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "id_token"}, "unsupported_response_type"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "urn:matrix:client:api:*"}, "invalid_scope"),
        (
            {"scope": "urn:matrix:client:api:* urn:matrix:client:device:AAAAAAAA urn:matrix:client:device:BBBBBBBB"},
            "invalid_scope",
        ),
        ({"scope": "urn:matrix:client:api:* urn:matrix:client:device:A<script>"}, "invalid_scope"),
        ({"response_mode": "web_message"}, "invalid_request"),
    ],
)
async def test_F12_a_wrong_request_is_told_to_the_app_and_nothing_is_granted(
    server: Server, app: App, changes: dict[str, str | None], error: str
) -> None:
    page = await PageReader(server.client).get(app.authorize_url(**changes), follow=False)
    assert page.status == 303
    target, carried = split_location(page.location)
    assert target == app.redirect_uri
    assert carried["error"] == error
    assert carried["state"] == "state-of-app"


async def test_F12_codes_are_used_once_and_reuse_closes_the_session(server: Server, app: App) -> None:
    reader = await log_in_reader(server)
    code = await app.code(reader)
    first = await app.exchange(code)
    assert first.status == 200
    again = await app.exchange(code)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert (await server.request("GET", "/account/whoami", token=first.json["access_token"])).status == 401
    assert (await app.refresh(first.json["refresh_token"])).json["error"] == "invalid_grant"


async def test_F12_a_code_serves_its_own_client_redirect_uri_and_verifier_only(server: Server, app: App) -> None:
    other = await register_app(server, client_name="Other app")
    reader = await log_in_reader(server)
    code = await app.code(reader)
    for changes, error in (
        ({"client_id": other.client_id}, "invalid_grant"),
        ({"redirect_uri": "https://app.example.com/other"}, "invalid_grant"),
        ({"code_verifier": "x" * 60}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"client_id": "unknown"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
    ):
        answer = await app.exchange(code, **changes)
        assert (answer.status, answer.json["error"]) == (400, error), changes
    assert (await app.exchange(code)).status == 200


async def test_F12_a_grant_type_that_was_not_registered_is_refused(server: Server) -> None:
    app = await register_app(server, grant_types=["authorization_code"], client_name="No refresh")
    tokens = (await app.exchange(await app.code(await log_in_reader(server)))).json
    assert (await app.refresh(tokens["refresh_token"])).json["error"] == "unauthorized_client"
    started = await app.post("device", {"client_id": app.client_id, "scope": app.scope})
    assert started.json["error"] == "unauthorized_client"


async def test_F12_a_code_expires(server: Server, app: App) -> None:
    code = await app.code(await log_in_reader(server))
    await server.clock.advance(61)
    assert (await app.exchange(code)).json["error"] == "invalid_grant"


async def test_F12_a_parameter_that_comes_twice_is_refused(server: Server, app: App) -> None:
    page = await PageReader(server.client).get(app.authorize_url() + "&redirect_uri=https://evil.example", follow=False)
    assert page.status == 400
    assert "location" not in page.answer.headers


async def test_F16_a_refresh_token_that_comes_back_closes_the_session(server: Server, app: App) -> None:
    tokens = (await app.exchange(await app.code(await log_in_reader(server)))).json
    renewed = (await app.refresh(tokens["refresh_token"])).json
    repeated = await app.refresh(tokens["refresh_token"])  # its answer may have been lost
    assert repeated.status == 200
    newest = repeated.json
    assert (await server.request("GET", "/account/whoami", token=newest["access_token"])).status == 200
    assert (await app.refresh(tokens["refresh_token"])).json["error"] == "invalid_grant"
    for token in (renewed["access_token"], newest["access_token"]):
        assert (await server.request("GET", "/account/whoami", token=token)).status == 401


async def test_F16_a_refresh_token_serves_its_own_client_only(server: Server, app: App) -> None:
    other = await register_app(server, client_name="Other app")
    tokens = (await app.exchange(await app.code(await log_in_reader(server)))).json
    assert (await other.refresh(tokens["refresh_token"])).json["error"] == "invalid_grant"
    assert (await app.refresh(tokens["refresh_token"])).status == 200
    legacy = await server.log_in()
    assert (await app.refresh(legacy.token)).json["error"] == "invalid_grant"


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_F16_revoking_either_token_ends_the_session_and_its_device(server: Server, app: App, kind: str) -> None:
    tokens = (await app.exchange(await app.code(await log_in_reader(server)))).json
    answer = await app.post("revoke", {"token": tokens[kind]})
    assert answer.status == 200
    assert (await server.request("GET", "/account/whoami", token=tokens["access_token"])).status == 401
    assert (await app.refresh(tokens["refresh_token"])).status == 400
    alice = await server.log_in()
    assert [each["device_id"] for each in (await alice.get("/devices"))["devices"]] == [alice.device_id]
    assert (await app.post("revoke", {"token": tokens[kind], "token_type_hint": "access_token"})).status == 200
    assert (await app.post("revoke", {})).status == 400


async def test_F02_a_code_of_an_account_that_was_locked_meanwhile_opens_nothing(server: Server, app: App) -> None:
    code = await app.code(await log_in_reader(server))
    await server.homeserver.users.accounts.set_flag("@alice:halfdoor.test", "is_locked", True)
    assert (await app.exchange(code)).json["error"] == "invalid_grant"


@pytest.mark.parametrize("flag", ["is_locked", "is_deactivated"])
async def test_F02_whoever_may_not_log_in_may_not_on_the_pages_either(server: Server, flag: str) -> None:
    reader = await log_in_reader(server)
    if flag == "is_locked":
        await server.homeserver.users.accounts.set_flag("@alice:halfdoor.test", "is_locked", True)
    else:
        await server.homeserver.users.accounts.deactivate("@alice:halfdoor.test", erase=False)
    page = await reader.get("/_halfdoor/account/manage")
    assert "/login" in page.url
    page = await reader.submit(page, user="alice", password=PASSWORD)
    assert page.status == 403


async def test_the_session_ends_like_every_other_one(server: Server, app: App) -> None:
    tokens = (await app.exchange(await app.code(await log_in_reader(server)))).json
    await server.clock.advance(301)
    expired = await server.request("GET", "/account/whoami", token=tokens["access_token"])
    assert (expired.status, expired.json["soft_logout"]) == (401, True)
    renewed = (await app.refresh(tokens["refresh_token"])).json
    assert (await server.request("POST", "/logout", token=renewed["access_token"])).status == 200
    assert (await app.refresh(renewed["refresh_token"])).json["error"] == "invalid_grant"


async def test_logging_in_by_the_legacy_api_makes_a_device_one_of_that_api(server: Server, app: App) -> None:
    tokens = (await app.exchange(await app.code(await log_in_reader(server)))).json
    await server.log_in(device_id=app.device_id)
    assert (await app.refresh(tokens["refresh_token"])).status == 400
    assert not await server.homeserver.oauth.sessions.is_session("@alice:halfdoor.test", app.device_id)


async def test_a_native_app_comes_back_to_its_scheme_or_any_loopback_port(server: Server) -> None:
    app = await register_app(
        server,
        application_type="native",
        redirect_uris=["com.example.app:/callback", "http://127.0.0.1/back", "http://[::1]/back"],
    )
    reader = await log_in_reader(server)
    page = await reader.get(app.authorize_url(response_mode="query"))
    assert "form-action 'self' com.example.app:" in page.answer.headers["content-security-policy"]
    page = await reader.submit(page, answer="allow", follow=False)
    assert page.location.startswith("com.example.app:/callback?code=")
    for given, known in (
        ("http://127.0.0.1:49152/back", True),
        ("http://[::1]:8080/back", True),
        ("http://127.0.0.1:49152/elsewhere", False),
        ("http://127.0.0.1@evil.example:80/back", False),
        ("http://127.0.0.1:80.evil.example/back", False),
        ("http://127.0.0.2:49152/back", False),
        ("http://localhost:49152/back", False),
    ):
        page = await reader.get(app.authorize_url(redirect_uri=given), follow=False)
        assert page.status == (200 if known else 400), given


@pytest.mark.parametrize("name", ["state", "scope", "response_type", "response_mode", "code_challenge", "redirect_uri"])
@pytest.mark.parametrize("value", ["line\r\nX-Evil: 1", "é", "\x7f"])
async def test_F12_parameters_with_characters_that_none_can_have_are_refused(
    server: Server, app: App, name: str, value: str
) -> None:
    page = await PageReader(server.client).get(app.authorize_url(**{name: value}), follow=False)
    assert page.status in (303, 400)
    assert "x-evil" not in page.answer.headers
    answer = await app.exchange("code", **{name: value})
    assert answer.status == 400
    started = await app.post("device", {"client_id": app.client_id, "scope": app.scope, name: value})
    assert started.status in (200, 400)


@pytest.mark.parametrize(
    ("redirect_uri", "mode", "start"),
    [
        ("https://app.example.com/?a=1&b=%20", "fragment", "https://app.example.com/?a=1&b=%20#code="),
        ("https://app.example.com/?a=1", "query", "https://app.example.com/?a=1&code="),
        ("com.example.app:callback", "query", "com.example.app:callback?code="),
        ("com.example.app:/", "fragment", "com.example.app:/#code="),
    ],
)
async def test_the_answer_is_added_to_the_redirect_uri_as_it_is(
    server: Server, redirect_uri: str, mode: str, start: str
) -> None:
    app = await register_app(server, application_type="native", redirect_uris=[redirect_uri])
    reader = await log_in_reader(server)
    page = await reader.get(app.authorize_url(response_mode=mode, state="s t&a=b#/?"))
    page = await reader.submit(page, answer="allow", follow=False)
    assert page.location.startswith(start)
    assert page.location.endswith("&state=s+t%26a%3Db%23%2F%3F")
    code = page.location.partition("code=")[2].partition("&")[0]
    assert (await app.exchange(code)).status == 200


async def test_unstable_scopes_are_the_same_and_others_are_not_granted(server: Server, app: App) -> None:
    asked = (
        "openid urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:OLDSCOPE12 "
        "urn:synapse:admin:*"
    )
    answer = await app.exchange(await app.code(await log_in_reader(server), scope=asked))
    assert answer.json["scope"] == (
        "urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:OLDSCOPE12"
    )
    who = await server.request("GET", "/account/whoami", token=answer.json["access_token"])
    assert who.json["device_id"] == "OLDSCOPE12"


async def test_F12_of_two_who_bring_a_code_at_once_at_most_one_has_a_session(server: Server, app: App) -> None:
    code = await app.code(await log_in_reader(server))
    answers = await asyncio.gather(app.exchange(code), app.exchange(code))
    assert sorted(answer.status for answer in answers) == [200, 400]
    tokens = next(answer.json for answer in answers if answer.status == 200)
    assert (await server.request("GET", "/account/whoami", token=tokens["access_token"])).status == 401


async def test_F06_codes_and_cookies_are_in_the_database_as_hashes_alone(server: Server, app: App) -> None:
    reader = await log_in_reader(server)
    code = await app.code(reader)
    started = await app.post("device", {"client_id": app.client_id, "scope": app.scope})
    assert reader.cookie is not None
    secrets = [code, reader.cookie.partition("=")[2], started.json["device_code"], started.json["user_code"]]
    db = server.homeserver.db
    for table in ("oauth_codes", "oauth_device_codes", "oauth_sessions", "browser_sessions", "oauth_clients"):
        stored = str(await db.fetch_all(f"SELECT * FROM {table}"))
        assert not any(secret in stored for secret in secrets), table
