"""The HTTP server: listens, counts its connections, gives them deadlines, and ends gracefully.

server = HttpServer(reactor, clock, settings)
listening = server.listen_tcp(application, "127.0.0.1", 8008)
…
await server.shut_down(grace=10)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from twisted.internet import defer
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory

from homeserver.clock import Clock, Timer
from homeserver.http.application import HttpApplication
from homeserver.http.channel import HttpChannel, Phase, host_of
from homeserver.http.client_address import UNIX_PEER
from homeserver.http.head import HeadWriter
from homeserver.http.limits import ConnectionSettings, DescriptorGuard, address_key
from homeserver.http.tls import TlsContext, TlsFiles
from homeserver.http.transports import DirectTcpPort, DirectUnixPort

_log = logging.getLogger("homeserver.http")


_SWEEP_SECONDS: Final = 1.0
_BACKLOG: Final = 1024


class WebSocketFactory(Protocol):
    """What Autobahn's `WebSocketServerFactory` is to this server."""

    def buildProtocol(self, address: IAddress) -> Any: ...


class ChannelFactory(ServerFactory):
    """Makes the connections of one listener."""

    noisy = False

    def __init__(
        self,
        server: HttpServer,
        application: HttpApplication,
        websocket_routes: Mapping[str, WebSocketFactory],
        *,
        is_essential: bool,
    ) -> None:
        self.server = server
        self.application = application
        self.websocket_routes = websocket_routes
        self.is_essential = is_essential
        self.channels: set[HttpChannel] = set()

    def buildProtocol(self, addr: IAddress) -> HttpChannel | None:  # type: ignore[override]
        """None closes the connection at once."""
        return HttpChannel(self) if self.server.may_accept(self, host_of(addr)) else None

    def opened(self, channel: HttpChannel) -> None:
        self.channels.add(channel)
        self.server.opened(self, channel)

    def closed(self, channel: HttpChannel) -> None:
        self.channels.discard(channel)
        self.server.closed(channel)


class Listening:
    """One listener."""

    def __init__(self, port: Any, factory: ChannelFactory, tls: TlsContext | None) -> None:
        self._port = port
        self.factory = factory
        self.tls = tls
        self.is_accepting = True
        self._is_stopped = False

    @property
    def port(self) -> int:
        """The TCP port, also where port 0 asked for a free one."""
        return int(self._port.getHost().port)

    def pause(self) -> None:
        if self.is_accepting:
            self.is_accepting = False
            self._port.stopReading()

    def resume(self) -> None:
        if not self.is_accepting and not self._is_stopped:
            self.is_accepting = True
            self._port.startReading()

    async def stop(self) -> None:
        """Stop listening; connections that are open stay."""
        self.is_accepting = False
        self._is_stopped = True
        stopped = self._port.stopListening()
        if stopped is not None:
            await defer.maybeDeferred(lambda: stopped).asFuture(asyncio.get_running_loop())


