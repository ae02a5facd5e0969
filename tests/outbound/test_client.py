"""Requests over sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homeserver.outbound.address_guard import AddressGuard
from homeserver.outbound.client import NoOutbound, OutboundClient, OutboundFailed
from tests.outbound.canary import answer, canary, saying
from tests.support.certificates import self_signed

NAMES: Mapping[str, list[str]] = {
    "public.example": ["8.8.8.8"],
    "inside.example": ["127.0.0.1"],
    "half.example": ["8.8.8.8", "127.0.0.1"],
}


@dataclass
class Resolver:
    """A name server of the test; `answers` come one after the other, the last one again and again."""

    answers: dict[str, list[list[str]]]

    async def look_up(self, host: str) -> list[str]:
        left = self.answers.get(host)
        if left is None:
            raise OSError("unknown")
        return left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
async def resolver() -> Resolver:
    return Resolver({name: [addresses] for name, addresses in NAMES.items()})


@pytest.fixture
async def strict(resolver: Resolver) -> AsyncIterator[OutboundClient]:
    """As the server has it, but for ports, since tests have none below 1024."""
    client = OutboundClient(AddressGuard(ports=[], look_up=resolver.look_up))
    yield client
    await client.close()


@pytest.fixture
async def open_client(resolver: Resolver) -> AsyncIterator[OutboundClient]:
    """127.0.0.1 stands for the Internet; 127.0.0.2 is internal."""
    client = OutboundClient(AddressGuard(allowed=["127.0.0.1"], ports=[], look_up=resolver.look_up), "Halfdoor test")
    yield client
    await client.close()


async def failure(call: Any) -> str:
    with pytest.raises(OutboundFailed) as caught:
        await call
    kind: str = caught.value.kind
    return kind


async def test_a_request_and_its_answer(open_client: OutboundClient) -> None:
    async with canary(saying(answer(b"hello", "201 Made", "X-One: a", "X-One: b"))) as server:
        got = await open_client.request("POST", server.url("/p?q=1"), headers={"X-Mine": "m"}, body=b"sent")
        assert (got.status, got.body, got.url) == (201, b"hello", server.url("/p?q=1"))
        assert got.headers["x-one"] == "a, b"
        head = server.requests[0].lower()
        assert head.startswith(b"post /p?q=1 http/1.1\r\n")
        for line in (
            b"x-mine: m",
            b"content-length: 4",
            b"user-agent: halfdoor test",
            b"host: 127.0.0.1:%d" % server.port,
        ):
            assert b"\r\n" + line + b"\r\n" in head


async def test_a_connection_serves_the_next_request(open_client: OutboundClient) -> None:
    async with canary(saying(answer())) as server:
        for _ in range(3):
            assert (await open_client.request("GET", server.url())).body == b"hello"
        assert (server.connections, len(server.requests)) == (1, 3)
        await open_client.request("GET", server.url(), trusted=True)
        assert server.connections == 2, "what is trusted goes another way"


async def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew(open_client: OutboundClient) -> None:
    async def once(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        await writer.drain()
        if not server.is_cut.is_set():
            writer.close()

    async with canary(once) as server:
        await open_client.request("GET", server.url())
        await server.is_cut.wait()
        assert (await open_client.request("GET", server.url())).status == 200


async def test_C01_nothing_internal_is_connected_to(strict: OutboundClient) -> None:
    async with canary(saying(answer())) as server:
        for host in (
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "inside.example",
            "half.example",
            "0.0.0.0",
        ):
            assert await failure(strict.request("GET", server.url(host=host), redirects=3)) in (
                "refused",
                "not reached",
            )
        assert server.connections == 0
        assert (await strict.request("GET", server.url(), trusted=True)).status == 200


async def test_C02_redirects_are_checked_like_the_first_address(
    open_client: OutboundClient, resolver: Resolver
) -> None:
    resolver.answers["inner.example"] = [["127.0.0.2"]]
    for leads_to in (
        "http://127.0.0.2:{port}/",
        "http://inner.example:{port}/",
        "//127.0.0.2:{port}/",
        "file:///etc/passwd",
    ):
        async with canary(saying(b"")) as server:
            server.respond = saying(answer(b"", "302 Found", "Location: " + leads_to.format(port=server.port)))
            assert await failure(open_client.request("GET", server.url(), redirects=3)) == "refused", leads_to
            assert server.connections == 1


async def test_C02_trust_does_not_follow_a_redirect_elsewhere(strict: OutboundClient) -> None:
    async with canary(saying(answer())) as inner:
        async with canary(saying(answer(b"", "302 Found", f"Location: {inner.url()}"))) as server:
            assert await failure(strict.request("GET", server.url(), redirects=3, trusted=True)) == "refused"
        assert inner.connections == 0


async def test_C02_redirects_are_counted(open_client: OutboundClient) -> None:
    async with canary(saying(answer(b"", "301 Moved", "Location: /again"))) as server:
        assert (await open_client.request("GET", server.url())).status == 301
        server.requests.clear()
        assert await failure(open_client.request("GET", server.url(), redirects=3)) == "redirected too often"
        assert len(server.requests) == 4


async def test_C03_the_address_that_was_checked_is_the_one_connected_to(
    open_client: OutboundClient, resolver: Resolver
) -> None:
    async with canary(saying(answer())) as server:
        resolver.answers["rebinding.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        assert (await open_client.request("GET", server.url(host="rebinding.example"))).status == 200
        assert len(resolver.answers["rebinding.example"]) == 1, "it was looked up once"
    async with canary(saying(answer())) as server:
        assert await failure(open_client.request("GET", server.url(host="rebinding.example"))) == "refused"
        assert server.connections == 0


async def test_C06_bodies_have_an_end(open_client: OutboundClient) -> None:
    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with canary(endless) as server:
        assert await failure(open_client.request("GET", server.url(), max_bytes=200_000)) == "too large"
        await asyncio.wait_for(server.is_cut.wait(), 60)


async def test_C06_heads_have_an_end(open_client: OutboundClient) -> None:
    async def endless(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    async with canary(endless) as server:
        assert await failure(open_client.request("GET", server.url())) == "not reached"
        await asyncio.wait_for(server.is_cut.wait(), 60)


async def test_C06_a_slow_drip_is_cut_at_the_time_limit(open_client: OutboundClient) -> None:
    async def drip(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with canary(drip) as server:
        assert await failure(open_client.request("GET", server.url(), timeout=0.15)) == "timed out"
        await asyncio.wait_for(server.is_cut.wait(), 60)
    async with canary(saying(b"")) as server:
        assert await failure(open_client.request("GET", server.url(), timeout=0.05)) == "timed out"


async def test_C06_compressed_bodies_are_bounded_by_what_they_become(open_client: OutboundClient) -> None:
    async with canary(saying(answer(gzip.compress(b"hello" * 100), "200 OK", "Content-Encoding: gzip"))) as server:
        assert (await open_client.request("GET", server.url())).body == b"hello" * 100
        bomb = zlib.compressobj(9, wbits=31)
        packed = b"".join(bomb.compress(bytes(1_000_000)) for _ in range(30)) + bomb.flush()
        server.respond = saying(answer(packed, "200 OK", "Content-Encoding: gzip"))
        assert await failure(open_client.request("GET", server.url(), max_bytes=100_000)) == "too large"
        for body, encoding in ((packed[:100], "gzip"), (b"nonsense", "gzip"), (b"x", "br")):
            server.respond = saying(answer(body, "200 OK", f"Content-Encoding: {encoding}"))
            assert await failure(open_client.request("GET", server.url())) == "not reached", encoding


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_broken_answers_are_no_answers(open_client: OutboundClient, said: bytes) -> None:
    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with canary(respond) as server:
        assert await failure(open_client.request("GET", server.url())) == "not reached"


async def test_C08_credentials_are_never_redirected(open_client: OutboundClient) -> None:
    async with canary(saying(answer(b"", "302 Found", "Location: /elsewhere"))) as server:
        for header in ("Authorization", "Cookie", "Proxy-Authorization"):
            got = await open_client.request("GET", server.url(), headers={header: "secret"}, redirects=3)
            assert (got.status, len(server.requests)) == (302, 1), header
            server.requests.clear()
        got = await open_client.request("POST", server.url(), body=b"secret", redirects=3)
        assert (got.status, len(server.requests)) == (302, 1)


async def test_proxies_of_the_environment_are_not_used(
    open_client: OutboundClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with canary(saying(answer())) as proxy, canary(saying(answer())) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        await open_client.request("GET", server.url())
        assert (proxy.connections, server.connections) == (0, 1)


async def test_a_big_body_goes_by_in_pieces(open_client: OutboundClient) -> None:
    content = bytes(range(256)) * 4096
    pieces: list[bytes] = []
    async with canary(saying(answer(content))) as server:
        got = await open_client.stream("GET", server.url(), pieces.append, max_bytes=len(content))
        assert (got.body, b"".join(pieces)) == (b"", content)
        assert len(pieces) > 1

        def full(data: bytes) -> None:
            raise OSError("The disk is full.")

        with pytest.raises(OSError, match="disk"):
            await open_client.stream("GET", server.url(), full, max_bytes=len(content))


async def test_a_cancelled_request_cuts_its_connection(open_client: OutboundClient) -> None:
    asked = asyncio.Event()

    async def begin(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        asked.set()

    async with canary(begin) as server:
        task = asyncio.ensure_future(open_client.request("GET", server.url()))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.is_cut.wait(), 60)


async def test_addresses_are_tried_one_after_the_other(open_client: OutboundClient, resolver: Resolver) -> None:
    guard = AddressGuard(allowed=["127.0.0.0/8"], ports=[], look_up=resolver.look_up)
    client = OutboundClient(guard)
    resolver.answers["two.example"] = [["127.0.0.3", "127.0.0.1"]]
    async with canary(saying(answer())) as server:
        assert (await client.request("GET", server.url(host="two.example"))).status == 200
        assert await failure(client.request("GET", f"http://127.0.0.3:{server.port}/")) == "not reached"
    await client.close()


async def test_certificates_are_checked(
    open_client: OutboundClient, resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path, "tls.example")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    resolver.answers |= {"tls.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
    async with canary(saying(answer()), tls) as server:
        for trusted in (False, True):
            url = f"https://tls.example:{server.port}/"
            assert await failure(open_client.request("GET", url, trusted=trusted)) == "not reached"
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        for host in ("tls.example", "127.0.0.1"):
            assert (await open_client.request("GET", f"https://{host}:{server.port}/")).body == b"hello"
        assert await failure(open_client.request("GET", f"https://other.example:{server.port}/")) == "not reached"
        assert len(server.requests) == 2


async def test_C06_a_name_server_that_never_answers_is_waited_for_no_longer(open_client: OutboundClient) -> None:
    async def never(host: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    client = OutboundClient(AddressGuard(look_up=never))
    assert await failure(client.request("GET", "https://example.org/", timeout=0.05)) == "timed out"
    await client.close()


async def test_C05_a_delegation_is_checked_like_any_address(open_client: OutboundClient, resolver: Resolver) -> None:
    resolver.answers |= {"behind.example": [["127.0.0.1"]], "inner.example": [["127.0.0.2"]]}
    url = "http://matrix.example:8448/x"
    async with canary(saying(answer())) as server:
        got = await open_client.request("GET", url, connect_to=("behind.example", server.port))
        assert (got.status, got.url) == (200, url)
        assert b"\r\nhost: matrix.example:8448\r\n" in server.requests[0].lower()
        for inner in (("inner.example", server.port), ("127.0.0.2", server.port), ("::1", server.port)):
            assert await failure(open_client.request("GET", url, connect_to=inner)) == "refused"
        assert server.connections == 1


async def test_a_server_without_outbound_reaches_nobody() -> None:
    assert await failure(NoOutbound().request("GET", "https://example.org/")) == "not reached"
    assert await failure(NoOutbound().stream("GET", "https://example.org/", print)) == "not reached"


async def test_only_so_many_connections_are_kept(open_client: OutboundClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with canary(saying(answer())) as server:
        for _ in range(2):
            await open_client.request("GET", server.url())
        assert server.connections == 1
        monkeypatch.setattr("homeserver.outbound.connections.KEPT_MAX", 0)
        for _ in range(2):
            await open_client.request("GET", server.url())
        assert b"connection: close" in server.requests[-1].lower()
        assert server.connections == 2


async def test_a_connection_is_cut_when_the_other_side_never_says_farewell(
    open_client: OutboundClient, resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path, "tls.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr("homeserver.outbound.connections.FAREWELL_SECONDS", 0.1)
    resolver.answers["tls.example"] = [["127.0.0.1"]]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            raw, _ = listening.accept()
            with tls.wrap_socket(raw, server_side=True) as connection:
                connection.recv(65_536)
                connection.sendall(answer(b"hello", "200 OK", "Connection: close"))
                done.wait(60)

        serving = asyncio.get_running_loop().run_in_executor(None, serve)
        url = f"https://tls.example:{listening.getsockname()[1]}/"
        assert (await open_client.request("GET", url)).body == b"hello"
        assert open_client._connections is not None
        try:
            async with asyncio.timeout(30):
                while open_client._connections._connected:  # noqa: ASYNC110 - the reactor tells nobody
                    await asyncio.sleep(0.01)
        finally:
            done.set()
            await serving
