"""One request from raw parts to a finished answer."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from homeserver.http.application import HttpApplication, HttpSettings
from homeserver.http.authentication import BearerAuthenticator
from homeserver.http.errors import status_of
from homeserver.http.parsing import parse_object, query_string
from homeserver.http.rate_limits import ClassLimits, RateLimit, RouteLimiter
from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, RateClass, Route, Router
from homeserver.metrics import Metrics
from homeserver.protocol import errors
from homeserver.protocol.errors import Forbidden, InteractiveAuthNeeded, LimitExceeded, MatrixError, UnknownToken
from homeserver.users.requester import Requester
from tests.support.clock import FakeClock
from tests.support.http import MemoryClient

ALICE = Requester("@alice:a", "DEVICE", 1)
TOKENS = {
    "alice": ALICE,
    "guest": Requester("@guest:a", "DEVICE", 2, is_guest=True),
    "admin": Requester("@admin:a", "DEVICE", 3, is_admin=True),
    "service": Requester("@bridge:a", appservice_id="bridge"),
}


class KnownTokens:
    """`TokenVerifier` for tests: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def verify_token(
        self,
        token: str,
        *,
        acts_as: str | None = None,
        device_id: str | None = None,
        address: str = "",
        user_agent: str = "",
    ) -> Requester:
        self.asked.append({"acts_as": acts_as, "device_id": device_id, "address": address, "user_agent": user_agent})
        if token not in TOKENS:
            raise UnknownToken("That access token is not known.")
        return TOKENS[token]


async def echo(request: Request) -> Response:
    return Response(
        {
            "user": request.requester.user_id if request.requester else None,
            "address": request.client_address,
            "query": dict(request.query),
            "params": dict(request.path_params),
        }
    )


def raising(error: BaseException) -> Callable[[Request], Awaitable[Response]]:
    async def fail(request: Request) -> Response:
        raise error

    return fail


def client(*routes: Route, **more: Any) -> MemoryClient:
    more.setdefault("clock", FakeClock())
    tokens = more.pop("tokens", KnownTokens())
    return MemoryClient(HttpApplication(Router(routes), BearerAuthenticator(tokens), **more))


PATH = "/_matrix/client/v3/x"


async def test_a_handler_answers_with_json_cors_and_a_request_id() -> None:
    answer = await client(Route("GET", PATH + "/{name}", echo)).request("GET", PATH + "/a%2Fb?q=1", token="alice")
    assert answer.status == 200
    assert answer.json["params"] == {"name": "a/b"}
    assert answer.json["user"] == "@alice:a"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    assert answer.headers["access-control-allow-headers"] == "X-Requested-With, Content-Type, Authorization"
    assert "access-control-allow-credentials" not in answer.headers  # F14
    assert answer.headers["x-request-id"]


async def test_request_ids_differ() -> None:
    api = client(Route("GET", PATH, echo))
    ids = {(await api.request("GET", PATH, token="alice")).headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


@pytest.mark.parametrize("path", [PATH, "/_matrix/unknown", "/.well-known/matrix/client"])
async def test_preflight_is_answered_without_asking_who(path: str) -> None:
    answer = await client(Route("PUT", PATH, raising(AssertionError()))).request("OPTIONS", path)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_unknown_paths_and_methods_are_unrecognized_and_have_cors() -> None:
    api = client(Route("PUT", PATH, echo))
    unknown = await api.request("GET", PATH + "/y")
    wrong = await api.request("POST", PATH, json={})
    assert (unknown.status, unknown.json["errcode"]) == (404, "M_UNRECOGNIZED")
    assert (wrong.status, wrong.json["errcode"]) == (405, "M_UNRECOGNIZED")
    assert wrong.headers["allow"] == "OPTIONS, PUT"
    for answer in (unknown, wrong):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json["error"].endswith(".")


async def test_F14_pages_outside_the_api_are_not_shared_across_origins() -> None:
    answer = await client(Route("GET", "/chat", echo, Auth.NONE)).request("GET", "/chat")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("auth", "token", "status", "errcode"),
    [
        (Auth.NONE, "wrong", 200, None),
        (Auth.OPTIONAL, None, 200, None),
        (Auth.OPTIONAL, "wrong", 401, "M_UNKNOWN_TOKEN"),
        (Auth.OPTIONAL, "guest", 200, None),
        (Auth.USER, None, 401, "M_MISSING_TOKEN"),
        (Auth.USER, "wrong", 401, "M_UNKNOWN_TOKEN"),
        (Auth.USER, "alice", 200, None),
        (Auth.USER, "service", 200, None),
        (Auth.USER, "guest", 403, "M_GUEST_ACCESS_FORBIDDEN"),
        (Auth.GUEST, "guest", 200, None),
        (Auth.ADMIN, "alice", 403, "M_FORBIDDEN"),
        (Auth.ADMIN, "admin", 200, None),
        (Auth.APPSERVICE, "admin", 403, "M_FORBIDDEN"),
        (Auth.APPSERVICE, "service", 200, None),
    ],
)
async def test_each_route_says_who_may_call_it(auth: Auth, token: str | None, status: int, errcode: str | None) -> None:
    answer = await client(Route("GET", PATH, echo, auth)).request("GET", PATH, token=token)
    assert (answer.status, answer.json.get("errcode")) == (status, errcode)


