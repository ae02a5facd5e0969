"""Every route × {no token, wrong token, guest, user, other user, admin, application service} (rows F10, F17, F18).

What is expected comes from the specification (the `security` of each operation, the list of "Guest Access") and, for
paths that it does not have, from `UNSPECIFIED` below; never from the rows of the table. A row that nothing is known of
fails the test.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.composition import build
from homeserver.http.application import HttpApplication
from homeserver.http.routing import Route, Router
from homeserver.media.services import MediaSettings
from homeserver.oauth.services import OAuthSettings
from tests.appservice_api.appservices import FakeCalls, registration
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory
from tests.support.http import Answer, MemoryClient
from tests.support.openapi import requests_of_the_specification
from tests.support.outbound import FakeOutbound
from tests.support.server import SERVER_NAME, Server, User, in_place, server_settings

ANYBODY, PERSON, GUEST_TOO, ADMIN, SERVICE, EITHER = "anybody", "person", "guest too", "admin", "service", "either"

GUESTS = {
    # "Guest Access", "Client behaviour".
    *("getRoomState", "getEventContext", "getOneRoomEvent", "getRoomStateWithKey", "getRoomEvents", "getMembersByRoom"),
    *("roomInitialSync", "sync", "getEvents", "getContentAuthed", "getContentOverrideNameAuthed"),
    *("getContentThumbnailAuthed", "joinRoomById", "leaveRoom", "sendMessage", "setRoomStateWithKey", "sendToDevice"),
    *("setProfileField", "deleteProfileField", "getDevices", "getDevice", "updateDevice", "getTokenOwner"),
    *("uploadKeys", "queryKeys", "claimKeys"),
    # Not in the list, but without them a guest can hardly use what is: the same by alias, filters of /sync, what one
    # has read and writes, the files' limits; and what anybody may ask without being anybody.
    *("joinRoom", "getJoinedRooms", "defineFilter", "getFilter", "postReceipt", "setReadMarker", "setTyping"),
    *("getConfigAuthed", "getConfig", "queryPublicRooms", "getSpaceHierarchy", "initialSync", "getOneEvent"),
    *("getTurnServer", "logout", "logout_all", "getVersions"),
}
ADMINS = {"getAdminLockUser", "setAdminLockUser", "getAdminSuspendUser", "setAdminSuspendUser"}
OPTIONAL = {"getVersions", "getRoomSummary"}
"""The specification writes "Requires authentication: optional" in ways that the data do not show as such."""
OF_ONESELF = {
    *(
        "setAccountData",
        "getAccountData",
        "setAccountDataPerRoom",
        "getAccountDataPerRoom",
        "getRoomTags",
        "setRoomTag",
    ),
    *(
        "deleteRoomTag",
        "defineFilter",
        "getFilter",
        "requestOpenIdToken",
        "setTyping",
        "setPresence",
        "setProfileField",
    ),
    *("deleteProfileField", "getWhoIs"),
}
"""Whose path names a user who must be oneself."""

UNSPECIFIED = (
    ("/_synapse/admin/v1/register$", ANYBODY),  # proves with the shared secret
    ("/_synapse/(admin|mas)/", ADMIN),
    ("/_halfdoor/admin/", ADMIN),
    ("/_halfdoor/(account|push|mail|threepid|registration|validity)", ANYBODY),  # pages: cookies and links
    ("/_halfdoor/oauth2/", ANYBODY),  # codes and refresh tokens are the proof
    ("/_halfdoor/sync", PERSON),
    ("/_matrix/push/v1/notify$", ANYBODY),  # homeservers have no tokens
    ("/_matrix/client/(v3|r0)/auth/{auth_type}/fallback/web$", ANYBODY),
    ("/_matrix/client/unstable/email/submit_token$", ANYBODY),
    ("/_matrix/client/.*/login/sso/redirect", ANYBODY),
    ("/_matrix/static/client/login/$", ANYBODY),
    ("/_matrix/client/unstable/org.matrix.msc4140/delayed_events$", GUEST_TOO),
    ("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/", EITHER),  # the id is the proof
    ("/_matrix/client/unstable/org.matrix.msc4143/rtc/transports$", GUEST_TOO),
    ("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync$", GUEST_TOO),
    ("/_matrix/client/unstable/org.matrix.msc4108/rendezvous", EITHER),  # two devices of which one is not logged in
    ("/_matrix/client/unstable/io.element.msc4388/rendezvous", EITHER),
    ("/_matrix/client/unstable/org.matrix.msc(2965|4191)/auth_(issuer|metadata)$", ANYBODY),
    ("/_matrix/client/(v1|unstable)/", PERSON),
    ("/.well-known/", ANYBODY),
)
BODY = {"displayname": "x", "presence": "online", "typing": False}
"""What those need who look at the body before they say no."""
LAST = ("logout", "logout_all", "deactivateAccount", "changePassword", "deleteDevice", "deleteDevices")


@dataclass
class Place:
    """A server, and what the paths speak of."""

    server: Server
    routes: list[Route]
    values: dict[str, str]
    users: dict[str, User]

    async def ask(self, route: Route, token: str | None, **changes: str) -> Answer:
        values = {**self.values, **changes}
        path = re.sub(r"{(\w+)\??}", lambda found: quote(values.get(found[1], "1"), safe=""), route.path)
        query = {"user_id": changes["acts_as"]} if "acts_as" in changes else None
        return await self.server.client.request(route.method, path, json=BODY, token=token, query=query)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    clock, irc = FakeClock(), registration("irc")
    homeserver = build(
        open_in_memory(),
        clock,
        server_settings(
            media=MediaSettings(folder=tmp_path),
            oauth=OAuthSettings(is_enabled=True, base_url=f"https://{SERVER_NAME}"),
        ),
        run_in_thread=in_place,
        outbound=FakeOutbound(),
        appservices=[irc],
        appservice_calls=FakeCalls(),
    )
    routes = [*homeserver.client_routes, *homeserver.admin_routes]
    application = HttpApplication(Router(routes), homeserver.authenticator, clock=clock)
    server = Server(homeserver, clock, MemoryClient(application))
    user, other = await server.register("user"), await server.register("other")
    admin = await server.register("admin", admin=True)
    made = (await server.request("POST", "/register?kind=guest", {})).json
    guest = User(server, made["user_id"], made["access_token"], made["device_id"])
    service = User(server, irc.sender, irc.as_token, "")
    room = await user.create_room(
        preset="public_chat", initial_state=[{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}]
    )
    values = {
        "user_id": user.user_id,
        "room_id": room,
        "room_id_or_alias": room,
        "event_id": await user.say(room, "hello"),
        "device_id": user.device_id,
        "room_alias": f"#nothing:{SERVER_NAME}",
        "server_name": SERVER_NAME,
        "event_type": "m.room.message",
        "state_key": "",
        "field": "displayname",
        "type": "org.example",
        "receipt_type": "m.read",
        "appservice_id": "irc",
    }
    known = {"user": user, "other": other, "admin": admin, "guest": guest, "service": service}
    yield Place(server, sorted(routes, key=lambda route: route.operation in LAST), values, known)
    await server.close()


def expected(route: Route) -> str:
    """Who may call a row, by the specification or by `UNSPECIFIED`; KeyError where neither knows it."""
    row = requests_of_the_specification().get(route.operation)
    if row is None:
        for pattern, who in UNSPECIFIED:
            if re.match(pattern, route.path):
                return who
        raise KeyError(f"{route.method} {route.path}: say in UNSPECIFIED who may call it")
    security = row["security"]
    if security == ["appserviceAccessTokenBearer"]:
        return SERVICE
    if "nothing" in security or route.operation in OPTIONAL:
        return EITHER
    if not security:
        return ANYBODY
    if route.operation in ADMINS:
        return ADMIN
    return GUEST_TOO if route.operation in GUESTS else PERSON


def errcode(answer: Answer) -> str:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return ""
    body: Any = answer.json
    return str(body.get("errcode", "")) if isinstance(body, dict) else ""


def shown(route: Route, answer: Answer) -> str:
    return f"{route.method} {route.path} ({route.operation}): {answer.status} {answer.body[:200]!r}"


def test_F18_somebody_has_said_of_every_route_who_may_call_it(place: Place) -> None:
    for route in place.routes:
        assert expected(route)
    specified = {name for name in requests_of_the_specification() if name != "$defs"}
    assert specified >= GUESTS - {""}
    assert specified >= ADMINS | OPTIONAL | OF_ONESELF


async def test_F18_without_a_token_only_what_is_for_anybody_answers(place: Place) -> None:
    for route in place.routes:
        answer = await place.ask(route, None)
        who = expected(route)
        if who in (ANYBODY, EITHER):
            if route.operation != "deactivateAccount":  # we want to know the session, which the specification allows
                assert errcode(answer) not in ("M_MISSING_TOKEN", "M_UNKNOWN_TOKEN"), shown(route, answer)
        else:
            assert (answer.status, errcode(answer)) == (401, "M_MISSING_TOKEN"), shown(route, answer)
        assert answer.status < 500 or answer.status in (502, 504), shown(route, answer)


async def test_F18_a_wrong_token_is_told_so(place: Place) -> None:
    for route in place.routes:
        answer = await place.ask(route, "a token that nobody has")
        who = expected(route)
        if who == ANYBODY:
            assert errcode(answer) != "M_MISSING_TOKEN", shown(route, answer)
            if route.operation != "getRoomVisibilityOnDirectory":
                continue
        elif who != EITHER or answer.status == 401:
            assert (answer.status, errcode(answer)) == (401, "M_UNKNOWN_TOKEN"), shown(route, answer)


async def test_F18_a_guest_reaches_what_the_specification_lists_and_nothing_else(place: Place) -> None:
    guest = place.users["guest"]
    for route in place.routes:
        answer = await place.ask(route, guest.token, user_id=guest.user_id, device_id=guest.device_id)
        who = expected(route)
        is_refused = (answer.status, errcode(answer)) == (403, "M_GUEST_ACCESS_FORBIDDEN")
        if who == PERSON:
            assert is_refused, shown(route, answer)
        elif who in (ADMIN, SERVICE):
            assert answer.status == 403, shown(route, answer)
        elif who == GUEST_TOO:
            assert not is_refused, shown(route, answer)
            assert errcode(answer) not in ("M_MISSING_TOKEN", "M_UNKNOWN_TOKEN"), shown(route, answer)
        if route.operation in ("logout", "logout_all"):
            made = (await place.server.request("POST", "/register?kind=guest", {})).json
            guest = User(place.server, made["user_id"], made["access_token"], made["device_id"])


async def test_F17_a_user_reaches_everything_but_what_is_for_operators_and_bridges(place: Place) -> None:
    user = place.users["user"]
    for route in place.routes:
        answer = await place.ask(route, user.token)
        who = expected(route)
        if who in (ADMIN, SERVICE):
            assert (answer.status, errcode(answer)) == (403, "M_FORBIDDEN"), shown(route, answer)
        elif who in (PERSON, GUEST_TOO):
            assert errcode(answer) not in ("M_MISSING_TOKEN", "M_UNKNOWN_TOKEN", "M_GUEST_ACCESS_FORBIDDEN"), shown(
                route, answer
            )
        assert answer.status < 500 or answer.status in (502, 504), shown(route, answer)
        if route.operation in LAST:
            user = await place.server.log_in("user")


async def test_F17_what_is_somebody_elses_is_refused(place: Place) -> None:
    asked = set()
    for route in place.routes:
        if route.operation in OF_ONESELF:
            asked.add(route.operation)
            answer = await place.ask(route, place.users["other"].token)
            assert (answer.status, errcode(answer)) == (403, "M_FORBIDDEN"), shown(route, answer)
    assert asked == OF_ONESELF
    by_user = {route.operation for route in place.routes if "{user_id}" in route.path and expected(route) != ADMIN}
    open_to_all = {"getUserProfile", "getProfileField", "getPresence", "reportUser", ""}
    assert by_user <= OF_ONESELF | open_to_all, "say in OF_ONESELF whether others may ask"


async def test_F17_an_administrator_reaches_everything_for_operators(place: Place) -> None:
    admin = place.users["admin"]
    seen = 0
    for route in place.routes:
        if expected(route) == ADMIN:
            answer = await place.ask(route, admin.token, user_id=place.users["other"].user_id)
            assert answer.status not in (401, 403), shown(route, answer)
            seen += 1
        elif expected(route) == SERVICE:
            answer = await place.ask(route, admin.token)
            assert (answer.status, errcode(answer)) == (403, "M_FORBIDDEN"), shown(route, answer)
    assert seen >= len(ADMINS)


async def test_F10_an_application_service_is_a_user_and_no_operator(place: Place) -> None:
    service = place.users["service"]
    for route in place.routes:
        answer = await place.ask(route, service.token, user_id=service.user_id)
        who = expected(route)
        if who == ADMIN:
            assert (answer.status, errcode(answer)) == (403, "M_FORBIDDEN"), shown(route, answer)
        elif who == SERVICE:
            assert answer.status not in (401, 403), shown(route, answer)
        elif who in (PERSON, GUEST_TOO):
            assert errcode(answer) not in ("M_MISSING_TOKEN", "M_UNKNOWN_TOKEN", "M_GUEST_ACCESS_FORBIDDEN"), shown(
                route, answer
            )


async def test_F10_no_application_service_acts_as_a_user_of_others_anywhere(place: Place) -> None:
    service, victim = place.users["service"], place.users["user"]
    for route in place.routes:
        answer = await place.ask(route, service.token, acts_as=victim.user_id)
        if expected(route) in (PERSON, GUEST_TOO, ADMIN, SERVICE):
            assert answer.status in (401, 403), shown(route, answer)
            assert errcode(answer) in ("M_FORBIDDEN", "M_EXCLUSIVE", "M_UNKNOWN_TOKEN"), shown(route, answer)
    assert (await victim.get("/account/whoami"))["user_id"] == victim.user_id
