"""Connections to other servers, over Twisted; a Deferred is turned into a coroutine here and nowhere else.

An endpoint here resolves, checks and connects in one step (`AddressGuard.resolve`), so that no other way leads out. A
connection is kept some seconds for the next request to the same origin. Imported with the first request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet._sslverify import ClientTLSOptions  # what optionsForClientTLS gives, which shares nothing
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer  # type: ignore[import-untyped]

from homeserver.outbound.address_guard import AddressGuard
from homeserver.outbound.failures import OutboundFailed
from homeserver.outbound.targets import Target

CONNECT_SECONDS: Final = 10.0
KEPT_SECONDS: Final = 15
KEPT_PER_ORIGIN: Final = 4
KEPT_MAX: Final = 256
"""With so many connections the next one is not kept for a second request."""
REREAD_SECONDS: Final = 3600
FAREWELL_SECONDS: Final = 5
SKIPPED_MAX: Final = 64 * 1024
MAXIMUM_HEAD: Final = 128 * 1024
"""Bytes of a status line with its headers: Twisted's client bounds each line and not their number."""
_REPEATABLE: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_END_OF_HEAD = re.compile(rb"\n\r?\n")


class Connections:
    """Sends one request over a new or a kept connection. Trusted addresses have a pool of their own, so that nobody
    else's request goes over a connection that was not checked."""

    def __init__(self, guard: AddressGuard, own_reactor: Any = None) -> None:
        if own_reactor is None:
            from twisted.internet import reactor as installed

            own_reactor = installed
        self._guard = guard
        self._reactor = own_reactor
        self._pools = {trusted: self._pool() for trusted in (False, True)}
        self._tls = TrustedTls()
        self._connected: set[Any] = set()

    def _pool(self) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(self._reactor, persistent=True)  # type: ignore[no-untyped-call]
        pool.maxPersistentPerHost = KEPT_PER_ORIGIN
        pool.cachedConnectionTimeout = KEPT_SECONDS
        pool.retryAutomatically = False
        return pool

    async def send(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        trusted: bool,
        connect_to: tuple[str, int] | None = None,
    ) -> Exchange:
        """The status and headers of the answer have come when this returns. Raises OutboundFailed."""
        while True:
            pool = self._pools[trusted]
            way = _Way(self._reactor, self._guard, target, trusted, pool, connect_to, self._tls, self._connected)
            agent: Any = Agent.usingEndpointFactory(self._reactor, way, way)  # type: ignore[no-untyped-call]
            sent = Headers()
            for name, value in headers.items():
                sent.addRawHeader(name, value)
            producer = None if body is None else _Bytes(body)
            try:
                answered = agent.request(method.encode("ascii"), target.url.encode("ascii"), sent, producer)
                response = await answered.asFuture(asyncio.get_running_loop())
            except OutboundFailed:
                raise
            except Exception as error:  # Twisted has no common class for what can go wrong on the way
                if not way.is_new and method in _REPEATABLE:
                    continue  # the other side had closed the kept connection
                raise OutboundFailed("not reached", f"{target.host} cannot be asked ({_name_of(error)}).") from None
            except asyncio.CancelledError:
                way.abort()  # the answer may have begun in the same moment
                raise
            return Exchange(response, way)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for pool in self._pools.values():
            closing: Any = pool.closeCachedConnections()  # type: ignore[no-untyped-call]
            await closing.asFuture(loop)


class TrustedTls:
    """TLS with the authorities that the machine trusts, read once an hour: that costs milliseconds and a megabyte, as
    each connection would by itself. What is expected of a certificate is each connection's own affair."""

    def __init__(self) -> None:
        self._options: CertificateOptions | None = None
        self._made_of: tuple[str | None, str | None, int] | None = None

    def for_host(self, host: str) -> Any:
        """What a connection to `host` is made with."""
        hour = int(time.monotonic() // REREAD_SECONDS)
        made_of = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), hour)
        if self._options is None or self._made_of != made_of:
            self._options = CertificateOptions(trustRoot=platformTrust())  # type: ignore[no-untyped-call]
            self._made_of = made_of
        return ClientTLSOptions(self._options._makeTLSConnection, host)


class Exchange:
    """An answer whose body is still to be read, or given up."""

    def __init__(self, response: Any, way: _Way) -> None:
        self._response = response
        self._way = way
        self.status: int = response.code
        self.headers = {
            name.decode("latin-1").lower(): ", ".join(value.decode("utf-8", "replace") for value in values)
            for name, values in response.headers.getAllRawHeaders()
        }

    async def read(self, receive: Callable[[bytes], None], max_bytes: int) -> None:
        """Raises OutboundFailed, and whatever `receive` raises; the connection is then cut."""
        reader = _Reader(receive, self.headers.get("content-encoding", ""), max_bytes)
        self._response.deliverBody(reader)
        try:
            await reader.finished
        except BaseException:
            if not reader.is_over:  # then the connection may serve somebody else by now
                self._way.abort()
            raise

    async def skip(self) -> None:
        """Be done with a body that nobody wants."""
        with contextlib.suppress(OutboundFailed):
            await self.read(lambda data: None, SKIPPED_MAX)