async def test_the_token_may_stand_in_the_query_and_no_handler_sees_it_there() -> None:
    api = client(Route("GET", PATH, echo))
    answer = await api.request("GET", PATH + "?access_token=alice&a=1")
    assert (answer.json["user"], answer.json["query"]) == ("@alice:a", {"a": ["1"]})
    same = await api.request("GET", PATH + "?access_token=alice", token="alice")
    assert same.status == 200
    two = await api.request("GET", PATH + "?access_token=admin", token="alice")
    assert (two.status, two.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await api.request("GET", PATH, headers={"Authorization": "Basic alice"})).status == 401
    assert (await api.request("GET", PATH, headers={"Authorization": "bearer alice"})).status == 200


async def test_the_verifier_is_told_of_masquerade_and_of_the_place() -> None:
    tokens = KnownTokens()
    await client(Route("GET", PATH, echo), tokens=tokens).request(
        "GET", PATH + "?user_id=@irc_bob:a&device_id=D", token="service", headers={"User-Agent": "Bridge/1"}
    )
    assert tokens.asked == [
        {"acts_as": "@irc_bob:a", "device_id": "D", "address": "192.0.2.1", "user_agent": "Bridge/1"}
    ]


async def test_D14_a_forged_forwarded_for_does_not_change_the_rate_limit_key() -> None:
    limiter = RouteLimiter(FakeClock(), {RateClass.LOGIN: ClassLimits(address=RateLimit(1, 2))})
    api = client(Route("POST", PATH, echo, Auth.NONE, RateClass.LOGIN), rate_limiter=limiter)
    statuses = [
        (await api.request("POST", PATH, headers={"X-Forwarded-For": f"203.0.113.{number}"})).status
        for number in range(4)
    ]
    assert statuses == [200, 200, 429, 429]
    proxied = client(
        Route("POST", PATH, echo, Auth.NONE, RateClass.LOGIN),
        rate_limiter=RouteLimiter(FakeClock(), {RateClass.LOGIN: ClassLimits(address=RateLimit(1, 1))}),
        settings=HttpSettings(trusted_proxies=("192.0.2.1/32",)),
    )
    for number in range(4):
        answer = await proxied.request("POST", PATH, headers={"X-Forwarded-For": f"203.0.113.{number}"})
        assert (answer.status, answer.json["address"]) == (200, f"203.0.113.{number}")


async def test_application_service_is_not_limited_where_nobody_needs_a_token() -> None:
    limiter = RouteLimiter(FakeClock(), {RateClass.REGISTRATION: ClassLimits(address=RateLimit(1, 1))})
    api = client(Route("POST", PATH, echo, Auth.NONE, RateClass.REGISTRATION), rate_limiter=limiter)
    assert [(await api.request("POST", PATH, token="service")).status for _ in range(3)] == [200, 200, 200]
    assert [(await api.request("POST", PATH, token="worthless")).status for _ in range(2)] == [200, 429]


