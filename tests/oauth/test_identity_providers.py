"""Logging in by identity providers (OpenID Connect), and the attacks on that (rows F12, F02, F08)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from homeserver.protocol.identifiers import parse_user_id
from homeserver.storage.database import Database
from tests.oauth.apps import register_app
from tests.oauth.providers import (
    ISSUER,
    SETTINGS,
    IdentityProvider,
    open_provider_server,
    rsa_key,
    signing_key,
)
from tests.support.pages import Page, PageReader
from tests.support.server import PASSWORD, Server

START = "/_halfdoor/account/providers/company"
CALLBACK = f"{START}/callback"


async def log_in(server: Server, provider: IdentityProvider, reader: PageReader | None = None, **more: str) -> Page:
    """From our login page to the provider and back."""
    reader = reader or PageReader(server.client)
    away = await reader.get(f"/_halfdoor/account/providers/{provider.settings.id}", follow=False)
    assert away.status == 303, away.text
    return await reader.get(provider.log_in(away.location, **more))


async def who_is_in(page: Page) -> str:
    """The user whom the account page greets."""
    assert page.status == 200, page.text
    return page.text.partition("<code>")[2].partition("</code>")[0]


async def test_somebody_new_gets_an_account_and_comes_back_to_it(database: Database) -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider, db=database)
    page = await log_in(server, provider)
    assert await who_is_in(page) == "@carol:halfdoor.test"
    profile = await server.request("GET", "/profile/@carol:halfdoor.test")
    assert profile.json["displayname"] == "Carol C."
    provider.claims.update(preferred_username="renamed", name="Somebody Else")
    assert await who_is_in(await log_in(server, provider)) == "@carol:halfdoor.test"
    await server.homeserver.close()


async def test_the_login_page_offers_every_provider_and_leads_on(database: Database) -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider, db=database)
    app = await register_app(server)
    reader = PageReader(server.client)
    page = await reader.get(app.authorize_url())
    assert "Continue with Company &lt;login&gt;" in page.text
    link = next(each for each in page.links if "/providers/company" in each)
    away = await reader.get(link, follow=False)
    page = await reader.get(provider.log_in(away.location))
    assert "Example app" in page.text
    code = await app.code(reader)
    tokens = (await app.exchange(code)).json
    who = await server.request("GET", "/account/whoami", token=tokens["access_token"])
    assert who.json["user_id"] == "@carol:halfdoor.test"
    await server.homeserver.close()


async def test_userinfo_adds_claims_but_only_of_the_same_subject() -> None:
    provider = IdentityProvider(
        claims={"sub": "subject-1"}, userinfo={"sub": "subject-1", "preferred_username": "dora"}
    )
    server = open_provider_server(provider)
    assert await who_is_in(await log_in(server, provider)) == "@dora:halfdoor.test"
    provider.userinfo = {"sub": "subject-2", "preferred_username": "eve"}
    assert (await log_in(server, provider)).status == 503


async def test_a_verified_address_becomes_the_accounts() -> None:
    provider = IdentityProvider()
    provider.claims.update(email="Carol@Example.org", email_verified=True)
    server = open_provider_server(provider)
    await log_in(server, provider)
    find = server.homeserver.users.threepids.find_user
    assert await find("email", "carol@example.org") == "@carol:halfdoor.test"
    provider.claims = {"sub": "2", "preferred_username": "mallory", "email": "victim@example.org"}
    await log_in(server, provider)
    assert await find("email", "victim@example.org") is None


async def test_a_taken_name_lets_the_newcomer_choose_another(database: Database) -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider, db=database)
    await server.register("carol")
    await server.register("taken")
    reader = PageReader(server.client)
    page = await log_in(server, provider, reader)
    assert "Choose your user name" in page.text
    assert page.forms[0].fields["user"] == "carol"
    page = await reader.submit(page, user="taken")
    assert page.status == 400
    page = await reader.submit(page, user="carol.c")
    assert await who_is_in(page) == "@carol.c:halfdoor.test"
    assert await who_is_in(await log_in(server, provider)) == "@carol.c:halfdoor.test"
    assert (await reader.get("/_halfdoor/account/username")).status == 404
    await server.homeserver.close()


@pytest.mark.parametrize("claims", [{"sub": "1"}, {"sub": "1", "preferred_username": ""}, {"sub": "1", "name": "X"}])
async def test_without_a_usable_name_the_newcomer_chooses(claims: dict[str, Any]) -> None:
    provider = IdentityProvider(claims=claims)
    page = await log_in(open_provider_server(provider), provider)
    assert "Choose your user name" in page.text


async def test_F12_a_name_gives_nobody_an_account_that_is_there_unless_the_operator_says_so() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    await server.register("carol")
    assert "Choose your user name" in (await log_in(server, provider)).text
    trusted = IdentityProvider(settings=replace(SETTINGS, allows_existing=True))
    server = open_provider_server(trusted)
    await server.register("carol")
    assert await who_is_in(await log_in(server, trusted)) == "@carol:halfdoor.test"
    trusted.claims["sub"] = "another-subject"  # only the first who comes with the name gets it by that
    assert await who_is_in(await log_in(server, trusted)) == "@carol:halfdoor.test"


async def test_a_provider_without_registration_lets_only_known_people_in() -> None:
    provider = IdentityProvider(settings=replace(SETTINGS, registers=False))
    page = await log_in(open_provider_server(provider), provider)
    assert page.status == 403


@pytest.mark.parametrize("flag", ["is_locked", "deactivated"])
async def test_F02_a_provider_does_not_let_in_whom_the_server_locked_out(flag: str) -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    await log_in(server, provider)
    accounts = server.homeserver.users.accounts
    if flag == "is_locked":
        await accounts.set_flag("@carol:halfdoor.test", "is_locked", True)
    else:
        await accounts.deactivate("@carol:halfdoor.test", erase=False)
    assert (await log_in(server, provider)).status in (401, 403)


async def test_who_is_erased_is_forgotten_and_may_come_as_somebody_new() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    await log_in(server, provider)
    await server.homeserver.users.accounts.deactivate("@carol:halfdoor.test", erase=True)
    assert "Choose your user name" in (await log_in(server, provider)).text


def unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


def by_the_public_key_as_a_secret(claims: dict[str, Any]) -> str:
    """The confusion of RSA keys with shared secrets."""
    public = json.dumps(signing_key("one").as_dict(private=False)).encode()
    key = OctKey.import_key(public + b"x" * 40)
    return jwt.encode({"alg": "HS256", "kid": "one"}, claims, key, algorithms=["HS256"])


def by_the_client_secret(claims: dict[str, Any]) -> str:
    key = OctKey.import_key((SETTINGS.client_secret or "").encode() + b"x" * 40)
    return jwt.encode({"alg": "HS256"}, claims, key, algorithms=["HS256"])


def by_another_key(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "ES256", "kid": "one"}, claims, signing_key("another"), algorithms=["ES256"])


def by_a_key_that_it_brings(claims: dict[str, Any]) -> str:
    key = signing_key("another")
    header = {"alg": "ES256", "kid": "one", "jwk": key.as_dict(private=False)}
    return jwt.encode(header, claims, key, algorithms=["ES256"])


@pytest.mark.parametrize(
    "sign",
    [
        unsigned,
        by_the_public_key_as_a_secret,
        by_the_client_secret,
        by_another_key,
        by_a_key_that_it_brings,
        lambda claims: "not.a.token",
        lambda claims: "",
    ],
)
async def test_F12_an_id_token_without_the_providers_signature_is_not_believed(
    sign: Callable[[dict[str, Any]], str],
) -> None:
    provider = IdentityProvider(sign=sign)
    server = open_provider_server(provider)
    page = await log_in(server, provider)
    assert page.status == 503
    assert not await server.homeserver.users.accounts.exists("@carol:halfdoor.test")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": f"{ISSUER}/"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": ["another-client"]},
        {"aud": ["halfdoor", "another-client"]},
        {"aud": ["halfdoor", "another-client"], "azp": "another-client"},
        {"azp": "another-client"},
        {"aud": None},
        {"exp": 0},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": 99999999999},
        {"iat": None},
        {"nonce": "of-another-login"},
        {"nonce": None},
        {"sub": ""},
        {"sub": None},
        {"sub": 5},
        {"sub": "x" * 256},
    ],
)
async def test_F12_an_id_token_for_another_reader_login_or_time_is_not_believed(changes: dict[str, Any]) -> None:
    def tamper(claims: dict[str, Any]) -> None:
        for name, value in changes.items():
            if value is None:
                claims.pop(name, None)
            else:
                claims[name] = value

    provider = IdentityProvider(tamper=tamper)
    assert (await log_in(open_provider_server(provider), provider)).status == 503


async def test_F12_a_state_comes_back_once_in_its_own_browser_and_in_time() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    reader = PageReader(server.client)
    away = await reader.get(START, follow=False)
    back = provider.log_in(away.location)
    victim = PageReader(server.client)  # login CSRF: the attacker's answer in somebody else's browser
    await victim.get("/_halfdoor/account/login")
    assert (await victim.get(back)).status == 403
    assert (await reader.get(back)).status == 403, "a state that was shown once is gone"
    away = await reader.get(START, follow=False)
    back = provider.log_in(away.location)
    assert (await reader.get(back)).status == 200
    assert (await reader.get(back)).status == 403
    away = await reader.get(START, follow=False)
    await server.clock.advance(601)
    assert (await reader.get(provider.log_in(away.location))).status == 403
    assert (await reader.get(f"{CALLBACK}?state=made-up&code=x")).status == 403
    assert (await reader.get(CALLBACK)).status == 403


async def test_F12_the_answer_of_one_provider_is_not_taken_for_anothers() -> None:
    """Mix-up: the honest provider's code must not be sent to the attacker's."""
    honest = IdentityProvider()
    evil = IdentityProvider(
        settings=replace(SETTINGS, id="evil", issuer="https://evil.example.net", name="Evil"), claims={"sub": "x"}
    )
    server = open_provider_server(honest, evil)
    reader = PageReader(server.client)
    away = await reader.get("/_halfdoor/account/providers/evil", follow=False)
    state = away.location.partition("state=")[2].partition("&")[0]
    assert (await reader.get(f"{CALLBACK}?state={state}&code=stolen")).status == 403
    assert evil.token_requests == honest.token_requests == 0


async def test_F12_the_callbacks_issuer_must_be_the_one_that_was_asked() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    assert (await log_in(server, provider, iss="https://evil.example")).status == 503
    assert (await log_in(server, provider, iss=ISSUER)).status == 200
    provider = IdentityProvider(metadata={"authorization_response_iss_parameter_supported": True})
    assert (await log_in(open_provider_server(provider), provider)).status == 503


async def test_F12_metadata_of_another_issuer_is_not_believed() -> None:
    provider = IdentityProvider(metadata={"issuer": "https://evil.example"})
    server = open_provider_server(provider)
    assert (await PageReader(server.client).get(START, follow=False)).status == 503


@pytest.mark.parametrize("endpoint", ["http://idp.example.org/auth", "javascript:alert(1)", "", 5])
async def test_F12_endpoints_without_tls_are_not_used(endpoint: Any) -> None:
    provider = IdentityProvider(metadata={"authorization_endpoint": endpoint})
    server = open_provider_server(provider)
    assert (await PageReader(server.client).get(START, follow=False)).status == 503


async def test_keys_that_change_are_fetched_again_but_not_at_every_bad_token() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    assert (await log_in(server, provider)).status == 200
    provider.key = signing_key("two")
    assert (await log_in(server, provider)).status == 503
    assert provider.key_requests == 1
    await server.clock.advance(61)
    assert (await log_in(server, provider)).status == 200
    provider.sign = by_another_key
    for _ in range(5):
        assert (await log_in(server, provider)).status == 503
    assert provider.key_requests == 2


async def test_rsa_signatures_are_believed_too() -> None:
    provider = IdentityProvider(key=rsa_key("rsa"), algorithm="RS256")
    assert (await log_in(open_provider_server(provider), provider)).status == 200


async def test_a_provider_that_refuses_is_told_to_the_person() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    reader = PageReader(server.client)
    away = await reader.get(START, follow=False)
    state = away.location.partition("state=")[2].partition("&")[0]
    page = await reader.get(f"{CALLBACK}?state={state}&error=access_denied&error_description=<script>")
    assert page.status == 403
    assert "<script>" not in page.text


async def test_the_provider_ends_what_began_with_it(database: Database) -> None:
    provider = IdentityProvider()
    provider.claims["sid"] = "session-there"
    server = open_provider_server(provider, db=database)
    app = await register_app(server)
    reader = PageReader(server.client)
    await log_in(server, provider, reader)
    tokens = (await app.exchange(await app.code(reader))).json
    page = await reader.get("/_halfdoor/account/sso?redirectUrl=https://client.example/")
    answer = await reader.submit(page, follow=False)
    login_token = answer.location.partition("loginToken=")[2]
    legacy = await server.request("POST", "/login", {"type": "m.login.token", "token": login_token})
    assert legacy.status == 200, legacy.body
    logout = f"{START}/backchannel_logout"
    wrong: list[dict[str, Any]] = [
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"events": {}},
        {"nonce": "x"},
        {"jti": None},
        {"iat": 1},
        {},
    ]
    for changes in wrong:
        sid = {} if not changes else {"sid": "session-there"}
        token = provider.logout_token(**sid, **changes)
        refused = await _post(server, logout, {"logout_token": token})
        assert refused == 400, changes
    still = await server.request("GET", "/account/whoami", token=tokens["access_token"])
    assert still.status == 200
    token = provider.logout_token(sid="session-there")
    assert await _post(server, logout, {"logout_token": token}) == 200
    assert await _post(server, logout, {"logout_token": token}) == 400
    for ended in (tokens["access_token"], legacy.json["access_token"]):
        assert (await server.request("GET", "/account/whoami", token=ended)).status == 401
    assert "/login" in (await reader.get("/_halfdoor/account/manage")).url
    await server.homeserver.close()


async def test_a_logout_that_names_the_person_ends_all_their_sessions_with_the_provider() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    app = await register_app(server)
    reader = PageReader(server.client)
    await log_in(server, provider, reader)
    tokens = (await app.exchange(await app.code(reader))).json
    token = provider.logout_token(sub="somebody-else")
    assert await _post(server, f"{START}/backchannel_logout", {"logout_token": token}) == 200
    assert (await server.request("GET", "/account/whoami", token=tokens["access_token"])).status == 200
    token = provider.logout_token(sub="subject-1")
    assert await _post(server, f"{START}/backchannel_logout", {"logout_token": token}) == 200
    assert (await server.request("GET", "/account/whoami", token=tokens["access_token"])).status == 401


async def test_a_provider_whose_id_tokens_name_no_session_may_name_one_at_logout() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    app = await register_app(server)
    reader = PageReader(server.client)
    await log_in(server, provider, reader)
    tokens = (await app.exchange(await app.code(reader))).json
    token = provider.logout_token(sub="subject-1", sid="a-session-that-was-never-named")
    assert await _post(server, f"{START}/backchannel_logout", {"logout_token": token}) == 200
    assert (await server.request("GET", "/account/whoami", token=tokens["access_token"])).status == 401
    assert "/login" in (await reader.get("/_halfdoor/account/manage")).url


async def test_passwords_and_providers_live_side_by_side() -> None:
    provider = IdentityProvider()
    server = open_provider_server(provider)
    await server.homeserver.users.accounts.create_account(parse_user_id("@alice:halfdoor.test"), password=PASSWORD)
    flows = (await server.request("GET", "/login")).json["flows"]
    sso = next(flow for flow in flows if flow["type"] == "m.login.sso")
    assert sso["identity_providers"] == [{"id": "company", "name": "Company <login>", "brand": "company"}]
    assert {"type": "m.login.password"} in flows
    reader = PageReader(server.client)
    page = await reader.get("/_halfdoor/account/login")
    assert await who_is_in(await reader.submit(page, user="alice", password=PASSWORD)) == "@alice:halfdoor.test"


async def _post(server: Server, path: str, form: dict[str, str]) -> int:
    from tests.oauth.apps import post_form

    return (await post_form(server, path, form)).status