class HttpServer:
    """All listeners of this process. Made on the loop that the reactor runs on."""

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        settings: ConnectionSettings | None = None,
        *,
        guard: DescriptorGuard | None = None,
    ) -> None:
        self.reactor = reactor
        self.clock = clock
        self.settings = settings or ConnectionSettings()
        self.loop = asyncio.get_running_loop()
        self.heads = HeadWriter()
        self.in_flight: dict[asyncio.Task[None] | None, HttpChannel] = {}
        self.is_draining = False
        self._guard = guard or DescriptorGuard(self.settings.max_fd_share)
        self._listening: list[Listening] = []
        self._addresses: Counter[str] = Counter()
        self._all_closed = asyncio.Event()
        self._sweep_timer: Timer = clock.call_later(_SWEEP_SECONDS, self._sweep)

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(len(listening.factory.channels) for listening in self._listening)

    # -- listening

    def listen_tcp(
        self,
        application: HttpApplication,
        host: str,
        port: int,
        *,
        tls: TlsFiles | None = None,
        websocket_routes: Mapping[str, WebSocketFactory] | None = None,
        is_essential: bool = False,
    ) -> Listening:
        """Listen on an address (`::` for all of IPv6 and IPv4, `0.0.0.0` for all of IPv4). `is_essential` keeps it
        open when file descriptors run out: for operators. Raises CannotListenError, ValueError for bad TLS files."""
        factory = ChannelFactory(self, application, websocket_routes or {}, is_essential=is_essential)
        context = None if tls is None else TlsContext(tls)
        wrapped: Any = factory
        if context is not None:
            from twisted.protocols.tls import TLSMemoryBIOFactory

            made: Any = TLSMemoryBIOFactory  # its types want interfaces that mypy cannot see
            wrapped = made(context, False, factory)
            wrapped.noisy = False
        twisted_port = DirectTcpPort(port, wrapped, _BACKLOG, host, self.reactor)
        twisted_port.startListening()
        return self._add(Listening(twisted_port, factory, context))

    def listen_unix(
        self,
        application: HttpApplication,
        path: str,
        *,
        mode: int = 0o660,
        websocket_routes: Mapping[str, WebSocketFactory] | None = None,
        is_essential: bool = False,
    ) -> Listening:
        """Listen on a unix socket; a socket that a dead process left there is replaced. Raises CannotListenError."""
        factory = ChannelFactory(self, application, websocket_routes or {}, is_essential=is_essential)
        twisted_port = DirectUnixPort(path.encode(), factory, _BACKLOG, mode, self.reactor, 1)
        twisted_port.startListening()
        return self._add(Listening(twisted_port, factory, None))

    def _add(self, listening: Listening) -> Listening:
        self._listening.append(listening)
        return listening

    def reload_tls(self) -> None:
        """Read all certificates again, as on SIGHUP. A listener whose files are bad keeps what it has, and says so."""
        for listening in self._listening:
            if listening.tls is not None:
                try:
                    listening.tls.reload()
                except ValueError as error:
                    _log.error("The old certificate stays in use: %s", error)

    # -- connections

    def may_accept(self, factory: ChannelFactory, host: str) -> bool:
        """Whether one more connection from `host` is taken."""
        if self.is_draining:
            return False
        if not factory.is_essential and self._guard.opened():
            self._stop_accepting()
            self._guard.closed()
            return False
        if self._counts(factory, host) and self._addresses[address_key(host)] >= (
            self.settings.max_connections_per_address
        ):
            self._guard.closed()
            return False
        return True

    def opened(self, factory: ChannelFactory, channel: HttpChannel) -> None:
        if self._counts(factory, channel.peer):
            channel.counted_as = address_key(channel.peer)
            self._addresses[channel.counted_as] += 1

    def closed(self, channel: HttpChannel) -> None:
        self._guard.closed()
        key = channel.counted_as
        if key:
            self._addresses[key] -= 1
            if not self._addresses[key]:
                del self._addresses[key]
        if self.is_draining and not self._channels():
            self._all_closed.set()

    def _counts(self, factory: ChannelFactory, host: str) -> bool:
        """A proxy speaks for many people; its own limits are its own."""
        return host != UNIX_PEER and not factory.application.proxies.is_proxy(host)

    def _stop_accepting(self) -> None:
        paused = [each for each in self._listening if each.is_accepting and not each.factory.is_essential]
        if paused:
            _log.error("File descriptors are running out: new connections wait until some are closed.")
        for listening in paused:
            listening.pause()

    def _sweep(self) -> None:
        """Once a second: deadlines, and the file descriptors."""
        self._sweep_timer = self.clock.call_later(_SWEEP_SECONDS, self._sweep)
        now = self.clock.monotonic()
        for listening in self._listening:
            for channel in [each for each in listening.factory.channels if now >= each.next_deadline]:
                channel.check_deadline(now)
        if self._guard.check():
            self._stop_accepting()
            for listening in self._listening:
                for channel in [each for each in listening.factory.channels if each.phase is Phase.IDLE]:
                    channel.close()
        elif not self.is_draining:
            for listening in self._listening:
                listening.resume()

    # -- the end

    async def shut_down(self, grace: float = 10.0, *, wake: Callable[[], None] | None = None) -> None:
        """Stop accepting, close what is idle, call `wake` (so that long polls answer), wait up to `grace` seconds for
        requests in flight, then end those that remain: handlers that may be cancelled answer 503."""
        self.is_draining = True
        for listening in self._listening:
            await listening.stop()
        for channel in self._channels():
            if channel.phase in (Phase.IDLE, Phase.HEAD):
                channel.close()
        if wake is not None:
            wake()
        await self._wait_for_flights(grace)
        for task, channel in list(self.in_flight.items()):
            if task is not None and channel.may_cancel():
                task.cancel()
        await self._wait_for_flights(min(grace, 1.0))
        for channel in self._channels():
            channel.close()
        await self._wait_until_closed(min(grace, 1.0))
        for channel in self._channels():
            channel.abort()
        await self._wait_until_closed(1.0)
        self._sweep_timer.cancel()

    def _channels(self) -> list[HttpChannel]:
        return [channel for listening in self._listening for channel in listening.factory.channels]

    async def _wait_for_flights(self, seconds: float) -> None:
        tasks = [task for task in self.in_flight if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _wait_until_closed(self, seconds: float) -> None:
        self._all_closed.clear()
        if self._channels():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), seconds)