async def test_too_many_requests_say_when_to_come_back() -> None:
    limiter = RouteLimiter(FakeClock(), {RateClass.MESSAGE: ClassLimits(account=RateLimit(0.4, 1))})
    api = client(Route("PUT", PATH, echo, rate=RateClass.MESSAGE), rate_limiter=limiter)
    assert (await api.request("PUT", PATH, token="alice")).status == 200
    answer = await api.request("PUT", PATH, token="alice")
    assert (answer.status, answer.json["errcode"], answer.json["retry_after_ms"]) == (429, "M_LIMIT_EXCEEDED", 2500)
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_C09_an_unexpected_error_says_nothing_of_itself_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = client(Route("GET", PATH, raising(RuntimeError("secret detail /etc/x"))))
    answer = await api.request("GET", PATH + "?access_token=alice")
    assert (answer.status, answer.json["errcode"]) == (500, "M_UNKNOWN")
    assert b"secret" not in answer.body
    assert b"RuntimeError" not in answer.body
    assert answer.headers["access-control-allow-origin"] == "*"
    unexpected = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(unexpected) == 1
    assert unexpected[0].exc_info
    assert "access_token" not in caplog.text


async def test_an_answer_that_json_cannot_carry_is_an_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: Request) -> Response:
        return Response({"a": object()})

    assert (await client(Route("GET", PATH, broken, Auth.NONE)).request("GET", PATH)).status == 500
    surrogate = client(Route("GET", PATH, raising(Forbidden("half \ud800")), Auth.NONE))
    assert (await surrogate.request("GET", PATH)).status == 403


async def test_interactive_authentication_is_asked_for_with_the_body_it_needs() -> None:
    flows = {"flows": [{"stages": ["m.login.dummy"]}], "params": {}, "session": "s"}
    answer = await client(Route("POST", PATH, raising(InteractiveAuthNeeded(flows)), Auth.NONE)).request("POST", PATH)
    assert (answer.status, answer.json) == (401, flows)


ALL_ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MatrixError)]


def made(kind: type[MatrixError]) -> MatrixError:
    if kind is LimitExceeded:
        return LimitExceeded("A sentence.", retry_after_ms=1)
    if kind is InteractiveAuthNeeded:
        return InteractiveAuthNeeded({"errcode": "M_UNKNOWN", "error": "A sentence."})
    return kind("A sentence.")


@pytest.mark.parametrize("kind", ALL_ERRORS)
async def test_every_error_has_a_status_and_the_standard_body(kind: type[MatrixError]) -> None:
    error = made(kind)
    answer = await client(Route("GET", PATH, raising(error), Auth.NONE)).request("GET", PATH)
    assert answer.status == status_of(error)
    assert 400 <= answer.status <= 504
    assert (answer.json["errcode"], answer.json["error"]) == (kind.errcode, "A sentence.")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.Forbidden, 403), (errors.UnknownToken, 401), (errors.NotFound, 404), (errors.BadJson, 400),
        (errors.NotJson, 400), (errors.UserInUse, 400), (errors.TooLarge, 413), (errors.Unavailable, 503),
        (errors.WrongRoomKeysVersion, 403), (errors.NotYetUploaded, 504), (errors.Exclusive, 400),
        (errors.UnsupportedRoomVersion, 400), (errors.UserDeactivated, 403), (errors.UserLocked, 401),
    ],
)  # fmt: skip
def test_statuses_are_those_of_the_specification(kind: type[MatrixError], status: int) -> None:
    assert status_of(kind("A sentence.")) == status


async def keep(request: Request) -> Response:
    return Response({"kept": parse_object(request)})


