"""The device grant: a device shows a code, a person types it into a browser."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.protocol.identifiers import parse_user_id
from homeserver.storage.database import Database
from tests.oauth.apps import DEVICE_CODE, App, log_in_reader, open_oauth_server, register_app
from tests.support.http import Answer
from tests.support.pages import PageReader
from tests.support.server import PASSWORD, Server


async def open_with_alice(db: Database | None = None) -> tuple[Server, App]:
    server = open_oauth_server(db)
    await server.homeserver.users.accounts.create_account(parse_user_id("@alice:halfdoor.test"), password=PASSWORD)
    return server, await register_app(server)


async def start(app: App) -> dict[str, Any]:
    answer = await app.post("device", {"client_id": app.client_id, "scope": app.scope})
    assert answer.status == 200, answer.body
    started: dict[str, Any] = answer.json
    return started


async def poll(app: App, device_code: str, **changes: str) -> Answer:
    return await app.post(
        "token", {"grant_type": DEVICE_CODE, "device_code": device_code, "client_id": app.client_id, **changes}
    )


async def test_a_device_without_a_browser_gets_a_session(database: Database) -> None:
    server, app = await open_with_alice(database)
    started = await start(app)
    assert started["interval"] == 5
    assert started["expires_in"] == 1200
    assert started["verification_uri"].endswith("/_halfdoor/account/link")
    assert (await poll(app, started["device_code"])).json["error"] == "authorization_pending"
    reader = PageReader(server.client)
    page = await reader.get(started["verification_uri"].partition("halfdoor.test")[2])
    page = await reader.submit(page, user="alice", password=PASSWORD)
    page = await reader.submit(page, user_code=started["user_code"].lower().replace("-", " "))
    assert "Example app" in page.text
    assert "APPDEVICE1" in page.text
    page = await reader.submit(page, answer="allow")
    assert "connected" in page.text
    await server.clock.advance(5)
    answer = await poll(app, started["device_code"])
    assert answer.status == 200, answer.body
    who = await server.request("GET", "/account/whoami", token=answer.json["access_token"])
    assert who.json["device_id"] == "APPDEVICE1"
    assert (await app.refresh(answer.json["refresh_token"])).status == 200
    assert (await poll(app, started["device_code"])).json["error"] == "invalid_grant"


async def test_the_complete_address_needs_no_typing_but_still_a_yes(server_and_app: tuple[Server, App]) -> None:
    server, app = server_and_app
    started = await start(app)
    reader = await log_in_reader(server)
    page = await reader.get(started["verification_uri_complete"].partition("halfdoor.test")[2])
    assert started["user_code"] in page.text
    assert (await poll(app, started["device_code"])).json["error"] == "authorization_pending"
    assert "not let in" in (await reader.submit(page, answer="deny")).text
    await server.clock.advance(5)
    assert (await poll(app, started["device_code"])).json["error"] == "access_denied"


async def test_a_client_that_polls_too_often_is_slowed_down(server_and_app: tuple[Server, App]) -> None:
    server, app = server_and_app
    started = await start(app)
    assert (await poll(app, started["device_code"])).json["error"] == "authorization_pending"
    await server.clock.advance(1)
    assert (await poll(app, started["device_code"])).json["error"] == "slow_down"
    await server.clock.advance(6)
    assert (await poll(app, started["device_code"])).json["error"] == "slow_down"
    await server.clock.advance(15)
    assert (await poll(app, started["device_code"])).json["error"] == "authorization_pending"


async def test_a_device_code_expires(server_and_app: tuple[Server, App]) -> None:
    server, app = server_and_app
    started = await start(app)
    await server.clock.advance(1201)
    assert (await poll(app, started["device_code"])).json["error"] == "expired_token"
    reader = await log_in_reader(server)
    page = await reader.get(f"/_halfdoor/account/link?user_code={started['user_code']}")
    assert page.status == 404


async def test_F12_a_device_code_serves_its_own_client_only(server_and_app: tuple[Server, App]) -> None:
    server, app = server_and_app
    other = await register_app(server, client_name="Other app")
    started = await start(app)
    answer = await poll(other, started["device_code"])
    assert (answer.status, answer.json["error"]) == (400, "unauthorized_client")
    assert (await poll(app, "unknown")).json["error"] == "invalid_grant"
    assert (await poll(app, "")).json["error"] == "invalid_request"


async def test_F07_user_codes_cannot_be_tried_without_end(server_and_app: tuple[Server, App]) -> None:
    server, app = server_and_app
    started = await start(app)
    reader = await log_in_reader(server)
    statuses = []
    for _ in range(8):
        page = await reader.get("/_halfdoor/account/link?user_code=BBBB-BBBB")
        statuses.append(page.status)
    assert statuses[0] == 404
    assert statuses[-1] == 429
    page = await reader.get(f"/_halfdoor/account/link?user_code={started['user_code']}")
    assert page.status == 429


async def test_F14_a_yes_from_another_site_is_none(server_and_app: tuple[Server, App]) -> None:
    server, app = server_and_app
    started = await start(app)
    reader = await log_in_reader(server)
    forged = {"user_code": started["user_code"], "answer": "allow", "csrf": "0" * 64}
    assert (await reader.post("/_halfdoor/account/link", forged)).status == 403
    await server.clock.advance(5)
    assert (await poll(app, started["device_code"])).json["error"] == "authorization_pending"


@pytest.fixture
async def server_and_app() -> tuple[Server, App]:
    return await open_with_alice()
