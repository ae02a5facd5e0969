"""Login by QR code: where two devices meet (MSC4108 of 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.client_api.rendezvous import CHANNEL_PATH, PATH
from homeserver.oauth.rendezvous import MAX_BYTES, MAX_MAILBOXES
from tests.oauth.apps import BASE, open_oauth_server
from tests.support.http import Answer
from tests.support.server import Server, open_server

TEXT = {"content-type": "text/plain"}


@pytest.fixture
def server() -> Server:
    return open_oauth_server()


async def send(
    server: Server, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    return await server.client.request(method, path, body=body, headers={**TEXT, **(headers or {})})


async def meet(server: Server, body: bytes = b"hello") -> tuple[str, str]:
    """The path and the ETag of a new mailbox."""
    answer = await send(server, "POST", PATH, body)
    assert answer.status == 201
    return answer.json["url"].removeprefix(BASE), answer.headers["etag"]


async def test_two_devices_exchange_messages(server: Server) -> None:
    versions = await server.request("GET", "/_matrix/client/versions")
    assert versions.json["unstable_features"]["org.matrix.msc4108"] is True
    path, etag = await meet(server)
    answer = await send(server, "GET", path)
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"hello", etag)
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["cache-control"].startswith("no-store")
    assert answer.headers["access-control-expose-headers"] == "ETag"
    assert {"expires", "last-modified"} <= answer.headers.keys()
    written = await send(server, "PUT", path, b"answer", {"if-match": etag})
    assert written.status == 202
    assert written.headers["etag"] != etag
    waiting = await send(server, "GET", path, headers={"if-none-match": written.headers["etag"]})
    assert (waiting.status, waiting.body) == (304, b"")
    news = await send(server, "GET", path, headers={"if-none-match": etag})
    assert (news.status, news.body) == (200, b"answer")
    assert (await send(server, "DELETE", path)).status == 204
    assert (await send(server, "GET", path)).status == 404


async def test_of_two_who_write_at_once_one_must_read_first(server: Server) -> None:
    path, etag = await meet(server)
    assert (await send(server, "PUT", path, b"first", {"if-match": etag})).status == 202
    second = await send(server, "PUT", path, b"second", {"if-match": etag})
    assert second.status == 412
    assert second.json["org.matrix.msc4108.errcode"] == "M_CONCURRENT_WRITE"
    missing = await send(server, "PUT", path, b"third")
    assert (missing.status, missing.json["errcode"]) == (400, "M_MISSING_PARAM")
    assert (await send(server, "GET", path)).body == b"first"


async def test_the_same_content_written_again_is_a_new_message(server: Server) -> None:
    path, etag = await meet(server)
    again = await send(server, "PUT", path, b"hello", {"if-match": etag})
    assert again.headers["etag"] != etag


async def test_a_meeting_lasts_a_minute_however_often_it_is_used(server: Server) -> None:
    path, etag = await meet(server)
    await server.clock.advance(59)
    assert (await send(server, "PUT", path, b"x", {"if-match": etag})).status == 202
    await server.clock.advance(2)
    for method in ("GET", "PUT", "DELETE"):
        assert (await send(server, method, path, headers={"if-match": etag})).status == 404


async def test_D08_messages_and_meetings_have_limits(server: Server) -> None:
    big = b"x" * (MAX_BYTES + 1)
    assert (await send(server, "POST", PATH, big)).status == 413
    path, etag = await meet(server, big[1:])
    assert (await send(server, "PUT", path, big, {"if-match": etag})).status == 413
    for _ in range(MAX_MAILBOXES - 1):
        server.homeserver.oauth.rendezvous.open(b"")
    full = await send(server, "POST", PATH)
    assert full.status == 429
    assert int(full.headers["retry-after"]) <= 60
    await server.clock.advance(60)
    assert (await send(server, "POST", PATH)).status == 201


async def test_what_is_in_a_mailbox_never_runs_in_a_browser(server: Server) -> None:
    path, _ = await meet(server, b"<script>alert(1)</script>")
    answer = await send(server, "GET", path, headers={"accept": "text/html"})
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")


async def test_web_clients_may_send_what_they_compare(server: Server) -> None:
    path, _ = await meet(server)
    preflight = await send(server, "OPTIONS", path)
    assert "If-Match" in preflight.headers["access-control-allow-headers"]
    other = await send(server, "OPTIONS", "/_matrix/client/versions")
    assert "If-Match" not in other.headers["access-control-allow-headers"]


async def test_without_oauth_nobody_meets() -> None:
    server = open_server()
    versions = await server.request("GET", "/_matrix/client/versions")
    assert versions.json["unstable_features"]["org.matrix.msc4108"] is False
    assert (await send(server, "POST", PATH)).status == 404


async def channel(server: Server, method: str, path: str, body: Any = ..., **headers: str) -> Answer:
    return await server.client.request(method, path, json=body, headers=headers)


async def test_two_devices_exchange_messages_by_the_newer_names() -> None:
    server = open_oauth_server()
    assert (await channel(server, "GET", CHANNEL_PATH)).json == {"create_available": True}
    opened = (await channel(server, "POST", CHANNEL_PATH, {"data": "hello"})).json
    assert opened["expires_in_ms"] == 120_000
    path = f"{CHANNEL_PATH}/{opened['id']}"
    await server.clock.advance(20)
    read = (await channel(server, "GET", path)).json
    assert read == {"data": "hello", "sequence_token": opened["sequence_token"], "expires_in_ms": 100_000}
    write = {"data": "answer", "sequence_token": read["sequence_token"]}
    written = await channel(server, "PUT", path, write)
    assert written.status == 200
    repeated = await channel(server, "PUT", path, write)
    assert repeated.json == written.json, "a write whose answer was lost"
    late = await channel(server, "PUT", path, {**write, "data": "another"})
    assert (late.status, late.json["errcode"]) == (409, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE")
    assert (await channel(server, "GET", path)).json["data"] == "answer"
    assert (await channel(server, "DELETE", path)).status == 200
    assert (await channel(server, "GET", path)).status == 404
    assert (await channel(server, "DELETE", path)).status == 404


async def test_a_channel_lasts_two_minutes_and_carries_4_kib() -> None:
    server = open_oauth_server()
    assert (await channel(server, "POST", CHANNEL_PATH, {"data": "x" * (MAX_BYTES + 1)})).status == 413
    assert (await channel(server, "POST", CHANNEL_PATH, {"data": 5})).status == 400
    opened = (await channel(server, "POST", CHANNEL_PATH, {"data": ""})).json
    short, _ = await meet(server)
    await server.clock.advance(61)
    assert (await send(server, "GET", short)).status == 404
    path = f"{CHANNEL_PATH}/{opened['id']}"
    assert (await channel(server, "GET", path)).status == 200
    await server.clock.advance(60)
    assert (await channel(server, "GET", path)).status == 404


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("sec-fetch-dest", "document", 403),
        ("sec-fetch-dest", "iframe", 403),
        ("sec-fetch-mode", "navigate", 403),
        ("sec-fetch-user", "?1", 403),
        ("sec-fetch-site", "none", 403),
        ("sec-fetch-dest", "empty", 200),
        ("sec-fetch-mode", "cors", 200),
        ("sec-fetch-site", "cross-site", 200),
    ],
)
async def test_a_browser_does_not_show_a_channel_as_a_page(name: str, value: str, status: int) -> None:
    server = open_oauth_server()
    opened = (await channel(server, "POST", CHANNEL_PATH, {"data": "hello"})).json
    answer = await server.client.request("GET", f"{CHANNEL_PATH}/{opened['id']}", headers={name: value})
    assert answer.status == status
