"""D12: whoever floods others with invitations, joins, reports, names or codes is told to wait; nobody else is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from homeserver.http.application import HttpApplication
from homeserver.http.rate_limits import DEFAULT_LIMITS, RouteLimiter
from homeserver.http.routing import RateClass, Router
from tests.support.http import MemoryClient
from tests.support.server import SERVER_NAME, Server, User, open_server

Flood = tuple[RateClass, str, str, Callable[[int], Any]]
FLOODS: list[Flood] = [
    (RateClass.INVITE, "POST", "/rooms/{room}/invite", lambda n: {"user_id": f"@victim{n}:{SERVER_NAME}"}),
    (RateClass.JOIN, "POST", "/join/!room{n}:elsewhere.test", lambda n: {}),
    (RateClass.JOIN, "POST", "/knock/!room{n}:elsewhere.test", lambda n: {}),
    (RateClass.CREATE_ROOM, "POST", "/createRoom", lambda n: {}),
    (RateClass.REPORT, "POST", "/rooms/{room}/report", lambda n: {"reason": "spam"}),
    (RateClass.REPORT, "POST", f"/users/@victim1:{SERVER_NAME}/report", lambda n: {"reason": "spam"}),
    (RateClass.MESSAGE, "PUT", f"/directory/room/%23name{{n}}:{SERVER_NAME}", lambda n: {"room_id": "{room}"}),
    (RateClass.LOGIN, "POST", "/account/password/email/requestToken", lambda n: {}),
    (RateClass.LOGIN, "POST", "/register/msisdn/requestToken", lambda n: {}),
]


@pytest.fixture
async def limited() -> AsyncIterator[Server]:
    """A server with the limits that are the default."""
    server = open_server()
    rows = [*server.homeserver.client_routes, *server.homeserver.admin_routes]
    limiter = RouteLimiter(server.clock)
    server.client = MemoryClient(
        HttpApplication(Router(rows), server.homeserver.authenticator, limiter, clock=server.clock)
    )
    yield server
    await server.close()


async def flood(user: User, room: str, case: Flood) -> tuple[int, Any]:
    """How many requests got through, and the answer that refused the next one."""
    _, method, path, body_of = case
    for number in range(1, 300):
        body = body_of(number)
        if "room_id" in body:
            body["room_id"] = room
        answer = await user.request(method, path.replace("{room}", room).replace("{n}", str(number)), body)
        if answer.status == 429:
            return number - 1, answer
    raise AssertionError(f"nothing stops {method} {path}")


@pytest.mark.parametrize("case", FLOODS, ids=[f"{case[1]} {case[2].partition('?')[0]}" for case in FLOODS])
async def test_D12_floods_are_stopped_and_others_are_not(limited: Server, case: Flood) -> None:
    spammer, other = await limited.register("spammer"), await limited.register("other")
    room = await spammer.create_room()
    passed, refusal = await flood(spammer, room, case)
    limits = DEFAULT_LIMITS[case[0]]
    burst = min(one.burst for one in (limits.account, limits.address, limits.room) if one is not None)
    assert passed <= burst
    assert refusal.json["errcode"] == "M_LIMIT_EXCEEDED"
    assert int(refusal.headers["retry-after"]) >= 1
    if limits.account is not None:
        own = await other.create_room()
        answer = await other.request(case[1], case[2].replace("{room}", own).replace("{n}", "1"), case[3](1))
        assert answer.status != 429, "somebody else has to wait as well"


async def test_D12_invitations_of_ignored_people_are_not_shown(whole_server: Server) -> None:
    bob, spammer = await whole_server.register("bob"), await whole_server.register("spammer")
    ignored: dict[str, object] = {"ignored_users": {spammer.user_id: {}}}
    await bob.put(f"/user/{bob.user_id}/account_data/m.ignored_user_list", ignored)
    before = await bob.sync()
    await spammer.create_room(invite=[bob.user_id])
    assert "invite" not in before.get("rooms", {})
    assert "invite" not in (await bob.sync()).get("rooms", {})
    bob.since = None
    assert "invite" not in (await bob.sync()).get("rooms", {})