@implementer(IAgentEndpointFactory)
class _Way:
    """How one request gets to its server; to Twisted's Agent, its endpoint factory and its pool."""

    def __init__(
        self,
        reactor: Any,
        guard: AddressGuard,
        target: Target,
        trusted: bool,
        pool: HTTPConnectionPool,
        connect_to: tuple[str, int] | None,
        tls: TrustedTls,
        connected: set[Any],
    ) -> None:
        self._reactor = reactor
        self._guard = guard
        self._target = target
        self._trusted = trusted
        self._pool = pool
        self._connect_to = connect_to or (target.host, target.port)
        self._tls = tls
        self._connected = connected
        self.persistent = len(connected) < KEPT_MAX
        self._connection: Any = None
        self._is_cut = False
        self.is_new = False

    def endpointForURI(self, uri: Any) -> _Endpoint:
        return _Endpoint(self._connect)

    def getConnection(self, key: Any, endpoint: Any) -> Any:
        got: Any = self._pool.getConnection((key, self._connect_to), endpoint)
        return got.addCallback(self._remember)

    def _remember(self, connection: Any) -> Any:
        self._connection = connection
        if self._is_cut:
            connection.abort()
        return connection

    def abort(self) -> None:
        """Cut the connection at once, whatever the other side still wants to say."""
        self._is_cut = True
        if self._connection is not None:
            self._connection.abort()

    async def _connect(self, factory: Any) -> Any:
        self.is_new = True
        target, loop = self._target, asyncio.get_running_loop()
        counted = _HeadLimits(factory, self._connected)
        failure: Exception = OSError("no address")
        host, port = self._connect_to
        for address in await self._guard.resolve(host, port, trusted=self._trusted):
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            endpoint: Any = kind(self._reactor, address, port, CONNECT_SECONDS)
            if target.scheme == "https":
                endpoint = wrapClientTLS(self._tls.for_host(target.host), endpoint)
            try:
                wrapper = await endpoint.connect(counted).asFuture(loop)
            except Exception as error:  # Twisted has no common class for this either
                failure = error
            else:
                return wrapper.wrappedProtocol
        raise failure


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """A coroutine as an endpoint."""

    def __init__(self, connect: Any) -> None:
        self._connect = connect

    def connect(self, factory: Any) -> Any:
        return Deferred.fromFuture(asyncio.ensure_future(self._connect(factory)))


class _HeadLimit(ProtocolWrapper):
    """Cuts a connection whose answer never gets to its body."""

    _left = MAXIMUM_HEAD
    _tail = b""
    _is_in_head = True
    _farewell: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        self._begin()
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: Any) -> None:
        self._begin()
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def _begin(self) -> None:
        self._left, self._tail, self._is_in_head = MAXIMUM_HEAD, b"", True

    def loseConnection(self) -> None:
        """TLS waits for the other side to say farewell too: not for ever."""
        super().loseConnection()  # type: ignore[no-untyped-call]
        if self._farewell is None:
            self._farewell = asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._cut)

    def connectionLost(self, reason: Any = None) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _cut(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        if self._is_in_head:
            seen = self._tail + data
            if _END_OF_HEAD.search(seen):
                self._is_in_head = False
            else:
                self._left -= len(data)
                self._tail = seen[-3:]
                if self._left < 0:
                    self.transport.abortConnection()  # type: ignore[union-attr]
                    return
        super().dataReceived(data)  # type: ignore[no-untyped-call]


class _HeadLimits(WrappingFactory[_HeadLimit]):
    protocol = _HeadLimit
    noisy = False

    def __init__(self, wrapped: Any, connected: set[Any]) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self._connected = connected

    def registerProtocol(self, p: Any) -> None:
        super().registerProtocol(p)  # type: ignore[no-untyped-call]
        self._connected.add(p)

    def unregisterProtocol(self, p: Any) -> None:
        super().unregisterProtocol(p)  # type: ignore[no-untyped-call]
        self._connected.discard(p)


@implementer(IBodyProducer)
class _Bytes:
    """A body that is in memory."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Any:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class _Reader(Protocol):
    """A body on its way in: decoded, bounded, handed on."""

    def __init__(self, receive: Callable[[bytes], None], encoding: str, max_bytes: int) -> None:
        self._receive = receive
        self._left = max_bytes
        self._wire_left = max_bytes + MAXIMUM_HEAD
        self.is_over = False
        self._has_begun = False
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inflate: Any = None
        if encoding.strip().lower() in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
        elif encoding.strip().lower() not in ("", "identity"):
            self._fail(OutboundFailed("not reached", "The answer's encoding was not asked for."))

    def dataReceived(self, data: bytes) -> None:
        if self.finished.done():
            return
        self._has_begun = True
        try:
            self._wire_left -= len(data)
            decoded = data if self._inflate is None else self._inflate.decompress(data, self._left + 1)
            self._left -= len(decoded)
            if self._left < 0 or self._wire_left < 0:
                raise OutboundFailed("too large", "The answer is larger than this server reads.")
            if decoded:
                self._receive(decoded)
        except zlib.error:
            self._fail(OutboundFailed("not reached", "The answer's encoding is broken."))
        except Exception as error:
            self._fail(error)

    def connectionLost(self, reason: Any = None) -> None:
        self.is_over = True
        if self.finished.done():
            return
        if reason.check(ResponseDone, PotentialDataLoss) and (self._inflate is None or self._is_decoded()):
            self.finished.set_result(None)
        else:
            self._fail(OutboundFailed("not reached", "The answer ended before its end."))

    def _is_decoded(self) -> bool:
        return bool(self._inflate.eof) or not self._has_begun

    def _fail(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)


def _name_of(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    return type(reasons[0].value if reasons else error).__name__
