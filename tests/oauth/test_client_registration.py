"""Dynamic client registration, and the metadata by which clients find everything."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.protocol.identifiers import parse_user_id
from tests.oauth.apps import BASE, METADATA, open_oauth_server, post_form, register_app
from tests.support.http import Answer
from tests.support.server import Server, open_server


@pytest.fixture
def server() -> Server:
    return open_oauth_server()


async def register(server: Server, **changes: Any) -> Answer:
    body = {name: value for name, value in {**METADATA, **changes}.items() if value is not None}
    return await server.client.request("POST", "/_halfdoor/oauth2/register", json=body)


async def test_the_metadata_names_every_endpoint(server: Server) -> None:
    client = "/_matrix/client"
    for path in (
        f"{client}/v1/auth_metadata",
        f"{client}/unstable/org.matrix.msc2965/auth_metadata",
        "/.well-known/oauth-authorization-server",
    ):
        answer = await server.request("GET", path)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json["issuer"] == f"{BASE}/"
        assert answer.json["prompt_values_supported"] == ["create"]
        assert "org.matrix.cross_signing_reset" in answer.json["account_management_actions_supported"]
        paths = {route.path for route in server.homeserver.client_routes}
        endpoints = [value for name, value in answer.json.items() if name.endswith(("_endpoint", "_uri"))]
        assert len(endpoints) == 6
        assert {endpoint.removeprefix(BASE) for endpoint in endpoints} <= paths


async def test_without_the_api_there_is_no_metadata_and_no_endpoint() -> None:
    server = open_server()
    answer = await server.request("GET", "/_matrix/client/v1/auth_metadata")
    assert (answer.status, answer.json["errcode"]) == (404, "M_UNRECOGNIZED")
    assert (await register(server)).status == 404
    authorize = await server.client.request("GET", "/_halfdoor/account/authorize?client_id=x")
    assert authorize.status == 404


async def test_endpoints_of_clients_allow_other_origins(server: Server) -> None:
    preflight = await server.client.request("OPTIONS", "/_halfdoor/oauth2/token")
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "*")
    answer = await post_form(server, "/_halfdoor/oauth2/token", {})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json["error"] == "unsupported_grant_type"


async def test_the_same_metadata_is_the_same_client(server: Server) -> None:
    first, second = await register(server), await register(server)
    assert first.json["client_id"] == second.json["client_id"]
    assert first.json["client_name#zh"] == "示例应用"
    other = await register(server, client_name="Another")
    assert other.json["client_id"] != first.json["client_id"]


async def test_what_the_server_does_not_know_is_left_out(server: Server) -> None:
    answer = await register(
        server,
        grant_types=["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"],
        response_types=["code", "id_token"],
        software_id="x",
        **{"client_name#fr": "Exemple"},
    )
    assert answer.status == 201
    assert answer.json["grant_types"] == ["authorization_code", "refresh_token"]
    assert answer.json["response_types"] == ["code"]
    assert "software_id" not in answer.json
    assert "client_name#fr" not in answer.json


@pytest.mark.parametrize(
    "changes",
    [
        {"client_uri": None},
        {"client_uri": "http://app.example.com/"},
        {"client_uri": "https://user:pass@app.example.com/"},
        {"client_uri": "https://192.0.2.1/"},
        {"client_uri": "javascript:alert(1)"},
        {"client_uri": "https://com/", "redirect_uris": ["https://com/callback"], "logo_uri": None},
        {"redirect_uris": [f"https://app.example.com/{number}{'x' * 900}" for number in range(10)]},
        {"client_uri": 5},
        {"logo_uri": "https://elsewhere.example/logo.png"},
        {"logo_uri": "http://app.example.com/logo.png"},
        {"tos_uri": "https://evilapp.example.com.evil.example/"},
        {"policy_uri": "javascript:alert(1)"},
        {"client_name": ""},
        {"client_name": "x" * 200},
        {"client_name": "two\nlines"},
        {"client_name": ["list"]},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"application_type": "desktop"},
        {"response_types": ["token"]},
        {"grant_types": ["client_credentials"]},
        {"grant_types": "authorization_code"},
    ],
)
async def test_F12_metadata_that_breaks_a_rule_is_refused(server: Server, changes: dict[str, Any]) -> None:
    answer = await register(server, **changes)
    assert (answer.status, answer.json["error"]) == (400, "invalid_client_metadata")


WEB_WRONG = [
    "https://app.example.com/callback#fragment",
    "http://app.example.com/callback",
    "http://localhost/",
    "https://example.com/callback",
    "https://evilapp.example.com/",
    "https://app.example.com.evil.example/",
    "https://app.example.com@evil.example/",
    "https://app.example.com\\@evil.example/",
    "https://user@app.example.com/",
    "//app.example.com/callback",
    "com.example.app:/callback",
    "https://app.example.com:port/",
    "https://app.example.com/ space",
    "https://app.example.com/\u00e9",
    "",
]
NATIVE_WRONG = [
    "example:/callback",
    "com.example.app://callback",
    "com.example.app.evil://host/",
    "com.exampleapp:/callback",
    "com.other.app:/callback",
    "https://localhost/callback",
    "http://localhost:1234/callback",
    "http://127.0.0.2/callback",
    "http://app.example.com/callback",
    "javascript:alert(1)",
    "data:text/html,x",
    "com.example.app:/callback#fragment",
]


@pytest.mark.parametrize("redirect", WEB_WRONG)
async def test_F12_redirect_uris_that_web_clients_may_not_have(server: Server, redirect: str) -> None:
    answer = await register(server, redirect_uris=[METADATA["redirect_uris"][0], redirect])
    assert (answer.status, answer.json["error"]) == (400, "invalid_redirect_uri")


@pytest.mark.parametrize("redirect", NATIVE_WRONG)
async def test_F12_redirect_uris_that_native_clients_may_not_have(server: Server, redirect: str) -> None:
    answer = await register(server, application_type="native", redirect_uris=[redirect])
    assert (answer.status, answer.json["error"]) == (400, "invalid_redirect_uri")


async def test_redirect_uris_that_the_specification_calls_valid(server: Server) -> None:
    web = ["https://example.com/callback", "https://app.example.com/callback", "https://example.com:5173/?query=value"]
    answer = await register(server, client_uri="https://example.com/", redirect_uris=web)
    assert answer.status == 201, answer.body
    native = [
        "com.example.app:/callback",
        "com.example:/",
        "com.example:callback",
        "http://localhost/callback",
        "http://127.0.0.1/callback",
        "http://[::1]/callback",
        "https://app.example.com/claimed",
    ]
    answer = await register(server, client_uri="https://example.com/", redirect_uris=native, application_type="native")
    assert answer.status == 201, answer.body
    assert answer.json["redirect_uris"] == native


async def test_a_client_of_the_device_grant_alone_needs_no_redirect_uri(server: Server) -> None:
    device = "urn:ietf:params:oauth:grant-type:device_code"
    answer = await register(server, redirect_uris=None, response_types=None, grant_types=[device, "refresh_token"])
    assert answer.status == 201, answer.body
    assert (await register(server, redirect_uris=None)).json["error"] == "invalid_redirect_uri"


@pytest.mark.parametrize("body", [b"[]", b"{", b"", b'"x"', b"null"])
async def test_a_body_that_is_no_object_is_refused_in_oauths_own_form(server: Server, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = await server.client.request("POST", "/_halfdoor/oauth2/register", body=body, headers=headers)
    assert (answer.status, answer.json["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("endpoint", ["token", "revoke", "device"])
async def test_a_body_that_is_no_form_is_refused_in_oauths_own_form(server: Server, endpoint: str) -> None:
    answer = await server.client.request("POST", f"/_halfdoor/oauth2/{endpoint}", json={"token": "x"})
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    twice = await server.client.request(
        "POST", f"/_halfdoor/oauth2/{endpoint}", body=b"token=a&token=b", headers=headers
    )
    assert (twice.status, twice.json["error"]) == (400, "invalid_request")


async def test_clients_that_nobody_uses_are_forgotten_and_others_never(server: Server) -> None:
    from tests.oauth.apps import log_in_reader
    from tests.support.server import PASSWORD

    await server.homeserver.users.accounts.create_account(parse_user_id("@alice:halfdoor.test"), password=PASSWORD)
    unused = await register_app(server, client_name="Unused")
    used = await register_app(server, client_name="Used")
    assert (await used.exchange(await used.code(await log_in_reader(server)))).status == 200
    await server.clock.advance(8 * 24 * 3600)
    await register_app(server, client_name="New")
    found = server.homeserver.oauth.clients.find_client
    assert await found(unused.client_id) is None
    assert await found(used.client_id) is not None
