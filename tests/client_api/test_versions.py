"""/versions, /capabilities, the well-known files, and OpenID tokens."""

from __future__ import annotations

from homeserver.client_api.versions import PublicFacts
from tests.support.user_server import IRC, SERVER_NAME, UserServer, open_user_server

FACTS = PublicFacts(
    public_base_url="https://matrix.example.org",
    unstable_features={"org.example.feature": True},
    default_room_version="11",
    room_versions=("11", "12"),
    capabilities={"org.example.own": {"enabled": True}},
    client_well_known={"org.example.own": {"x": 1}},
    support_contacts=({"matrix_id": "@admin:example.org", "role": "m.role.admin"},),
    support_page="https://example.org/support",
)


async def test_versions_are_those_of_the_specification(server: UserServer) -> None:
    versions = (await server.get("/_matrix/client/versions")).json
    assert versions["versions"][0] == "r0.6.1"
    assert versions["versions"][1:] == [f"v1.{minor}" for minor in range(1, 20)]
    assert versions["unstable_features"]["org.matrix.msc3814"] is True
    assert versions["unstable_features"]["org.matrix.e2e_cross_signing"] is True, "Element makes keys only where it is"
    server = open_user_server(facts=FACTS)
    features = (await server.get("/_matrix/client/versions")).json["unstable_features"]
    assert (features["org.matrix.msc3814"], features["org.example.feature"]) == (True, True)
    alice = await server.register("alice")
    assert (await server.get("/_matrix/client/versions", token=alice.token)).status == 200


async def test_capabilities_say_what_the_user_can_do() -> None:
    server = open_user_server(facts=FACTS, appservices=[IRC])
    alice, admin = await server.register("alice"), await server.register("admin", admin=True)
    capabilities = (await server.get("/capabilities", token=alice.token)).json["capabilities"]
    assert capabilities["m.room_versions"] == {"default": "11", "available": {"11": "stable", "12": "stable"}}
    assert capabilities["m.change_password"] == {"enabled": True}
    assert capabilities["m.3pid_changes"] == {"enabled": False}
    assert capabilities["m.profile_fields"] == {"enabled": True}
    assert capabilities["org.example.own"] == {"enabled": True}
    assert "m.account_moderation" not in capabilities
    capabilities = (await server.get("/capabilities", token=admin.token)).json["capabilities"]
    assert capabilities["m.account_moderation"] == {"suspend": True, "lock": True}
    capabilities = (await server.get("/capabilities", token=IRC.as_token)).json["capabilities"]
    assert capabilities["m.change_password"] == {"enabled": False}
    assert (await server.get("/capabilities")).json["errcode"] == "M_MISSING_TOKEN"


async def test_well_known_files_are_served_where_there_is_something_to_say() -> None:
    server = open_user_server(facts=FACTS)
    assert (await server.get("/.well-known/matrix/client")).json == {
        "m.homeserver": {"base_url": "https://matrix.example.org"},
        "org.example.own": {"x": 1},
    }
    assert (await server.get("/.well-known/matrix/support")).json == {
        "contacts": [{"matrix_id": "@admin:example.org", "role": "m.role.admin"}],
        "support_page": "https://example.org/support",
    }
    silent = open_user_server(facts=PublicFacts())
    for name in ("client", "support"):
        answer = await silent.get(f"/.well-known/matrix/{name}")
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_other_servers_are_told_where_this_one_is() -> None:
    server = open_user_server(facts=PublicFacts(federation_address="matrix.example.org:443"))
    answer = await server.get("/.well-known/matrix/server")
    assert (answer.status, answer.json) == (200, {"m.server": "matrix.example.org:443"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["content-type"] == "application/json"
    silent = open_user_server(facts=PublicFacts())
    answer = await silent.get("/.well-known/matrix/server")
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_openid_token_shows_who_one_is_for_an_hour(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    path = f"/user/{alice.user_id}/openid/request_token"
    answer = (await server.post(path, {}, token=alice.token)).json
    assert answer["token_type"] == "Bearer"
    assert answer["matrix_server_name"] == SERVER_NAME
    assert answer["expires_in"] == 3600
    token = answer["access_token"]
    openid = server.services.openid
    assert await openid.find_user(token) == alice.user_id
    assert (await server.get("/account/whoami", token=token)).status == 401
    assert await openid.find_user(alice.token) is None
    foreign = await server.post(path, {}, token=bob.token)
    assert (foreign.status, foreign.json["errcode"]) == (403, "M_FORBIDDEN")
    await server.clock.advance(3600)
    assert await openid.find_user(token) is None
