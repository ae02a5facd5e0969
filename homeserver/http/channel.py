"""One connection: Twisted's HTTP/1.1 channel with our limits, our strictness, and a request that is never a resource.

Twisted reads the framing (lines, Content-Length, chunks). What it would do with the result is replaced: headers go into
a plain dict, forms are never parsed (row D01), what may not come is refused before its body (rows D01, D05), deadlines
are one number that the server looks at every second, and an answer is written in one piece.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web import http

from homeserver.http.application import HttpApplication, Reply
from homeserver.http.client_address import UNIX_PEER
from homeserver.http.head import BadHead, parse_headers, parse_request_line
from homeserver.http.sending import chunks_of, dispose
from homeserver.http.server_request import ServerRequest
from homeserver.protocol.errors import MatrixError, TooLarge, Unavailable, Unknown

if TYPE_CHECKING:
    from homeserver.http.twisted_server import ChannelFactory

_log = logging.getLogger("homeserver.http")

# Twisted's channel is not typed; what is used of it is declared below.
_TwistedChannel: Any = http.HTTPChannel

_NEVER = math.inf


class Phase(enum.Enum):
    """What a connection is doing, and so which deadline it has."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWERING = "answering"
    LINGERING = "lingering"  # refused: the rest is read and thrown away, so that the client sees the refusal
    CLOSING = "closing"
    UPGRADED = "upgraded"


