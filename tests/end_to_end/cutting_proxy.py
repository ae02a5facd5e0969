"""A TCP proxy in front of a server, whose connections a test can cut at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65536


class CuttingProxy:
    """Forwards connections to `host`, an address of this machine, to a port of 127.0.0.1 until `cut()` resets all of
    them; new ones are taken at once.

    With `hold=True`, `cut()` also refuses new connections until `resume()`.
    """

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self._target_port = target_port
        self._host = host
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._refusing = False
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://{self._host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._connections:
            await asyncio.wait(set(self._connections))

    def cut(self, *, hold: bool = False) -> int:
        """Reset every connection; how many there were."""
        self._refusing = hold
        for connection in self._connections:
            connection.cancel()
        return len(self._connections)

    def resume(self) -> None:
        """Take connections again."""
        self._refusing = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if not self._refusing:
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # cut, or one side went away; the other is reset below
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            pumps = [
                asyncio.create_task(_pump(reader, upstream_writer)),
                asyncio.create_task(_pump(upstream_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            upstream_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
