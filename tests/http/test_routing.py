"""The router: exact, decoded once (row D03)."""

from __future__ import annotations

import time

import pytest

from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route, Router, WrongMethod
from homeserver.protocol.errors import InvalidParam, Unrecognized


async def handler(request: Request) -> Response:
    return Response({})


ROUTES = [
    Route("GET", "/_matrix/client/versions", handler, Auth.NONE),
    Route("PUT", "/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}", handler),
    Route("GET", "/_matrix/client/v3/rooms/{room_id}/state", handler),
    Route(
        "GET",
        "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{state_key?}",
        handler,
        aliases=("/_matrix/client/r0/rooms/{room_id}/state/{event_type}/{state_key?}",),
    ),
    Route("PUT", "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/{state_key?}", handler),
    Route("GET", "/_matrix/client/v3/profile/{user_id}", handler),
    Route("GET", "/_matrix/client/v3/profile/{user_id}/displayname", handler, operation="getDisplayName"),
    Route("GET", "/_matrix/client/v3/profile/{user_id}/{key_name}", handler, operation="getProfileField"),
    Route("DELETE", "/_matrix/client/v3/profile/{target}/{key_name}", handler),
    Route("GET", "/", handler, Auth.NONE),
]
router = Router(ROUTES)


def test_parameters_are_decoded_once() -> None:
    found = router.match("PUT", "/_matrix/client/v3/rooms/%21a%3Ab/send/m.room%252Fx/1")
    assert found.path_params == {"room_id": "!a:b", "event_type": "m.room%2Fx", "txn_id": "1"}


def test_an_encoded_slash_stays_inside_its_parameter() -> None:
    found = router.match("PUT", "/_matrix/client/v3/rooms/!a:b/send/a%2Fb%2f..%2Fc/1")
    assert found.path_params["event_type"] == "a/b/../c"


@pytest.mark.parametrize("ending", ["", "/"])
def test_an_optional_last_parameter_may_be_empty(ending: str) -> None:
    for prefix in ("v3", "r0"):
        found = router.match("GET", f"/_matrix/client/{prefix}/rooms/!a:b/state/m.room.name{ending}")
        assert found.path_params == {"room_id": "!a:b", "event_type": "m.room.name", "state_key": ""}


def test_plain_text_wins_over_a_parameter() -> None:
    path = "/_matrix/client/v3/profile/@a:b/displayname"
    assert router.match("GET", path).route.operation == "getDisplayName"
    assert router.match("DELETE", path).path_params == {"target": "@a:b", "key_name": "displayname"}


def test_head_is_answered_by_the_route_for_get() -> None:
    assert router.match("HEAD", "/_matrix/client/versions").route is ROUTES[0]
    assert router.match("GET", "/").route is ROUTES[-1]


def test_another_method_is_refused_and_told_which_ones_there_are() -> None:
    with pytest.raises(WrongMethod) as caught:
        router.match("POST", "/_matrix/client/v3/rooms/!a:b/state/m.room.name/")
    assert caught.value.allowed == ("GET", "HEAD", "OPTIONS", "PUT")
    assert caught.value.errcode == "M_UNRECOGNIZED"


def concrete(template: str) -> str:
    return "/".join("x" if part.startswith("{") else part for part in template.split("/"))


@pytest.mark.parametrize("route", ROUTES[:-1], ids=lambda route: f"{route.method} {route.path}")
def test_D03_every_route_refuses_what_is_not_exactly_its_path(route: Route) -> None:
    path = concrete(route.path)
    assert router.match(route.method, path).route is route
    wrong = [
        path + "//", path + "/x/y/z/a", path + "/../x", path + "/.", path + "/..", "/x" + path, "/" + path, path[1:],
        path.replace("/client/", "/client//"), path.replace("/client/", "/client/./"),
        path.replace("/client/", "/client/x/../"), path.replace("/client/", "/%63lient/"),
        path.replace("/client/", "/client;a=b/"), path.replace("/client/", "/client%2F"), path.upper(),
        path.replace("/", "\\"), "", path.replace("_matrix", "_matrix "),
    ]  # fmt: skip
    if "?}" not in route.path:
        wrong.append(path + "/")
    if "{" not in route.path:
        wrong += [path + "x", path + "/x", path + "%00", path + ";"]
    for each in wrong:
        with pytest.raises(Unrecognized) as caught:
            router.match(route.method, each)
        assert not isinstance(caught.value, WrongMethod), each


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_D03_a_parameter_is_never_empty_nor_a_dot_segment(segment: str) -> None:
    with pytest.raises(Unrecognized):
        router.match("GET", f"/_matrix/client/v3/rooms/{segment}/state")


@pytest.mark.parametrize("segment", ["%", "%2", "%zz", "%+1", "%ff", "%C0%AF", "a%00b", "%ED%A0%80"])
def test_D03_a_parameter_that_is_not_encoded_utf8_is_refused(segment: str) -> None:
    with pytest.raises(InvalidParam, match="The path holds"):
        router.match("GET", f"/_matrix/client/v3/rooms/{segment}/state")


@pytest.mark.parametrize(
    "paths",
    [
        ["/a", "/a"],
        ["/a/{x}", "/a/{y}"],
        ["/a/{x}/{y?}", "/a/{z}"],
        ["a"],
        ["/a//b"],
        ["/a/{x?}/b"],
        ["/a/{x}/{x}"],
        ["/a/b{x}"],
        ["/a//"],
        ["/a/", "/a/"],
    ],
)
def test_a_table_that_is_ambiguous_or_malformed_is_refused(paths: list[str]) -> None:
    with pytest.raises(ValueError):
        Router([Route("GET", path, handler) for path in paths])


def test_D03_a_template_that_ends_with_a_slash_matches_no_other_path() -> None:
    own = Router([Route("GET", "/pushrules/", handler), Route("GET", "/pushrules/global/{kind}", handler)])
    assert own.match("GET", "/pushrules/").route.path == "/pushrules/"
    for path in ("/pushrules", "/pushrules//", "/pushrules/global/", "/pushrules/x"):
        with pytest.raises(Unrecognized):
            own.match("GET", path)


def test_a_match_takes_microseconds() -> None:
    path = "/_matrix/client/v3/rooms/!a%3Ab/send/m.room.message/1"
    best = 1.0
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(100):
            router.match("PUT", path)
        best = min(best, (time.perf_counter() - started) / 100)
    assert best < 50e-6, "ten times what it takes on a slow machine"
