"""Logs: their form, and that no secret gets into them (row C09)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route
from homeserver.logs import REDACTED, JsonFormatter, configure_logs, redact, request_id
from tests.support.http import MemoryClient
from tests.support.http_server import application

SECRET = "syt_YWxpY2U_abcdefghijklmnop_1A2b3C"
PLAIN = "abcdefghijklm"  # what nothing but its name gives away


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    level = root.level
    handler = configure_logs(style="json", level="DEBUG", stream=stream)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        f"GET /sync?access_token={PLAIN}&since=1",
        f"GET /sync?since=1&access_token={PLAIN}",
        f"/sync?Access_Token={PLAIN} 200",
        f"Authorization: Bearer {PLAIN}",
        f"{{'authorization': 'Bearer {PLAIN}'}}",
        f'{{"password": "{PLAIN}", "user": "a"}}',
        f"password='{PLAIN}'",
        f'{{"new_password":"{PLAIN} with \\" quotes"}}',
        f"as_token: {PLAIN}",
        f'hs_token="{PLAIN}"',
        f"token {SECRET} is unknown",
        f"refresh_token={PLAIN}",
        f"bearer {SECRET}",
        f"Basic {PLAIN}",
        f"client_secret={PLAIN};x",
        f"registration_shared_secret: {PLAIN}",
        f"LoginToken(login_token='{PLAIN}')",
        f"Cookie: session={PLAIN}",
        f"dict(mac={PLAIN!r})",
    ],
)
def test_C09_secrets_are_redacted_wherever_they_stand(text: str) -> None:
    assert "abcdefghij" not in redact(text)
    assert REDACTED in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /_matrix/client/v3/rooms/!abc:example.org/send/m.room.message/1 200 1.2ms @alice:example.org",
        "the tokenizer made 5 tokens",
        "next_batch=s12_3",
        "Stopped",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_line_of_json_holds_the_request_it_belongs_to(written: io.StringIO) -> None:
    token = request_id.set("r42")
    try:
        logging.getLogger("homeserver.rooms").warning("Half a %s", "pair")
    finally:
        request_id.reset(token)
    entry = json.loads(written.getvalue())
    assert (entry["level"], entry["area"], entry["request_id"]) == ("WARNING", "homeserver.rooms", "r42")
    assert entry["message"] == "Half a pair"
    assert entry["time"].endswith("Z")


def test_a_lone_surrogate_does_not_break_a_line_of_json() -> None:
    # Formatted by hand: pytest-xdist cannot carry what a logger would have pytest capture.
    record = logging.LogRecord("homeserver.rooms", logging.WARNING, __file__, 1, "Half \ud800 a %s", ("pair",), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "Half \\ud800 a pair"


def test_an_area_has_a_level_of_its_own_and_people_can_read_the_other_form() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    level = root.level
    handler = configure_logs(level="INFO", areas={"homeserver.quiet": "ERROR"}, stream=stream)
    try:
        logging.getLogger("homeserver.quiet").warning("not this")
        logging.getLogger("homeserver.loud").warning("but this")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        logging.getLogger("homeserver.quiet").setLevel(logging.NOTSET)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("WARNING homeserver.loud but this")


async def test_C09_no_token_of_a_request_reaches_the_log_even_when_everything_fails(written: io.StringIO) -> None:
    async def fail(request: Request) -> Response:
        held: dict[str, Any] = {"password": SECRET, "headers": dict(request.headers)}
        raise RuntimeError(f"could not use {held}")

    api = MemoryClient(application([Route("POST", "/_matrix/fail", fail, Auth.NONE)]))
    answer = await api.request("POST", f"/_matrix/fail?access_token={SECRET}", token=SECRET, json={"password": SECRET})
    assert answer.status == 500
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    failures = [line for line in lines if "exception" in line]
    assert len(failures) == 1
    assert failures[0]["request_id"] == answer.headers["x-request-id"]
    assert any(line["area"] == "homeserver.http.access" for line in lines)
    assert "abcdefghij" not in written.getvalue()
    assert SECRET.encode() not in answer.body


def test_C09_what_twisted_logs_goes_the_same_way(written: io.StringIO) -> None:
    from twisted.logger import Logger

    Logger("transport").error("lost with access_token={token}", token=PLAIN)
    try:
        raise RuntimeError(f"password={PLAIN}")
    except RuntimeError:
        Logger("transport").failure("failed")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["area"] for line in lines] == ["twisted", "twisted"]
    assert "RuntimeError" in lines[1]["exception"]
    assert PLAIN not in written.getvalue()


async def test_C09_what_is_stored_is_not_in_the_most_talkative_log(written: io.StringIO, tmp_path: Path) -> None:
    async with aiosqlite.connect(tmp_path / "x.db") as connection:
        await connection.execute("CREATE TABLE t (a TEXT)")
        await connection.execute("INSERT INTO t VALUES (?)", (PLAIN,))
    assert PLAIN not in written.getvalue()


def test_C09_a_request_does_not_show_its_secrets() -> None:
    request = Request("GET", "/", {}, {}, {"authorization": PLAIN}, PLAIN.encode(), "x", "r1", access_token=PLAIN)
    assert PLAIN not in repr(request)


def test_tokens_of_operators_are_redacted_too() -> None:
    from homeserver.admin.access import OperatorTokens
    from tests.support.clock import FakeClock

    token = OperatorTokens(b"k" * 32, "a.test", FakeClock()).make("GET", "/x")
    assert redact(f"it was {token}. And so on") == f"it was {REDACTED}. And so on"
    path = "GET /_synapse/admin/v1/registration_tokens/letmein 200"
    assert redact(path) == f"GET /_synapse/admin/v1/registration_tokens/{REDACTED} 200"
    assert redact("POST /_synapse/admin/v1/registration_tokens/new 200").endswith("/new 200")
