"""User-interactive authentication over HTTP, and its pages for browsers."""

from __future__ import annotations

import html
from urllib.parse import urlencode

import pytest

from homeserver.users.registration import RegistrationSettings
from tests.client_api.test_registration import TERMS, add_token
from tests.support.http import Answer
from tests.support.user_server import PASSWORD, V3, Person, UserServer, open_user_server, settings

PATH = "/delete_devices"


async def ask(server: UserServer, person: Person, body: dict[str, object]) -> str:
    answer = await server.post(PATH, body, token=person.token)
    assert answer.status == 401
    assert answer.json["flows"] == [{"stages": ["m.login.password"]}]
    session: str = answer.json["session"]
    return session


def password(session: str | None, text: str = PASSWORD, **more: object) -> dict[str, object]:
    auth: dict[str, object] = {"type": "m.login.password", "password": text, **more}
    return auth if session is None else {**auth, "session": session}


async def test_password_stage_lets_the_request_pass(server: UserServer) -> None:
    alice = await server.register("alice")
    session = await ask(server, alice, {"devices": []})
    identifier = {"type": "m.id.user", "user": "alice"}
    answer = await server.post(
        PATH, {"devices": [], "auth": password(session, identifier=identifier)}, token=alice.token
    )
    assert answer.status == 200


async def test_session_is_used_up_by_the_request_that_it_lets_pass(server: UserServer) -> None:
    alice = await server.register("alice")
    session = await ask(server, alice, {"devices": []})
    body = {"devices": [], "auth": password(session)}
    assert (await server.post(PATH, body, token=alice.token)).status == 200
    again = await server.post(PATH, {"devices": [], "auth": {"session": session}}, token=alice.token)
    assert (again.status, again.json["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("text", ["", "wrong", "\u0001", "null", "None", "*", "x" * 600])
async def test_F04_no_other_password_lets_anybody_pass(server: UserServer, text: str) -> None:
    alice = await server.register("alice")
    session = await ask(server, alice, {"devices": []})
    answer = await server.post(PATH, {"devices": [], "auth": password(session, text)}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (401, "M_FORBIDDEN")
    assert answer.json["session"] == session
    assert answer.json["completed"] == []
    assert (await server.post(PATH, {"devices": [], "auth": password(session)}, token=alice.token)).status == 200


async def test_F04_empty_password_does_not_pass_for_an_account_without_one(server: UserServer) -> None:
    await server.post("/register", {"username": "bare", "auth": {"type": "m.login.dummy"}})
    answer = await server.post("/register", {"username": "bare2", "auth": {"type": "m.login.dummy"}})
    token = answer.json["access_token"]
    for text in ("", "x", "nobody's password"):
        tried = await server.post(PATH, {"devices": [], "auth": password(None, text)}, token=token)
        assert tried.status == 401


@pytest.mark.parametrize("stage", ["m.login.dummy", "m.login.terms", "m.login.sso", "m.login.registration_token", ""])
async def test_F04_stages_that_are_not_offered_do_not_count(server: UserServer, stage: str) -> None:
    alice = await server.register("alice")
    session = await ask(server, alice, {"devices": []})
    answer = await server.post(PATH, {"devices": [], "auth": {"type": stage, "session": session}}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (401, "M_INVALID_PARAM")


async def test_F04_session_of_somebody_else_is_refused(server: UserServer) -> None:
    alice, mallory = await server.register("alice"), await server.register("mallory", password="mallory's own")
    session = await ask(server, alice, {"devices": []})
    for auth in (password(session, "mallory's own"), password(session), {"session": session}):
        answer = await server.post(PATH, {"devices": [], "auth": auth}, token=mallory.token)
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_F04_password_of_another_account_does_not_count(server: UserServer) -> None:
    alice, _ = await server.register("alice"), await server.register("mallory", password="mallory's own")
    session = await ask(server, alice, {"devices": []})
    auth = password(session, "mallory's own", identifier={"type": "m.id.user", "user": "mallory"})
    answer = await server.post(PATH, {"devices": [], "auth": auth}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (401, "M_FORBIDDEN")


async def test_F04_session_of_another_device_is_refused(server: UserServer) -> None:
    alice = await server.register("alice")
    other = await server.log_in("alice")
    session = await ask(server, alice, {"devices": []})
    answer = await server.post(PATH, {"devices": [], "auth": password(session)}, token=other.token)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")


async def test_F05_session_for_one_operation_does_not_allow_another(server: UserServer) -> None:
    alice = await server.register("alice")
    session = await ask(server, alice, {"devices": []})
    answer = await server.post("/account/deactivate", {"auth": password(session)}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    other = await server.delete(f"/devices/{alice.device_id}", {"auth": password(session)}, token=alice.token)
    assert other.status == 403


async def test_F05_what_was_authorised_is_what_is_done() -> None:
    """Stage one is done for one body; another body must not ride on it."""
    from homeserver.storage.registration_tokens import RegistrationToken

    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, needs_token=True, policies=TERMS)))
    await add_token(server, RegistrationToken("t"))
    session = (await server.post("/register", {"username": "alice"})).json["session"]
    auth = {"type": "m.login.registration_token", "token": "t", "session": session}
    assert (await server.post("/register", {"username": "alice", "auth": auth})).status == 401
    for name in ("mallory", None):
        body = {"username": name} if name else {}
        changed = await server.post("/register", {**body, "auth": {"type": "m.login.terms", "session": session}})
        assert (changed.status, changed.json["errcode"]) == (403, "M_FORBIDDEN")
    done = await server.post("/register", {"username": "alice", "auth": {"type": "m.login.terms", "session": session}})
    assert done.status == 200


async def test_F04_unknown_and_old_sessions_are_refused(server: UserServer) -> None:
    alice = await server.register("alice")
    session = await ask(server, alice, {"devices": []})
    await server.clock.advance(3600)
    for tried in (session, "hdi_unknown", "", "x" * 5000):
        answer = await server.post(PATH, {"devices": [], "auth": password(tried)}, token=alice.token)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    "auth",
    [
        "x",
        [],
        5,
        {"session": 1},
        {"type": 1},
        {"type": "m.login.password"},
        {"type": "m.login.password", "password": 1},
    ],
)
async def test_malformed_auth_is_bad_json(server: UserServer, auth: object) -> None:
    alice = await server.register("alice")
    answer = await server.post(PATH, {"devices": [], "auth": auth}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, "M_BAD_JSON")


async def test_D13_guessing_in_interactive_authentication_is_limited_too(server: UserServer) -> None:
    alice = await server.register("alice")
    statuses = []
    for _ in range(30):
        answer = await server.post(PATH, {"devices": [], "auth": password(None, "guess")}, token=alice.token)
        statuses.append(answer.status)
    assert statuses.count(401) == 5
    assert statuses.count(429) == 25


# The pages.


async def fallback(server: UserServer, stage: str, session: str, form: dict[str, str] | None = None) -> Answer:
    path = f"{V3}/auth/{stage}/fallback/web?{urlencode({'session': session})}"
    if form is None:
        return await server.client.request("GET", path)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await server.client.request("POST", path, body=urlencode(form).encode(), headers=headers)


async def test_terms_page_completes_the_stage() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, policies=TERMS)))
    session = (await server.post("/register", {"username": "alice"})).json["session"]
    page = await fallback(server, "m.login.terms", session)
    assert page.status == 200
    assert b'<a href="https://halfdoor.test/privacy"' in page.body
    assert b"Privacy &lt;b&gt;policy&lt;/b&gt;" in page.body
    done = await fallback(server, "m.login.terms", session, {"session": session})
    assert b"window.onAuthDone()" in done.body
    assert b'window.opener.postMessage("authDone", "*")' in done.body
    answer = await server.post("/register", {"username": "alice", "auth": {"session": session}})
    assert answer.status == 200


