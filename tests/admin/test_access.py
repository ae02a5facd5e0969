"""Who may operate the server, and what is written down of it."""

from __future__ import annotations

import logging

import pytest

from homeserver.admin.access import LIFETIME_MS, OperatorTokens
from homeserver.admin.services import AdminSettings
from homeserver.http.application import HttpApplication
from homeserver.http.routing import Auth, Route, Router
from tests.appservice_api.appservices import open_with_appservices, registration
from tests.support.http import MemoryClient
from tests.support.server import SERVER_NAME, Server, User, open_server, server_settings, signing_key

HEADER_ROUTES = ("GET /_synapse/admin/v1/register", "POST /_synapse/admin/v1/register")


def guarded(server: Server) -> list[Route]:
    return [row for row in server.homeserver.admin_routes if f"{row.method} {row.path}" not in HEADER_ROUTES]


def path_of(route: Route) -> str:
    """The route's path with something in every place."""
    path = route.path
    for name, value in (("user_id", f"@x:{SERVER_NAME}"), ("room_id", f"!x:{SERVER_NAME}"), ("event_id", "$x")):
        path = path.replace("{" + name + "}", value)
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


async def test_F17_every_route_of_operators_is_for_administrators_alone(server: Server, admin: User) -> None:
    user = await server.register("alice")
    guest = (await server.request("POST", "/register", {}, kind="guest")).json["access_token"]
    assert len(guarded(server)) > 70
    for route in guarded(server):
        assert route.auth is Auth.ADMIN, route.path
        for token, expected in (
            (None, (401, "M_MISSING_TOKEN")),
            ("hd_wrong", (401, "M_UNKNOWN_TOKEN")),
            ("hda_1.x.y", (401, "M_UNKNOWN_TOKEN")),
            (user.token, (403, "M_FORBIDDEN")),
            (guest, (403, "M_FORBIDDEN")),
        ):
            answer = await server.request(route.method, path_of(route), {}, token=token)
            assert (answer.status, answer.json["errcode"]) == expected, f"{route.method} {route.path}"


async def test_F17_no_route_of_operators_breaks_on_names_of_nothing(server: Server, admin: User) -> None:
    for route in guarded(server):
        answer = await server.client.request(route.method, path_of(route), json={}, token=admin.token)
        assert answer.status < 500, f"{route.method} {route.path}: {answer.body!r}"
        assert answer.status != 403, f"{route.method} {route.path}: {answer.body!r}"


async def test_F17_an_administrator_who_is_demoted_is_none_at_once(server: Server, admin: User) -> None:
    other = await server.register("other", admin=True)
    assert (await other.request("GET", "/_synapse/admin/v2/users")).status == 200
    await admin.put(f"/_synapse/admin/v1/users/{other.user_id}/admin", {"admin": False})
    assert (await other.request("GET", "/_synapse/admin/v2/users")).status == 403


async def test_F17_only_the_configured_networks_reach_the_operators_api() -> None:
    settings = server_settings(admin=AdminSettings(networks=("10.0.0.0/8", "fd00::/8")))
    server = open_server(settings=settings)
    try:
        admin = await server.register("admin", admin=True)
        for address, status in (
            ("10.1.2.3", 200),
            ("fd00::1", 200),
            ("::ffff:10.1.2.3", 200),
            ("192.0.2.1", 403),
            ("nonsense", 403),
        ):
            server.client.address = address
            assert (await admin.request("GET", "/_synapse/admin/v2/users")).status == status, address
    finally:
        await server.close()


async def test_a_command_of_the_same_configuration_is_let_in_for_two_minutes(server: Server) -> None:
    tokens = OperatorTokens(signing_key().encode(), SERVER_NAME, server.clock)
    path = "/_synapse/admin/v2/users"
    token = tokens.make("GET", path)
    assert (await server.request("GET", path, token=token)).status == 200
    assert (await server.request("GET", "/_synapse/admin/v3/users", token=token)).status == 401
    block = f"/_synapse/admin/v1/rooms/!x:{SERVER_NAME}/block"
    narrow = tokens.make("PUT", block, b'{"block":false}')
    assert (await server.request("PUT", block, {"block": True}, token=narrow)).status == 401
    assert (await server.request("PUT", block, {"block": False}, token=narrow)).status == 200
    assert (await server.request("GET", "/account/whoami", token=token)).status == 401
    foreign = OperatorTokens(b"x" * 32, SERVER_NAME, server.clock).make("GET", path)
    later = token.replace("hda_1", "hda_2", 1)
    for wrong in (foreign, later, token[:-1], "hda_", "hda_..", "hda_é.x.y"):
        assert (await server.request("GET", "/_synapse/admin/v2/users", token=wrong)).status in (400, 401), wrong
    await server.clock.advance(LIFETIME_MS / 1000)
    assert (await server.request("GET", "/_synapse/admin/v2/users", token=token)).status == 401


async def test_every_change_is_written_down_and_no_secret_with_it(
    server: Server, admin: User, caplog: pytest.LogCaptureFixture
) -> None:
    alice = await server.register("alice")
    with caplog.at_level(logging.INFO, "homeserver.admin.audit"):
        await admin.post(f"/_synapse/admin/v1/reset_password/{alice.user_id}", {"new_password": "a secret phrase"})
        await admin.post("/_synapse/admin/v1/registration_tokens/new", {"token": "letmein"})
        await admin.request("DELETE", "/_synapse/admin/v1/registration_tokens/letmein")
        await admin.request("PUT", f"/_synapse/admin/v1/users/{admin.user_id}/admin", {"admin": False})
        await admin.get("/_synapse/admin/v2/users")
    lines = [record.getMessage() for record in caplog.records if record.name == "homeserver.admin.audit"]
    assert len(lines) == 4
    assert lines[0].startswith(f"{admin.user_id}: POST /_synapse/admin/v1/reset_password/{{user_id}}")
    assert f"user_id='{alice.user_id}'" in lines[0]
    assert lines[0].endswith(": done")
    assert lines[3].endswith(": M_INVALID_PARAM")
    assert not any("secret phrase" in line or "letmein" in line for line in lines)


async def test_F17_an_application_service_operates_nothing_whoever_it_acts_as() -> None:
    appservice = registration()
    server, _ = await open_with_appservices(appservice)
    admin = await server.register("admin", admin=True)
    rows = HttpApplication(Router(server.homeserver.admin_routes), server.homeserver.authenticator, clock=server.clock)
    client = MemoryClient(rows)
    for route in guarded(server):
        for query in ({}, {"user_id": appservice.sender}, {"user_id": admin.user_id}):
            answer = await client.request(
                route.method, path_of(route), json={}, token=appservice.as_token, query=query or None
            )
            assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN"), route.path
    await server.close()
