"""How many requests a second the load generator makes of a server that does nothing: it must be far from the limit."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from benchmarks.person import Person
from benchmarks.servers import SERVER_CORE
from benchmarks.work import rate

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"event_id":"$abcd"}'


class Nothing(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)


def serve(port: Connection) -> None:
    os.sched_setaffinity(0, {SERVER_CORE})

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Nothing, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


async def requests_a_second() -> float:
    """Sends a second of 16 writers to a server that does nothing."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    try:
        people = [Person(await asyncio.to_thread(ours.recv), "", "token")]
        people += [people[0].second_connection() for _ in range(15)]
        return await rate([lambda person=person: person.send("!room", "text") for person in people], 2)  # type: ignore[misc]
    finally:
        process.terminate()
        process.join()
