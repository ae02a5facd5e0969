"""The server over real sockets: keep-alive, streams, uploads, TLS, unix sockets, WebSockets, cancellation, the end."""

from __future__ import annotations

import asyncio
import base64
import datetime
import os
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from homeserver.http.limits import DescriptorGuard
from homeserver.http.request import FileBody, Request, Response, StreamBody
from homeserver.http.routing import Auth, BodySize, Route
from homeserver.http.tls import TlsFiles
from tests.support.clock import FakeClock
from tests.support.http import SocketClient, read_answer
from tests.support.http_server import application, server, serving


async def echo(request: Request) -> Response:
    return Response({"method": request.method, "path": request.path, "size": len(request.body)})


ECHO = [Route(method, "/_matrix/echo/{name}", echo, Auth.NONE) for method in ("GET", "PUT", "POST", "DELETE")]


async def test_one_connection_serves_many_requests() -> None:
    async with serving(ECHO) as port, SocketClient(port) as client:
        streams = await client.open()
        for number in range(20):
            answer = await client.request("PUT", f"/_matrix/echo/{number}", json={"n": "x" * number})
            assert (answer.status, answer.json["path"]) == (200, f"/_matrix/echo/{number}")
            assert answer.headers["date"].endswith("GMT")
            assert "connection" not in answer.headers
        assert await client.open() == streams


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with serving(ECHO) as port, SocketClient(port) as client:
        get = await client.request("GET", "/_matrix/echo/x")
        head = await client.request("HEAD", "/_matrix/echo/x")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) == len(get.body) + 1  # "HEAD" is a letter longer
        assert (await client.request("GET", "/_matrix/echo/x")).status == 200


async def test_preflight_has_no_body_and_keeps_the_connection() -> None:
    async with serving(ECHO) as port, SocketClient(port) as client:
        answer = await client.request("OPTIONS", "/_matrix/echo/x")
        assert answer.status == 204
        assert "content-length" not in answer.headers
        assert (await client.request("GET", "/_matrix/echo/x")).status == 200


async def test_a_client_that_asks_for_it_is_closed_after_the_answer() -> None:
    async with serving(ECHO) as port:
        for version, headers in ((b"1.1", b"Host: a\r\nConnection: close\r\n"), (b"1.0", b"")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /_matrix/echo/x HTTP/" + version + b"\r\n" + headers + b"\r\n")
            answer = await read_answer(reader)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await reader.read() == b""
            writer.close()


async def test_expect_100_continue_is_answered_before_the_body() -> None:
    async with serving(ECHO) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT /_matrix/echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await read_answer(reader)).json["size"] == 2
        writer.close()


# -- streams and files


async def test_a_stream_is_sent_chunked_and_a_file_with_its_length() -> None:
    closed: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            for number in range(5):
                yield str(number).encode() * 1000
                await asyncio.sleep(0)
        finally:
            closed.append("stream")

    async def get_stream(request: Request) -> Response:
        return Response(StreamBody(chunks()), content_type="text/plain")

    async def get_file(request: Request) -> Response:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # the server closes it
        file.write(os.urandom(10) + b"x" * 3_000_000)
        file.seek(10)
        return Response(FileBody(file, 3_000_000), content_type="image/png")

    routes = [
        Route("GET", "/_matrix/stream", get_stream, Auth.NONE),
        Route("GET", "/_matrix/file", get_file, Auth.NONE),
    ]
    async with serving(routes) as port, SocketClient(port) as client:
        stream = await client.request("GET", "/_matrix/stream")
        assert stream.headers["transfer-encoding"] == "chunked"
        assert stream.body == b"".join(str(number).encode() * 1000 for number in range(5))
        file = await client.request("GET", "/_matrix/file")
        assert (file.headers["content-type"], file.body) == ("image/png", b"x" * 3_000_000)
        head = await client.request("HEAD", "/_matrix/file")
        assert head.headers["content-length"] == "3000000"
        assert (await client.request("HEAD", "/_matrix/stream")).body == b""
    assert closed[0] == "stream"


async def test_a_stream_waits_for_its_reader_and_ends_when_the_reader_goes() -> None:
    produced = 0
    ended = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal produced
        try:
            while True:
                produced += 100_000
                yield b"x" * 100_000
        finally:
            ended.set()

    async def get_stream(request: Request) -> Response:
        return Response(StreamBody(chunks()))

    async with serving([Route("GET", "/_matrix/stream", get_stream, Auth.NONE)]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET /_matrix/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while produced != before:  # until nothing more is made
            before = produced
            for _ in range(200):
                await asyncio.sleep(0)
        assert produced < 50_000_000
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 60)


