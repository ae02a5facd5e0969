"""What the server must refuse on the wire: forms (D01), smuggling (D02), compressed bodies (D04), slow ones (D05)."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route
from tests.http.smuggling_corpus import ACCEPTED, LAST, REFUSED
from tests.support.clock import FakeClock, settle
from tests.support.http import Answer, SocketClient, read_answer
from tests.support.http_server import application, server, serving

handled: list[str] = []


async def echo(request: Request) -> Response:
    handled.append(request.path)
    return Response({"path": request.path, "body": request.body.decode("latin-1")})


ROUTES = [Route(method, "/{name}", echo, Auth.NONE) for method in ("GET", "PUT", "POST")]


async def read_all(reader: asyncio.StreamReader) -> list[Answer]:
    """Every answer until the server closes."""
    answers = []
    while True:
        try:
            answers.append(await asyncio.wait_for(read_answer(reader), 60))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return answers


# -- D01

BOUNDARY = "multipart/form-data; boundary=x"


@pytest.mark.parametrize("spelling", [BOUNDARY, BOUNDARY.upper(), "MultiPart/Form-Data;boundary=x", f" {BOUNDARY}"])
async def test_D01_a_form_is_refused_before_its_gigabyte_is_read(spelling: str) -> None:
    handled.clear()
    piece = b"x" * 65536
    async with serving(ROUTES) as port:
        before = resident_bytes()
        for framing in (b"Content-Length: 1073741824", b"Transfer-Encoding: chunked"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = b"POST /form HTTP/1.1\r\nHost: a\r\n" + framing + f"\r\nContent-Type: {spelling}\r\n\r\n".encode()
            writer.write(head)
            answer = await read_answer(reader)
            assert (answer.status, answer.json["errcode"]) == (415, "M_NOT_JSON")
            try:
                for _ in range(16384):
                    writer.write(piece)
                    await writer.drain()
            except OSError:
                pass
            else:
                raise AssertionError("the server read a gigabyte")
            writer.transport.abort()
        assert resident_bytes() - before < 10_000_000
    assert handled == []


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_D01_an_urlencoded_form_is_only_bytes() -> None:
    async with serving(ROUTES) as port, SocketClient(port) as client:
        answer = await client.request(
            "POST", "/x", body=b"a=1&b=2", headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert answer.json["body"] == "a=1&b=2"


# -- D02: every answer matches its request, and nothing hidden in a body is ever answered


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])
async def test_D02_what_could_be_read_in_two_ways_is_refused_and_hides_nothing(is_slow: bool) -> None:
    assert len(REFUSED) + len(ACCEPTED) >= 100
    async with serving(ROUTES) as port:
        for raw in REFUSED:
            handled.clear()
            answers = await play(port, raw + LAST, is_slow)
            assert [answer.status for answer in answers] == [400], repr(raw)
            assert answers[0].headers["connection"] == "close"
            assert answers[0].json["error"].endswith("."), answers[0].json
            assert handled == [], repr(raw)


@pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])
async def test_D02_every_answer_matches_its_request(is_slow: bool) -> None:
    async with serving(ROUTES) as port:
        for raw, expected in ACCEPTED:
            answers = await play(port, raw + LAST, is_slow)
            assert [(answer.json["path"], answer.json["body"]) for answer in answers] == [*expected, ("/last", "")], raw


async def play(port: int, raw: str, is_slow: bool) -> list[Answer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = (
        raw.encode("latin-1", "replace")
        if raw.isascii()
        else raw.encode("utf-8" if "١" in raw else "latin-1", "replace")
    )
    try:
        if is_slow and len(data) < 1000:
            for number in range(len(data)):
                writer.write(data[number : number + 1])
                await asyncio.sleep(0)
        else:
            writer.write(data)
        return await read_all(reader)
    finally:
        writer.transport.abort()


async def test_D02_slow_answers_keep_the_order_of_their_requests() -> None:
    gates = {f"/{number}": asyncio.Event() for number in range(5)}

    async def wait(request: Request) -> Response:
        await gates[request.path].wait()
        return Response({"path": request.path})

    async with serving([Route("GET", "/{name}", wait, Auth.NONE)]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(5)))
        for number in reversed(range(5)):
            gates[f"/{number}"].set()
            await settle()
        assert [(await read_answer(reader)).json["path"] for _ in range(5)] == [f"/{number}" for number in range(5)]
        writer.close()


async def test_D02_what_is_sent_ahead_is_held_back_beyond_a_bound() -> None:
    release = asyncio.Event()

    async def wait(request: Request) -> Response:
        await release.wait()
        return Response({})

    async with server() as made:
        port = made.listen_tcp(application([Route("GET", "/x", wait, Auth.NONE)]), "127.0.0.1", 0).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        request = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
        writer.write(request * 10_000)
        for _ in range(500):
            await asyncio.sleep(0)
        (channel,) = made._channels()
        assert sum(map(len, channel._dataBuffer)) < 200_000
        release.set()
        for _ in range(10_000):
            assert (await read_answer(reader)).status == 200
        writer.close()


async def test_D02_a_chunk_that_is_announced_too_large_is_refused_before_it_comes() -> None:
    async with serving(ROUTES) as port:
        for size in (b"100001", b"f" * 20, b"0" * 900 + b"fffffff"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nx")
            assert [answer.status for answer in await read_all(reader)] == [413]
            writer.close()


async def test_D04_a_compressed_body_is_never_unpacked() -> None:
    async with serving(ROUTES) as port, SocketClient(port) as client:
        answer = await client.request("PUT", "/x", body=b"\x1f\x8bxyz", headers={"Content-Encoding": "gzip"})
        assert answer.json["body"] == "\x1f\x8bxyz"


# -- D05


async def test_D05_slowloris_is_cut_off_and_does_not_hold_up_others() -> None:
    clock = FakeClock()
    async with serving(ROUTES, clock=clock, header_timeout=15) as port:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        for _, writer in slow:
            writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n")
        async with SocketClient(port) as client:
            for number in range(16):
                assert (await client.request("GET", "/good")).status == 200
                for _, writer in slow:
                    writer.write(b"X-%d: y\r\n" % number)
                await clock.advance(1)
                await settle()
            for reader, _ in slow:
                assert [answer.status for answer in await read_all(reader)] == [408]
            assert (await client.request("GET", "/good")).status == 200
        for _, writer in slow:
            writer.close()


async def test_D05_a_connection_that_says_nothing_is_closed() -> None:
    clock = FakeClock()
    async with serving(ROUTES, clock=clock, header_timeout=15, idle_timeout=75) as port:
        silent = await asyncio.open_connection("127.0.0.1", port)
        async with SocketClient(port) as client:
            await client.request("GET", "/x")
            await clock.advance(17)
            assert await asyncio.wait_for(silent[0].read(), 60) == b""
            assert (await client.request("GET", "/x")).status == 200
            await clock.advance(77)
            assert await asyncio.wait_for((await client.open())[0].read(), 60) == b""
        silent[1].close()


async def test_D05_a_slow_body_is_cut_off_by_its_rate_and_by_its_pauses() -> None:
    clock = FakeClock()
    async with serving(ROUTES, clock=clock, body_grace=10, body_rate=1000) as port:
        head = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
        pausing = await asyncio.open_connection("127.0.0.1", port)
        dripping = await asyncio.open_connection("127.0.0.1", port)
        steady = await asyncio.open_connection("127.0.0.1", port)
        for _, writer in (pausing, dripping, steady):
            writer.write(head)
        for second in range(100):
            await settle(50)
            await clock.advance(1)
            steady[1].write(b"x" * 1000)
            if second < 9:
                dripping[1].write(b"x")
        assert [answer.status for answer in await read_all(pausing[0])] == [408]
        assert [answer.status for answer in await read_all(dripping[0])] == [408]
        assert (await read_answer(steady[0])).status == 200
        for _, writer in (pausing, dripping, steady):
            writer.close()


async def test_D05_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    clock = FakeClock()

    async def large(request: Request) -> Response:
        return Response(b"x" * 20_000_000)

    async with server(clock, write_timeout=60) as made:
        port = made.listen_tcp(application([Route("GET", "/x", large, Auth.NONE)]), "127.0.0.1", 0).port
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(200):
            await asyncio.sleep(0)
        assert made.connections == 1
        await clock.advance(122)  # in the first minute the system itself still took something
        await settle(50)
        assert made.connections == 0
        writer.transport.abort()


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(101)),
        b"X: " + b"y" * 17_000 + b"\r\n",
        b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(20)),
    ],
    ids=["too many headers", "one too large", "too large together"],
)
async def test_D05_a_flood_of_headers_is_refused(head: bytes) -> None:
    async with serving(ROUTES) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n")
        assert [answer.status for answer in await read_all(reader)] == [400]
        writer.close()


async def test_D05_a_target_without_end_is_refused() -> None:
    async with serving(ROUTES) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /" + b"x" * 20_000)
        assert [answer.status for answer in await read_all(reader)] == [400]
        writer.close()


async def test_D05_one_address_may_have_so_many_connections() -> None:
    async with serving(ROUTES, max_connections_per_address=3) as port:
        clients = [SocketClient(port) for _ in range(3)]
        for client in clients:
            assert (await client.request("GET", "/x")).status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        await clients.pop().close()
        await settle(50)
        async with SocketClient(port) as client:
            assert (await client.request("GET", "/x")).status == 200
        for client in clients:
            await client.close()