NESTED = 100_000
D06_CORPUS: list[tuple[str, bytes, int]] = [
    ("NaN", b'{"a":NaN}', 400),
    ("Infinity", b'{"a":Infinity}', 400),
    ("minus Infinity", b'{"a":-Infinity}', 400),
    ("beyond a double", b'{"a":1e400}', 400),
    ("an integer of 1000 digits", b'{"a":' + b"9" * 1000 + b"}", 400),
    ("an integer beyond 64 bits", b'{"a":' + b"9" * 25 + b"}", 400),
    ("half a surrogate pair", b'{"a":"\\ud800"}', 400),
    ("half a surrogate pair in a key", b'{"\\udc00":1}', 400),
    ("NUL", b'{"a":"\\u0000"}', 400),
    ("NUL in a key", b'{"\\u0000":1}', 400),
    ("a byte order mark", b"\xef\xbb\xbf{}", 400),
    ("UTF-16", '{"a":1}'.encode("utf-16"), 400),
    ("invalid UTF-8", b'{"a":"\xff"}', 400),
    ("overlong UTF-8", b'{"a":"\xc0\xaf"}', 400),
    ("deep arrays", b'{"a":' + b"[" * NESTED + b"]" * NESTED + b"}", 400),
    ("deep objects", b'{"a":' * NESTED + b"1" + b"}" * NESTED, 400),
    ("deep and unfinished", b"[" * NESTED, 400),
    ("an array", b"[]", 400),
    ("a string", b'"a"', 400),
    ("a number", b"1", 400),
    ("null", b"null", 400),
    ("nothing", b"", 400),
    ("a blank", b" ", 400),
    ("two values", b"{}{}", 400),
    ("a trailing comma", b'{"a":1,}', 400),
    ("single quotes", b"{'a':1}", 400),
    ("a comment", b'{"a":1/*x*/}', 400),
    ("a raw control character", b'{"a":"\x01"}', 400),
    ("a raw line break", b'{"a":"\n"}', 400),
    ("unfinished", b'{"a":', 400),
    ("a leading zero", b'{"a":01}', 400),
    ("plus", b'{"a":+1}', 400),
    ("hexadecimal", b'{"a":0x10}', 400),
    ("a form", b"a=1&b=2", 400),
    ("minus zero", b'{"a":-0}', 200),
    ("a key twice", b'{"a":1,"a":2}', 200),
    ("2^53", b'{"a":9007199254740992}', 200),
    ("a float", b'{"a":1.5}', 200),
    ("a long string", b'{"a":"' + b"x" * 900_000 + b'"}', 200),
    ("a string of 10 MB", b'{"a":"' + b"x" * 10_000_000 + b'"}', 413),
    ("an escaped pair", b'{"a":"\\ud83d\\ude00"}', 200),
]


@pytest.mark.parametrize(("body", "status"), [row[1:] for row in D06_CORPUS], ids=[row[0] for row in D06_CORPUS])
async def test_D06_strange_json_is_refused_or_served_and_never_an_error_of_ours(body: bytes, status: int) -> None:
    answer = await client(Route("POST", PATH, keep, Auth.NONE)).request("POST", PATH, body=body)
    assert answer.status == status
    if status == 400:
        assert answer.json["errcode"] in ("M_NOT_JSON", "M_BAD_JSON")
        assert len(answer.json["error"].split()) > 3, "a sentence"


@pytest.mark.parametrize(
    "target",
    [PATH + "?a=%ff", PATH + "?a=%00", PATH + "?" + "&" * 201, PATH + "?access_token=a&access_token=b"],
)
async def test_a_query_that_is_not_text_is_refused(target: str) -> None:
    answer = await client(Route("GET", PATH, echo, Auth.NONE)).request("GET", target)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_the_absolute_form_of_a_target_is_understood() -> None:
    api = client(Route("GET", PATH, echo, Auth.NONE), Route("GET", "/", echo, Auth.NONE))
    assert (await api.request("GET", f"https://example.org{PATH}?a=1")).json["query"] == {"a": ["1"]}
    assert (await api.request("GET", "http://example.org")).status == 200
    for target in ("*", "example.org:443", "ftp://example.org" + PATH, ""):
        assert (await api.request("GET", target)).status == 404


async def test_requests_are_counted_by_operation_and_status() -> None:
    metrics = Metrics()
    api = client(Route("GET", PATH, echo, operation="getX"), metrics=metrics.requests)
    await api.request("GET", PATH, token="alice")
    await api.request("GET", PATH)
    await api.request("GET", "/wp-login.php")
    text = metrics.render().decode()
    assert 'halfdoor_http_requests_total{operation="getX",status="200"} 1.0' in text
    assert 'halfdoor_http_requests_total{operation="getX",status="401"} 1.0' in text
    assert 'halfdoor_http_requests_total{operation="unknown",status="404"} 1.0' in text
    assert 'halfdoor_http_request_seconds_bucket{le="+Inf",operation="getX"} 2.0' in text
    assert "halfdoor_http_requests_in_flight 0.0" in text


async def test_a_parameter_that_is_too_long_is_refused() -> None:
    async def read(request: Request) -> Response:
        return Response({"a": query_string(request, "a", max_length=10)})

    answer = await client(Route("GET", PATH, read, Auth.NONE)).request("GET", PATH, query={"a": "x" * 11})
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