async def test_registration_token_page_says_when_a_token_is_wrong() -> None:
    from homeserver.storage.registration_tokens import RegistrationToken

    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, needs_token=True)))
    await add_token(server, RegistrationToken("right"))
    session = (await server.post("/register", {"username": "alice"})).json["session"]
    wrong = await fallback(server, "m.login.registration_token", session, {"token": "wrong"})
    assert wrong.status == 400
    assert b"This registration token is not valid." in wrong.body
    waiting = await server.post("/register", {"username": "alice", "auth": {"session": session}})
    assert waiting.status == 401
    await fallback(server, "m.login.registration_token", session, {"token": "right"})
    answer = await server.post("/register", {"username": "alice", "auth": {"session": session}})
    assert answer.status == 200


async def test_captcha_page_hands_the_answer_to_the_hook() -> None:
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, recaptcha_public_key='K"><script>')))

    async def verify(response: str, address: str) -> bool:
        return response == "solved"

    server.hooks.verify_captcha.append(verify)
    session = (await server.post("/register", {"username": "alice"})).json["session"]
    page = await fallback(server, "m.login.recaptcha", session)
    assert b'data-sitekey="K&quot;&gt;&lt;script&gt;"' in page.body
    assert "https://www.google.com/recaptcha/" in page.headers["content-security-policy"]
    assert (await fallback(server, "m.login.recaptcha", session, {"g-recaptcha-response": "no"})).status == 400
    assert (await fallback(server, "m.login.recaptcha", session, {"g-recaptcha-response": "solved"})).status == 200
    answer = await server.post("/register", {"username": "alice", "auth": {"session": session}})
    assert answer.status == 200


@pytest.mark.parametrize("stage", ["m.login.recaptcha", "m.login.terms", "m.login.registration_token"])
@pytest.mark.parametrize(
    "attack", ['"><script>alert(1)</script>', "'onmouseover=alert(1) x='", "</form><img src=x onerror=alert(1)>"]
)
async def test_F08_pages_escape_what_they_are_given_and_cannot_be_framed(
    server: UserServer, stage: str, attack: str
) -> None:
    for page in (
        await fallback(server, stage, attack),
        await fallback(server, stage, attack, {"session": attack, "token": attack}),
    ):
        text = page.body.decode()
        assert attack not in text
        assert html.escape(attack) in text
        assert "<img" not in text
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'nonce-")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["content-type"] == "text/html; charset=utf-8"


async def test_F08_policy_with_a_script_address_is_not_linked() -> None:
    terms = {"evil": {"version": "1", "en": {"name": "click", "url": "javascript:alert(1)"}}}
    server = open_user_server(chosen=settings(RegistrationSettings(is_open=True, policies=terms)))
    assert b"javascript" not in (await fallback(server, "m.login.terms", "x")).body


async def test_page_of_an_unknown_stage_is_not_found(server: UserServer) -> None:
    assert (await fallback(server, "m.login.password", "x")).status == 404
    assert (await fallback(server, "<script>", "x")).status == 404
