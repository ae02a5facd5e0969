"""The operator's documents: recorded at registration, asked for when they are new, accepted on a page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from homeserver.protocol.identifiers import ServerName
from homeserver.storage.database import Database
from homeserver.users.consents import CONSENT_PATH, ConsentSettings
from homeserver.users.registration import RegistrationSettings
from tests.support.confirming import FORM
from tests.support.http import Answer
from tests.support.server import PASSWORD, SERVER_NAME, Server, User, open_server, server_settings
from tests.support.user_server import open_user_server, settings

BASE = "https://matrix.halfdoor.test"


def documents(version: str) -> dict[str, Any]:
    """A policy in two languages."""
    return {
        "privacy": {
            "version": version,
            "en": {"name": "Privacy <b>", "url": "https://halfdoor.test/privacy?a=1&b=2"},
            "zh": {"name": "隐私政策", "url": "https://halfdoor.test/zh/privacy"},
        }
    }


def open_consent_server(version: str = "1", db: Database | None = None) -> Server:
    policies = documents(version)
    made = server_settings()
    users = replace(
        made.users,
        registration=RegistrationSettings(is_open=True, allows_guests=True, policies=policies),
        consent=ConsentSettings(policies, is_enforced=True, base_url=BASE, secret=b"of the test"),
    )
    return open_server(db, replace(made, users=users))


@pytest.fixture
async def consent_server() -> AsyncIterator[Server]:
    server = open_consent_server()
    yield server
    await server.homeserver.close()


async def register(server: Server, name: str = "alice") -> User:
    """Somebody who accepts the documents."""
    session = (await server.request("POST", "/register", {"username": name, "password": PASSWORD})).json["session"]
    return await server.register(name, auth={"type": "m.login.terms", "session": session})


async def refused(user: User) -> str:
    """The page that a refusal names."""
    answer = await user.request("POST", "/createRoom", {})
    assert (answer.status, answer.json["errcode"]) == (403, "M_CONSENT_NOT_GIVEN")
    page: str = answer.json["consent_uri"]
    assert page.startswith(f"{BASE}{CONSENT_PATH}?")
    return page.removeprefix(BASE)


async def send_form(server: Server, page: Answer, **changes: str | None) -> Answer:
    """Tick the box and send the form."""
    fields = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', page.body.decode()))
    fields["accept"] = "on"
    sent = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    return await server.client.request("POST", CONSENT_PATH, body=urlencode(sent).encode(), headers=FORM)


async def test_who_accepted_at_registration_is_asked_again_when_a_document_is_new(database: Database) -> None:
    server = open_consent_server("1", database)
    alice = await register(server)
    room_id = await alice.create_room()
    await server.homeserver.close()
    later = open_consent_server("2", database)
    alice = replace(alice, server=later)
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/1", {"msgtype": "m.text", "body": "x"})
    assert answer.json["errcode"] == "M_CONSENT_NOT_GIVEN"
    page = await later.client.request("GET", await refused(alice))
    assert page.status == 200
    assert "Privacy &lt;b&gt; (2)" in page.body.decode()
    assert "https://halfdoor.test/privacy?a=1&amp;b=2" in page.body.decode()
    assert (await send_form(later, page)).status == 200
    await alice.say(room_id, "hello")
    await alice.sync()
    assert await database.fetch_all("SELECT user_id, policy, version FROM consents") == [
        (alice.user_id, "privacy", "2")
    ]
    await later.homeserver.close()


async def test_reading_and_leaving_are_free(consent_server: Server) -> None:
    alice = await register(consent_server)
    bob = await consent_server.register("bob", admin=True)  # made without registration
    room_id = await alice.create_room(preset="public_chat")
    await alice.invite(room_id, bob)
    assert (await bob.request("POST", f"/rooms/{room_id}/join")).json["errcode"] == "M_CONSENT_NOT_GIVEN"
    await bob.sync()
    await bob.post(f"/rooms/{room_id}/leave")


async def test_the_page_is_signed_for_one_user(consent_server: Server) -> None:
    bob = await consent_server.register("bob", admin=True)
    await consent_server.register("carol", admin=True)
    path = await refused(bob)
    query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
    for wrong in ({**query, "u": "carol"}, {**query, "h": "0" * 64}, {**query, "h": "ä"}, {"u": "bob"}):
        answer = await consent_server.client.request("GET", f"{CONSENT_PATH}?{urlencode(wrong)}")
        assert answer.status == 403
    page = await consent_server.client.request("GET", path)
    for changes, status in (
        ({"u": "carol"}, 403),
        ({"h": ""}, 403),
        ({"accept": None}, 400),
        ({"version.privacy": "0"}, 403),
        ({"version.privacy": None}, 403),
        ({"version.other": "1"}, 403),
    ):
        assert (await send_form(consent_server, page, **changes)).status == status
    await refused(bob)
    assert (await send_form(consent_server, page)).status == 200
    await bob.create_room()
    again = await consent_server.client.request("GET", path)
    assert "Thank you" in again.body.decode()


async def test_F08_the_page_cannot_be_framed_and_runs_nothing(consent_server: Server) -> None:
    bob = await consent_server.register("bob", admin=True)
    for path in (await refused(bob), CONSENT_PATH):
        page = await consent_server.client.request("GET", path, headers={"accept-language": "zh"})
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "script-src 'none'" in policy
        assert "<script" not in page.body.decode()
        assert "隐私政策 (1)" in page.body.decode()
        assert ("<form" in page.body.decode()) is (path != CONSENT_PATH)


async def test_notices_of_the_server_are_sent_all_the_same(consent_server: Server) -> None:
    admin = await consent_server.register("root", admin=True)
    alice = await register(consent_server)
    body = {"user_id": alice.user_id, "content": {"msgtype": "m.text", "body": "Read the new terms"}}
    answer = await admin.request("POST", "/_synapse/admin/v1/send_server_notice", body)
    assert answer.status == 200, answer.body


async def test_where_it_is_not_enforced_documents_are_recorded_only() -> None:
    policies = documents("1")
    server = open_user_server(
        chosen=settings(RegistrationSettings(is_open=True, policies=policies), consent=ConsentSettings(policies))
    )
    session = (await server.post("/register", {"username": "alice"})).json["session"]
    auth = {"type": "m.login.terms", "session": session}
    assert (await server.post("/register", {"username": "alice", "auth": auth})).status == 200
    assert await server.services.consents.has_accepted(f"@alice:{ServerName(SERVER_NAME)}")
    assert server.hooks.check_event == []


async def test_without_documents_there_is_no_page(whole_server: Server) -> None:
    assert (await whole_server.client.request("GET", CONSENT_PATH)).status == 404
