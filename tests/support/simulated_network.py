"""A network between simulated servers that delays, loses, repeats and reorders, and falls into parts.

A request, and its answer, each take their time; what is lost is noticed by the time-out alone. So a request may arrive
long after its sender has given it up and made another, or have been obeyed without anybody hearing of it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from homeserver.http.application import HttpApplication
from homeserver.outbound.client import OutboundAnswer, OutboundFailed
from tests.support.outbound import SentRequest
from tests.support.virtual_loop import Process


@dataclass
class NetworkWeather:
    """`delay`: seconds, on average, of a request or an answer; the others are the chance of each: that a request is
    lost, that its answer is, that it comes a second time later, and that it takes a hundred times as long."""

    delay: float = 0.02
    lost: float = 0.0
    unanswered: float = 0.0
    repeated: float = 0.0
    late: float = 0.0


class Host(Protocol):
    """A server as the network sees it."""

    process: Process
    is_up: bool
    federation_application: HttpApplication


class SimulatedNetwork:
    """Carries requests. `trace` is told of everything that arrives."""

    def __init__(self, chance: random.Random, trace: Callable[[str], None]) -> None:
        self.chance = chance
        self.weather = NetworkWeather()
        self.hosts: dict[str, Host] = {}
        self.parts: dict[str, int] = {}
        """Which part of a divided network a host is in."""
        self.under_way = 0
        self._trace = trace
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def carry(self, origin: str, process: Process, request: SentRequest) -> OutboundAnswer:
        """The answer to a request of a process. Raises OutboundFailed."""
        parts = urlsplit(request.url)
        if not process.alive or parts.netloc not in self.hosts or not parts.path.startswith("/_matrix/"):
            raise OutboundFailed("not reached", f"nobody is at {parts.netloc}")
        self._count += 1
        number = self._count
        answered: asyncio.Future[OutboundAnswer | None] = asyncio.get_running_loop().create_future()
        self._begin(self._travel(number, origin, request, answered, 0.0))
        if self.chance.random() < self.weather.repeated:
            again: asyncio.Future[OutboundAnswer | None] = asyncio.get_running_loop().create_future()
            self._begin(self._travel(number, origin, request, again, self.chance.random() * 60))
        try:
            async with asyncio.timeout(request.timeout):
                answer = await answered
        except TimeoutError:
            raise OutboundFailed("timed out") from None
        if answer is None or not process.alive:
            raise OutboundFailed("not reached")
        return answer

    def is_open(self, one: str, other: str) -> bool:
        """Whether two hosts are in the same part of the network."""
        return self.parts.get(one, 0) == self.parts.get(other, 0)

    def _begin(self, travel: Coroutine[Any, Any, None]) -> None:
        task = Process("network").spawn(travel)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _travel(
        self,
        number: int,
        origin: str,
        request: SentRequest,
        answered: asyncio.Future[OutboundAnswer | None],
        pause: float,
    ) -> None:
        self.under_way += 1
        try:
            answer = await self._exchange(number, origin, request, pause)
            if not answered.done():
                answered.set_result(answer)
        except _Lost:
            pass
        finally:
            self.under_way -= 1

    async def _exchange(self, number: int, origin: str, request: SentRequest, pause: float) -> OutboundAnswer | None:
        parts = urlsplit(request.url)
        await asyncio.sleep(pause + self._delay())
        if self.chance.random() < self.weather.lost:
            raise _Lost
        if not self.is_open(origin, parts.netloc):
            if self.chance.random() < 0.5:
                raise _Lost
            return None
        host = self.hosts[parts.netloc]
        if not host.is_up:
            return None
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._trace(f"{number} {origin} > {parts.netloc} {request.method} {parts.path}")
        reply = await host.process.run(
            host.federation_application.respond(request.method, target, headers, request.body or b"", "192.0.2.1")
        )
        if reply is None:
            return None
        assert isinstance(reply.body, bytes)
        self._trace(f"{number} {origin} < {parts.netloc} {reply.status}")
        await asyncio.sleep(self._delay())
        if self.chance.random() < self.weather.unanswered or not self.is_open(origin, parts.netloc):
            raise _Lost
        return OutboundAnswer(reply.status, {name.lower(): value for name, value in reply.headers}, reply.body)

    def _delay(self) -> float:
        delay = self.chance.expovariate(1.0) * self.weather.delay
        return delay * 100 if self.chance.random() < self.weather.late else delay


class _Lost(Exception):
    """Nobody will hear of it."""
