"""What strangers name is asked for within bounds, and what is no server's name is not asked for at all (C05, C06)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.federation.lies import Scene
from tests.support.clock import settle as let_run
from tests.support.federation import Network, settle
from tests.support.server import V1

MIB = 1024 * 1024
BOUNDS = {
    "/.well-known/matrix/server": 50 * 1024,
    "/_matrix/key/v2/server": 32 * 1024,
    "/query/profile": 128 * 1024,
    "/hierarchy/": 4 * MIB,
    "/media/download/": 60 * MIB,
    "/state": 200 * MIB,
    "/event_auth/": 200 * MIB,
}
"""How much of an answer is read at most, by the part of its address that is first in this list; else 10 MiB."""
NO_NAMES = ["liar.test/x", "liar.test:1:2", "a@b", "liar.test?x", "liar.test#", " ", "[::1", "x:y", "%2e"]


def ways_to(name: str) -> list[tuple[str, str, Any]]:
    """A request of a client for each way on which it makes us ask a server that it names."""
    user, alias, raw = quote(f"@m:{name}", safe=""), quote(f"#x:{name}", safe=""), quote(name, safe="")
    return [
        ("POST", f"/_matrix/client/v3/join/!x:nobody.test?via={raw}", {}),
        ("POST", f"/_matrix/client/v3/join/{alias}", {}),
        ("POST", f"/_matrix/client/v3/knock/!x:nobody.test?via={raw}", {}),
        ("GET", f"/_matrix/client/v3/directory/room/{alias}", ...),
        ("GET", f"/_matrix/client/v3/profile/{user}", ...),
        ("POST", f"/_matrix/client/v3/publicRooms?server={raw}", {}),
        ("POST", "/_matrix/client/v3/keys/query", {"device_keys": {f"@m:{name}": []}}),
        ("POST", "/_matrix/client/v3/keys/claim", {"one_time_keys": {f"@m:{name}": {"X": "signed_curve25519"}}}),
        ("GET", f"{V1}/rooms/!x:nobody.test/hierarchy?via={raw}", ...),
        ("GET", f"{V1}/room_summary/!x:nobody.test?via={raw}", ...),
        ("GET", f"{V1}/media/download/{raw}/x", ...),
        ("GET", f"{V1}/media/thumbnail/{raw}/x?width=1&height=1", ...),
    ]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_C05_what_is_no_servers_name_is_asked_for_on_no_way(network: Network, scene: Scene, name: str) -> None:
    for method, path, body in ways_to(name):
        network.requests.clear()
        answer = await scene.one.client.request(method, path, json=body, token=scene.alice.token)
        assert answer.status < 500 or answer.status == 502, (path, answer.body)
        asked = [request.url for _, request in network.requests if "//nobody.test" not in request.url]
        assert not asked, (path, asked)


async def test_C05_C06_every_request_for_strangers_has_bounds_and_goes_past_the_guard(
    network: Network, scene: Scene
) -> None:
    liar = scene.liar
    liar.answers["/media/download/"] = (200, b"x")
    for method, path, body in ways_to("liar.test"):
        await scene.one.client.request(method, path, json=body, token=scene.alice.token)
    await liar.send(scene.one, liar.event(scene.room, prev=[liar.event(scene.room)]))  # a gap
    await scene.alice.get(f"/rooms/{scene.room_id}/messages", dir="b")
    await scene.alice.say(scene.room_id, "hello")
    await settle(scene.one)
    await let_run(50)
    assert len({request.url for _, request in network.requests}) > 15
    for origin, request in network.requests:
        if origin != "one.test":
            continue
        most = next((bound for part, bound in BOUNDS.items() if part in request.url), 10 * MIB)
        assert request.max_bytes <= most, request.url
        assert 0 < request.timeout <= 120, request.url
        assert not request.trusted, request.url  # so that the guard looks at where it leads
        assert request.url.startswith("https://liar.test") or "nobody.test" in request.url