class HttpChannel(_TwistedChannel):  # type: ignore[misc]
    """One connection. `phase` and `deadline` (seconds of the server's monotonic clock) are read by its sweeper."""

    requestFactory = ServerRequest
    timeOut = None  # Twisted's own timeouts make a timer a request; ours are one number
    requests: list[ServerRequest]
    transport: Any
    persistent: bool
    length: int | None
    _dataBuffer: list[bytes]
    line_mode: int
    _buffer: bytes

    def __init__(self, factory: ChannelFactory) -> None:
        super().__init__()
        self.server = factory.server
        self.listener = factory
        self.application: HttpApplication = factory.application
        self.maxHeaders = self.server.settings.max_headers
        self.totalHeadersSize = self.MAX_LENGTH = self.server.settings.max_header_bytes
        self.peer = ""
        self.phase = Phase.IDLE
        self.deadline = _NEVER
        self.write_deadline = _NEVER
        self._body_started = 0.0
        self._buffered = 0
        self._header_lines = b""
        self._lingered = 0
        self._is_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._upgraded: Any = None
        self._sent_when_paused = 0
        self.counted_as = ""
        self.is_open = False

    @property
    def next_deadline(self) -> float:
        return min(self.deadline, self.write_deadline)

    # -- connection

    def connectionMade(self) -> None:
        super().connectionMade()
        self.peer = host_of(self.transport.getPeer())
        self.is_open = True
        self.deadline = self.server.clock.monotonic() + self.server.settings.header_timeout
        self.listener.opened(self)

    def connectionLost(self, reason: Failure) -> None:
        self.is_open = False
        self.listener.closed(self)
        if self._upgraded is not None:
            self._upgraded.connectionLost(reason)
            return
        super().connectionLost(reason)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def check_deadline(self, now: float) -> None:
        """Called every second. A connection that ran out of time is closed; one that does not even close, aborted."""
        if now < self.deadline and self._reads_its_answer(now):
            return
        if self.phase in (Phase.CLOSING, Phase.LINGERING) or now >= self.write_deadline:
            self.abort()
        elif self.phase in (Phase.HEAD, Phase.BODY):
            self.answer_and_close(408, Unknown("The request did not come in time."))
        else:
            self.close()

    def _reads_its_answer(self, now: float) -> bool:
        """Whether a client with a full buffer took something since it was last looked at."""
        if now < self.write_deadline:
            return True
        sent = self._sent()
        if sent - self._sent_when_paused < self.server.settings.body_rate * self.server.settings.write_timeout:
            return False
        self._sent_when_paused = sent
        self.write_deadline = now + self.server.settings.write_timeout
        return True

    def _sent(self) -> int:
        """Bytes that the system took for this connection (of the TCP connection beneath, with TLS)."""
        return int(getattr(getattr(self.transport, "transport", self.transport), "sent", 0))

    def close(self) -> None:
        """Close after what was written is sent."""
        if self.is_open and self.phase is not Phase.CLOSING:
            self.phase = Phase.CLOSING
            self.deadline = self.server.clock.monotonic() + self.server.settings.linger_timeout
            self.loseConnection()

    def abort(self) -> None:
        if self.is_open:
            self.transport.abortConnection()

    # -- reading

    def dataReceived(self, data: bytes) -> None:
        phase = self.phase
        if phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self.deadline = self.server.clock.monotonic() + self.server.settings.header_timeout
        elif phase is Phase.UPGRADED:
            self._upgraded.dataReceived(data)
            return
        elif phase is Phase.LINGERING:
            self._lingered += len(data)
            if self._lingered > self.server.settings.linger_limit:
                self.abort()
            return
        elif phase is Phase.CLOSING:
            return
        if phase is Phase.IDLE and self.line_mode and not self._buffer and self._take_whole_head(data):
            return
        # Past HTTPChannel's own dataReceived, which only resets Twisted's timeout.
        super(_TwistedChannel, self).dataReceived(data)

    def _take_whole_head(self, data: bytes) -> bool:
        """The usual case, where a request's head comes in one piece: the same steps as Twisted's line by line reading
        takes, without its searching and copying for every line. False when the head is not complete."""
        end = data.find(b"\r\n\r\n")
        if end <= 0 or end > self.totalHeadersSize or data.startswith(b"\r\n"):
            return False
        first, _, lines = data[: end + 2].partition(b"\r\n")
        parsed = parse_request_line(first)
        if parsed is None:
            self.bad_request("The first line is not that of an HTTP/1.1 request.")
            return True
        self._command, self._path, self._version = parsed
        self.requests.append(ServerRequest(self))
        if not self._take_headers(lines):
            return True
        self.allHeadersReceived()
        rest = data[end + 4 :]
        if self.length == 0:
            if rest:
                self._dataBuffer.append(rest)
            self.allContentReceived()
        else:
            self.setRawMode()
            if rest:
                self.rawDataReceived(rest)
        return True

    def lineReceived(self, line: bytes) -> None:
        if self.phase is Phase.HEAD:
            if line[:1] in (b" ", b"\t"):
                self.bad_request("A header line begins with a blank.")
                return
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.bad_request("The head of the request is too large.")

    def headerReceived(self, line: bytes) -> bool:
        """Twisted gives one line at a time; they are kept as they are until the head is whole."""
        self._header_lines += line + b"\r\n"
        return True

    def _take_headers(self, lines: bytes) -> bool:
        """Header lines into the request, and the framing of its body out of them. False when it was refused."""
        if lines.count(b"\n") > self.maxHeaders:
            self.bad_request(f"A request may have at most {self.maxHeaders} headers.")
            return False
        try:
            headers = self.requests[-1].headers = parse_headers(lines)
        except BadHead as error:
            self.bad_request(str(error))
            return False
        if "content-length" in headers:
            length = headers["content-length"].encode("latin-1")
            if len(length) > 15:
                self.bad_request("The Content-Length is not a length.")
                return False
            if not self._maybeChooseTransferDecoder(b"Content-Length", length):
                return False
        if "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked" or self._version != b"HTTP/1.1":
                self.bad_request("The only Transfer-Encoding that is taken is chunked, in HTTP/1.1.")
                return False
            if not self._maybeChooseTransferDecoder(b"Transfer-Encoding", b"chunked"):
                return False
        return True

    def allHeadersReceived(self) -> None:
        """Refuse what may not come before its body is read; otherwise say how the body is taken."""
        if self._header_lines:
            lines, self._header_lines = self._header_lines, b""
            if not self._take_headers(lines):
                return
        request = self.requests[-1]
        request.method, request.version = self._command, self._version
        request.target = self._path.decode("latin-1")
        headers = request.headers
        self.persistent = self._version == b"HTTP/1.1" and not self.server.is_draining
        if "connection" in headers and "close" in headers["connection"].lower():
            self.persistent = False
        if not request.target.isascii():
            self.bad_request("The target of a request is ASCII; encode other characters with %.")
            return
        if "host" not in headers and self._version == b"HTTP/1.1":
            self.bad_request("An HTTP/1.1 request needs a Host header.")
            return
        length = self.length
        if length == 0:
            return
        if "content-type" in headers and "multipart/form-data" in headers["content-type"].lower():
            self.refuse_with(self.application.refuse_form())
            return
        if length is not None and length <= self.application.small_body:
            request.limit = length
        else:
            plan = self.application.body_plan(self._command.decode("latin-1"), request.target)
            request.limit, request.spools = plan.limit, plan.spools
        if length is not None and length > request.limit:
            self.refuse(TooLarge(f"The body is larger than {request.limit} bytes."))
            return
        self.phase = Phase.BODY
        now = self._body_started = self.server.clock.monotonic()
        self.deadline = now + self.server.settings.body_grace
        if headers.get("expect", "").lower() == "100-continue" and self._version == b"HTTP/1.1":
            self._send100Continue()

    def rawDataReceived(self, data: bytes) -> None:
        if self.phase is Phase.BODY:
            request = self.requests[-1]
            settings = self.server.settings
            try:
                self._transferDecoder.dataReceived(data)
            except http._MalformedChunkedDataError:
                self.bad_request("The chunked body is malformed.")
                return
            decoder = self._transferDecoder
            if (
                self.length is None
                and decoder is not None
                and request.size + getattr(decoder, "length", 0) > request.limit
            ):
                self.refuse(TooLarge(f"The body is larger than {request.limit} bytes."))
            if self.phase is Phase.BODY:
                now = self.server.clock.monotonic()
                whole = self._body_started + settings.body_grace + request.size / settings.body_rate
                self.deadline = min(now + settings.body_grace, whole)
        elif self.phase is Phase.ANSWERING:
            # The next request, before this one is answered: kept up to a bound, then the client is made to wait.
            self._dataBuffer.append(data)
            self._buffered += len(data)
            if self._buffered > self._optimisticEagerReadSize and not self._is_paused:
                self._is_paused = True
                self._networkProducer.pauseProducing()

    # -- answering

    def begin(self, request: ServerRequest) -> None:
        """A whole request is there."""
        if self.phase not in (Phase.HEAD, Phase.BODY):
            return  # refused meanwhile
        self.phase = Phase.ANSWERING
        self.deadline = _NEVER
        self._buffered = sum(map(len, self._dataBuffer))
        if "upgrade" in request.headers and self._upgrade(request):
            return
        task = self.server.loop.create_task(self._answer(request))
        request.task = task
        self.server.in_flight[task] = self

    async def _answer(self, request: ServerRequest) -> None:
        is_head = request.method == b"HEAD"
        reply: Reply | None = None
        try:
            file = request.file
            if file is not None:
                file.seek(0)
            reply = await self.application.respond(
                request.method.decode("latin-1"),
                request.target,
                request.headers,
                b"".join(request.parts),
                self.peer,
                body_file=cast("BinaryIO | None", file),
            )
            if self.is_open:
                await self._send(reply, request.version, is_head)
        except asyncio.CancelledError:
            if not self.is_open or not self.server.is_draining:
                raise
            self.persistent = False
            refusal = self.application.refuse(Unavailable("The server is shutting down."), request.target)
            await self._send(refusal, request.version, is_head)
        except Exception:
            _log.exception("Could not send an answer")
            self.abort()
        finally:
            self.server.in_flight.pop(request.task, None)
            request.drop_body()
            if reply is not None and not isinstance(reply.body, bytes):
                await dispose(reply.body)
        self._done()

    async def _send(self, reply: Reply, version: bytes, is_head: bool) -> None:
        if self.server.is_draining:
            self.persistent = False
        framing = "" if self.persistent else "Connection: close\r\n"
        body = reply.body
        now_ms = self.server.clock.now_ms()
        if isinstance(body, bytes):
            if reply.status not in (204, 304):
                framing = f"Content-Length: {len(body)}\r\n{framing}"
            head = self.server.heads.head(reply.status, reply.headers, framing, now_ms)
            self.transport.write(head if is_head else head + body)
            return
        length = body.length
        is_chunked = length is None and version == b"HTTP/1.1"
        if is_chunked:
            framing = f"Transfer-Encoding: chunked\r\n{framing}"
        elif length is None:
            self.persistent = False
        else:
            framing = f"Content-Length: {length}\r\n{framing}"
        self.transport.write(self.server.heads.head(reply.status, reply.headers, framing, now_ms))
        if is_head:
            return
        sent = 0
        async for chunk in chunks_of(body):
            if chunk:
                sent += len(chunk)
                self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if is_chunked else chunk)
                if self._waitingForTransport:
                    await self._drain()
            if not self.is_open:
                return
        if is_chunked:
            self.transport.write(b"0\r\n\r\n")
        elif length is not None and sent != length:
            _log.error("A body of %d bytes was announced and %d came", length, sent)
            self.abort()

    def _done(self) -> None:
        """The answer is written: take the next request, or close."""
        if not self.is_open:
            return
        self.requests.clear()
        if not self.persistent:
            self.close()
            return
        self.phase = Phase.IDLE
        self.deadline = self.server.clock.monotonic() + self.server.settings.idle_timeout
        self._handlingRequest = False
        if self._is_paused:
            self._is_paused = False
            if not self._waitingForTransport:
                self._networkProducer.resumeProducing()
        rest = b"".join(self._dataBuffer)
        self._dataBuffer = []
        self._buffered = 0
        self.setLineMode(rest)

    def may_cancel(self) -> bool:
        """Whether the request that is being answered may be broken off."""
        return bool(self.requests) and self.is_cancellable(self.requests[0])

    def is_cancellable(self, request: ServerRequest) -> bool:
        return self.application.is_cancellable(request.method.decode("latin-1"), request.target)

    # -- refusing

    def bad_request(self, text: str) -> None:
        self.answer_and_close(400, Unknown(text))

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Twisted calls this for whatever its own parser does not take."""
        self.bad_request("The request is not proper HTTP/1.1.")

    def refuse(self, error: MatrixError) -> None:
        self.refuse_with(self.application.refuse(error))

    def answer_and_close(self, status: int, error: MatrixError) -> None:
        reply = self.application.refuse(error)
        reply.status = status
        self.refuse_with(reply)

    def refuse_with(self, reply: Reply) -> None:
        """Answer now, take nothing more, and close when the client has had time to read it."""
        if not self.is_open or self.phase not in (Phase.IDLE, Phase.HEAD, Phase.BODY):
            return
        for request in self.requests:
            request.drop_body()
        assert isinstance(reply.body, bytes)
        self.persistent = False
        self.length = None
        self.phase = Phase.LINGERING
        self.deadline = self.server.clock.monotonic() + self.server.settings.linger_timeout
        framing = f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n"
        self.transport.write(
            self.server.heads.head(reply.status, reply.headers, framing, self.server.clock.now_ms()) + reply.body
        )
        self.setRawMode()
        self._networkProducer.unregisterProducer()
        half_close = getattr(self.transport, "loseWriteConnection", None)
        if half_close is None or self.isSecure():
            self.close()
        else:
            half_close()

    # -- flow control: the transport tells when its buffer is full and when it is empty

    def pauseProducing(self) -> None:
        self.write_deadline = self.server.clock.monotonic() + self.server.settings.write_timeout
        self._sent_when_paused = self._sent()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self.write_deadline = _NEVER
        super().resumeProducing()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def _drain(self) -> None:
        self._drained = self.server.loop.create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    # -- upgrading

    def _upgrade(self, request: ServerRequest) -> bool:
        """Hand the connection to a WebSocket factory, if one has this path. Autobahn wants to read the request itself,
        so it is given again; everything later goes straight to it."""
        if request.method != b"GET" or request.headers["upgrade"].lower() != "websocket":
            return False
        factory = self.listener.websocket_routes.get(request.target.partition("?")[0])
        if factory is None:
            return False
        protocol = factory.buildProtocol(self.transport.getPeer())
        if protocol is None:
            return False
        self.phase = Phase.UPGRADED
        self._upgraded = cast(IProtocol, protocol)
        self.requests.clear()
        self._networkProducer.unregisterProducer()
        head = f"GET {request.target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in request.headers.items())
        rest = b"".join(self._dataBuffer) + self.clearLineBuffer()
        self._dataBuffer = []
        protocol.makeConnection(self.transport)
        protocol.dataReceived(head.encode("latin-1") + b"\r\n" + rest)
        return True


def host_of(peer: Any) -> str:
    """The address of a peer in the spelling that limits and logs use; "unix" for a unix socket."""
    host = getattr(peer, "host", None)
    if host is None:
        return UNIX_PEER
    text = str(host)
    return text.removeprefix("::ffff:") if text.startswith("::ffff:") and "." in text else text.partition("%")[0]
