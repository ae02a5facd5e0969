"""G12: whoever is not in a room gets the same answer whether it exists or not, word for word, from every endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.http.routing import Router
from tests.support.server import SERVER_NAME, V1, V3, Server, open_server

MISSING = f"!missing:{SERVER_NAME}"
THREAD = "/_matrix/client/unstable/io.element.msc4306/rooms/{room}/thread/{event}/subscription"

ASKED: list[tuple[str, str, Any]] = [
    ("POST", "/join/{room}", {}),
    ("POST", "/rooms/{room}/join", {}),
    ("POST", "/knock/{room}", {}),
    ("POST", "/rooms/{room}/invite", {"user_id": f"@carol:{SERVER_NAME}"}),
    ("POST", "/rooms/{room}/leave", {}),
    ("POST", "/rooms/{room}/forget", {}),
    ("POST", "/rooms/{room}/kick", {"user_id": f"@alice:{SERVER_NAME}"}),
    ("POST", "/rooms/{room}/ban", {"user_id": f"@alice:{SERVER_NAME}"}),
    ("POST", "/rooms/{room}/unban", {"user_id": f"@alice:{SERVER_NAME}"}),
    ("PUT", "/rooms/{room}/send/m.room.message/t1", {"msgtype": "m.text", "body": "x"}),
    ("PUT", "/rooms/{room}/send/m.room.redaction/t2", {"redacts": "{event}"}),
    ("PUT", "/rooms/{room}/redact/{event}/t3", {}),
    ("PUT", "/rooms/{room}/state/m.room.name", {"name": "x"}),
    ("PUT", "/rooms/{room}/state/m.room.create", {}),
    ("PUT", f"/rooms/{{room}}/state/m.room.member/@bob:{SERVER_NAME}", {"membership": "join"}),
    ("PUT", f"/rooms/{{room}}/state/m.room.member/@carol:{SERVER_NAME}", {"membership": "invite"}),
    ("PUT", "/rooms/{room}/state/m.room.canonical_alias", {"alias": f"#x:{SERVER_NAME}"}),
    ("GET", "/rooms/{room}/state/m.room.name", ...),
    ("GET", "/rooms/{room}/state", ...),
    ("GET", "/rooms/{room}/members", ...),
    ("GET", "/rooms/{room}/joined_members", ...),
    ("GET", "/rooms/{room}/event/{event}", ...),
    ("GET", "/rooms/{room}/messages?dir=b", ...),
    ("GET", "/rooms/{room}/context/{event}", ...),
    ("GET", V1 + "/rooms/{room}/timestamp_to_event?ts=0&dir=f", ...),
    ("GET", "/rooms/{room}/aliases", ...),
    ("PUT", f"/directory/room/%23free:{SERVER_NAME}", {"room_id": "{room}"}),
    ("POST", "/rooms/{room}/receipt/m.read/{event}", {}),
    ("POST", "/rooms/{room}/read_markers", {"m.fully_read": "{event}"}),
    ("PUT", f"/rooms/{{room}}/typing/@bob:{SERVER_NAME}", {"typing": True}),
    ("GET", V1 + "/rooms/{room}/relations/{event}", ...),
    ("GET", V1 + "/rooms/{room}/relations/{event}/m.thread", ...),
    ("GET", V1 + "/rooms/{room}/relations/{event}/m.thread/m.room.message", ...),
    ("GET", V1 + "/rooms/{room}/threads", ...),
    ("GET", V1 + "/rooms/{room}/hierarchy", ...),
    ("GET", V1 + "/room_summary/{room}", ...),
    ("GET", "/rooms/{room}/initialSync", ...),
    ("GET", "/events?room_id={room}&timeout=0", ...),
    ("POST", "/rooms/{room}/upgrade", {"new_version": "12"}),
    ("POST", "/rooms/{room}/report", {"reason": "x"}),
    ("POST", "/rooms/{room}/report/{event}", {"reason": "x"}),
    ("GET", f"/user/@bob:{SERVER_NAME}/rooms/{{room}}/tags", ...),
    ("GET", f"/user/@bob:{SERVER_NAME}/rooms/{{room}}/account_data/org.x", ...),
    ("PUT", "/directory/list/room/{room}", {"visibility": "public"}),
    ("PUT", "/rooms/{room}/send/m.room.message/t4?org.matrix.msc4140.delay=1", {"body": "x"}),
    ("PUT", "/rooms/{room}/state/m.room.name?org.matrix.msc4140.delay=1", {"name": "x"}),
    ("GET", THREAD, ...),
    ("PUT", THREAD, {}),
    ("PUT", THREAD, {"automatic": "{event}"}),
    ("DELETE", THREAD, ...),
]

ELSEWHERE = {
    "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/tags/{tag}",  # one's own notes on any room id
    "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/account_data/{type}",
    "/_matrix/client/v3/room_keys/keys/{room_id}",  # one's own backups
    "/_matrix/client/v3/room_keys/keys/{room_id}/{session_id}",
    "/_matrix/client/v3/directory/list/appservice/{network_id}/{room_id}",  # for application services
    "/_matrix/client/v3/directory/list/room/{room_id}",  # GET: 404 for unknown rooms is the specification's own word
}


@pytest.fixture
async def server() -> Server:
    return open_server()


def filled(what: Any, room_id: str, event_id: str) -> Any:
    """`what` with its placeholders replaced."""
    if isinstance(what, str):
        return what.replace("{room}", room_id).replace("{event}", event_id)
    if isinstance(what, dict):
        return {key: filled(value, room_id, event_id) for key, value in what.items()}
    return what


@pytest.mark.parametrize("invitable", ["invite", "private"])
@pytest.mark.parametrize(("method", "path", "body"), ASKED, ids=[f"{method} {path}" for method, path, _ in ASKED])
async def test_G12_a_room_that_exists_is_told_from_none_by_nobody(
    server: Server, method: str, path: str, body: Any, invitable: str
) -> None:
    alice, bob = await server.register(), await server.register("bob")
    await server.register("carol")
    room = await alice.create_room(
        preset="private_chat",
        initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": invitable}}],
    )
    event = await alice.say(room, "secret")
    there = await bob.request(method, filled(path, room, event), filled(body, room, event))
    nowhere = await bob.request(method, filled(path, MISSING, event), filled(body, MISSING, event))
    assert (there.status, there.json) == (nowhere.status, nowhere.json)


async def test_G12_every_endpoint_with_a_room_in_its_path_is_asked(server: Server) -> None:
    router = Router(server.homeserver.client_routes)
    asked: set[Any] = set()
    for method, path, _ in ASKED:
        full = filled(path, MISSING, "$event").split("?")[0]
        route = router.match(method, full if full.startswith("/_") else V3 + full).route
        asked.add(route.operation or (route.method, route.path))
    rooms = {
        route.operation or (route.method, route.path)
        for route in router.routes
        if "{room_id" in route.path and route.path not in ELSEWHERE
    }
    assert rooms - asked == set()