async def test_a_large_upload_goes_to_a_file_and_a_larger_one_is_refused() -> None:
    seen: list[tuple[bool, int]] = []

    async def upload(request: Request) -> Response:
        seen.append((request.body_file is not None, len(request.open_body().read())))
        return Response({})

    app = application(
        [Route("POST", "/_matrix/up", upload, Auth.NONE, body=BodySize.UPLOAD)], upload_body_limit=2_000_000
    )
    async with server() as made:
        port = made.listen_tcp(app, "127.0.0.1", 0).port
        async with SocketClient(port) as client:
            for size in (10, 1_900_000):
                assert (await client.request("POST", "/_matrix/up", body=b"x" * size)).status == 200
            assert seen == [(False, 10), (True, 1_900_000)]
            answer = await client.request("POST", "/_matrix/up", body=b"x" * 2_000_001)
            assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")
            assert answer.headers["access-control-allow-origin"] == "*"
            chunk = b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000)
            reader, writer = await client.open()
            writer.write(b"POST /_matrix/up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 21)
            assert (await read_answer(reader)).status == 413
    assert len(seen) == 2


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent() -> None:
    async with serving(ECHO) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT /_matrix/echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await reader.read() == b""
        writer.close()


# -- who goes away


async def test_a_long_poll_is_cancelled_when_its_client_goes_away_and_a_write_is_not() -> None:
    started: asyncio.Queue[str] = asyncio.Queue()
    ended: asyncio.Queue[str] = asyncio.Queue()
    release = asyncio.Event()

    async def wait(request: Request) -> Response:
        started.put_nowait(request.method)
        try:
            await release.wait()
        except asyncio.CancelledError:
            ended.put_nowait(f"{request.method} cancelled")
            raise
        ended.put_nowait(f"{request.method} finished")
        return Response({})

    routes = [Route(method, "/_matrix/wait", wait, Auth.NONE) for method in ("GET", "PUT")]
    async with serving(routes) as port:
        for method, outcome in (("GET", "GET cancelled"), ("PUT", "PUT finished")):
            client = SocketClient(port)
            task = asyncio.create_task(client.request(method, "/_matrix/wait"))
            assert await asyncio.wait_for(started.get(), 60) == method
            task.cancel()
            _, writer = await client.open()
            writer.transport.abort()
            if method == "PUT":
                release.set()
            assert await asyncio.wait_for(ended.get(), 60) == outcome


async def test_shutting_down_wakes_polls_finishes_requests_and_refuses_new_ones() -> None:
    started: asyncio.Queue[None] = asyncio.Queue()
    woken, finish = asyncio.Event(), asyncio.Event()

    async def poll(request: Request) -> Response:
        started.put_nowait(None)
        await woken.wait()
        return Response({"next_batch": "s1"})

    async def write(request: Request) -> Response:
        started.put_nowait(None)
        await finish.wait()
        return Response({"written": True})

    async def hang(request: Request) -> Response:
        started.put_nowait(None)
        await asyncio.Event().wait()
        raise AssertionError

    routes = [
        Route("GET", "/_matrix/poll", poll, Auth.NONE),
        Route("PUT", "/_matrix/write", write, Auth.NONE),
        Route("GET", "/_matrix/hang", hang, Auth.NONE),
    ]
    async with server() as made:
        port = made.listen_tcp(application(routes), "127.0.0.1", 0).port
        idle = await asyncio.open_connection("127.0.0.1", port)
        clients = [SocketClient(port) for _ in range(3)]
        tasks = [
            asyncio.create_task(client.request(method, path))
            for client, (method, path) in zip(
                clients, [("GET", "/_matrix/poll"), ("PUT", "/_matrix/write"), ("GET", "/_matrix/hang")], strict=True
            )
        ]
        for _ in tasks:
            await asyncio.wait_for(started.get(), 60)

        def wake() -> None:
            woken.set()
            finish.set()

        await made.shut_down(0.3, wake=wake)
        poll_answer, write_answer, hang_answer = await asyncio.gather(*tasks)
        assert (poll_answer.status, poll_answer.headers["connection"]) == (200, "close")
        assert write_answer.json == {"written": True}
        assert hang_answer.status == 503
        assert await idle[0].read() == b""
        idle[1].close()
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", port)
        assert made.connections == 0


# -- other listeners


async def test_a_unix_socket_serves_too(tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    async with server() as made:
        made.listen_unix(application(ECHO), path)
        async with SocketClient(unix_path=path) as client:
            assert (await client.request("PUT", "/_matrix/echo/x", json={})).status == 200
        await made.shut_down(0.1)
        assert os.listdir(tmp_path) == [], "the socket is gone, and its lock"


def write_certificate(directory: Path, name: str) -> TlsFiles:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(str(directory / "chain.pem"), str(directory / "key.pem"))
    Path(files.certificate_chain).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    Path(files.private_key).write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def break_key(files: TlsFiles) -> None:
    Path(files.private_key).write_text("no key")


async def test_tls_serves_from_files_and_takes_a_renewed_certificate(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "first")
    async with server() as made:
        port = made.listen_tcp(application(ECHO), "127.0.0.1", 0, tls=files).port
        for name in ("first", "second"):
            if name == "second":
                write_certificate(tmp_path, name)
                made.reload_tls()
            async with SocketClient(port, tls=ssl.create_default_context(cafile=files.certificate_chain)) as client:
                answer = await client.request("PUT", "/_matrix/echo/x", body=b" " * 300_000)
                assert answer.json["size"] == 300_000
        break_key(files)
        made.reload_tls()  # keeps the second
        async with SocketClient(port, tls=ssl.create_default_context(cafile=files.certificate_chain)) as client:
            assert (await client.request("GET", "/_matrix/echo/x")).status == 200
            refused = await client.request("PUT", "/_matrix/echo/x", body=b"x", headers={"Content-Length": "99999999"})
            assert refused.status == 413
        with pytest.raises(ValueError, match="TLS cannot use"):
            made.listen_tcp(application(ECHO), "127.0.0.1", 0, tls=files)


async def test_a_websocket_takes_over_the_connection_on_its_path() -> None:
    from autobahn.twisted import websocket

    lost: asyncio.Queue[bool] = asyncio.Queue()
    autobahn: Any = websocket

    class EchoSocket(autobahn.WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload[::-1], isBinary)

        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            lost.put_nowait(wasClean)

    factory = autobahn.WebSocketServerFactory("ws://localhost")
    factory.protocol = EchoSocket
    factory.setProtocolOptions(closeHandshakeTimeout=0, openHandshakeTimeout=0)
    handshake = (
        b"GET /_halfdoor/socket?room=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n"
    )
    frame = b"\x81\x85\0\0\0\0hello"
    async with server() as made:
        port = made.listen_tcp(application(ECHO), "127.0.0.1", 0, websocket_routes={"/_halfdoor/socket": factory}).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake + frame)  # the first frame need not wait
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(7) == b"\x81\x05olleh"
        writer.write(frame)
        assert await reader.readexactly(7) == b"\x81\x05olleh"
        assert made.connections == 1
        writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
        assert await asyncio.wait_for(lost.get(), 60) is True
        writer.close()
        async with SocketClient(port) as client:
            elsewhere = await client.request(
                "GET", "/_matrix/echo/x", headers={"Upgrade": "websocket", "Connection": "Upgrade"}
            )
            assert elsewhere.status == 200


async def test_D20_without_file_descriptors_only_operators_are_let_in_until_there_are_some_again() -> None:
    clock = FakeClock()
    used = 50
    guard = DescriptorGuard(0.9, count=lambda: used, limit=lambda: 100)
    async with server(clock, guard=guard) as made:
        public = made.listen_tcp(application(ECHO), "127.0.0.1", 0)
        admin = made.listen_tcp(application(ECHO), "127.0.0.1", 0, is_essential=True)
        async with SocketClient(public.port) as first:
            assert (await first.request("GET", "/_matrix/echo/x")).status == 200
            used = 95
            await clock.advance(1)
            assert not public.is_accepting
            assert await (await first.open())[0].read() == b"", "what is idle is closed"
            waiting = SocketClient(public.port)
            request = asyncio.create_task(waiting.request("GET", "/_matrix/echo/x"))
            async with SocketClient(admin.port) as operator:
                assert (await operator.request("GET", "/_matrix/echo/x")).status == 200
            assert not request.done()
            used = 87
            await clock.advance(1)
            assert not public.is_accepting, "not before there is some room"
            used = 60
            await clock.advance(1)
            assert (await asyncio.wait_for(request, 60)).status == 200
            await waiting.close()


def test_D20_connections_of_one_second_are_counted_too() -> None:
    guard = DescriptorGuard(0.9, count=lambda: 80, limit=lambda: 100)
    assert [guard.opened() for _ in range(10)] == [False] * 9 + [True]
    for _ in range(6):
        guard.closed()
    assert guard.opened() is False
