"""/sync over a connection that stays open: the same deltas, pushed. docs/sync_over_websocket.md says what goes over it.

One delta at a time is on its way. The next one is worked out when the client has acknowledged the last, from the place
that it acknowledged; so whoever reads slowly gets one bigger delta and never a queue, and what the server holds for a
client is no more than that one. An acknowledgement is to /sync what coming back with a token is. Knows no sockets:
`Wire` is what it needs of one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec

from homeserver.clock import Clock, Timer
from homeserver.notifier import Notifier
from homeserver.protocol import strict_json
from homeserver.protocol.errors import (
    BadJson,
    LimitExceeded,
    MatrixError,
    MissingToken,
    NotJson,
    Unavailable,
    UnknownToken,
    UserLocked,
)
from homeserver.protocol.filters import DEFAULT_FILTER, Filter, parse_filter
from homeserver.rooms.tokens import StreamToken
from homeserver.sync.request import SyncRequest
from homeserver.sync.sync import Sync
from homeserver.users.authentication import Authentication
from homeserver.users.filters import Filters
from homeserver.users.presence import State
from homeserver.users.requester import Requester

_log = logging.getLogger("homeserver.sync")

PATH: Final = "/_matrix/client/unstable/org.halfdoor.sync_ws"
FEATURE: Final = "org.halfdoor.sync_ws"
LARGEST_FRAME: Final = 65_536
"""Bytes of a frame from a client."""

GOING_AWAY: Final = 1001
FAILED: Final = 1011
TRY_AGAIN_LATER: Final = 1013
BAD_FRAME: Final = 4400
NOT_LET_IN: Final = 4401
TOO_SLOW: Final = 4408
TOO_MANY: Final = 4429

_NO_NEWS: Final = ("next_batch", "device_one_time_keys_count", "device_unused_fallback_key_types")
"""How the names end of what is in every answer."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Seconds and numbers. `hello_seconds`: until the first frame must be there; `acknowledge_seconds`: until a delta
    must be acknowledged; `frames`: from one client in `frames_seconds`."""

    per_user: int = 20
    strangers_per_address: int = 20
    hello_seconds: float = 10.0
    heartbeat_seconds: float = 30.0
    acknowledge_seconds: float = 90.0
    frames: int = 200
    frames_seconds: float = 10.0


class Wire(Protocol):
    """One connection."""

    def send(self, frame: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class Frame(msgspec.Struct, frozen=True):
    """What clients send. Types that are not known are passed over."""

    type: str
    token: str | None = None
    since: str | None = None
    filter: str | dict[str, Any] | None = None
    set_presence: Literal["online", "unavailable", "offline"] = "online"
    full_state: bool = False
    use_state_after: bool = False
    number: int = 0


class SyncSockets:
    """All open connections."""

    def __init__(
        self,
        *,
        sync: Sync,
        authentication: Authentication,
        filters: Filters,
        notifier: Notifier,
        clock: Clock,
        limits: SocketLimits | None = None,
    ) -> None:
        self.sync = sync
        self.authentication = authentication
        self.filters = filters
        self.notifier = notifier
        self.clock = clock
        self.limits = limits or SocketLimits()
        self._open: set[SyncSocket] = set()
        self._of_user: dict[str, set[SyncSocket]] = {}
        self._strangers: Counter[str] = Counter()
        self._checks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.deltas = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._open)

    def is_stopping(self) -> bool:
        """Whether nobody should wait any more."""
        return self._is_closed or self.notifier.closed

    def may_open(self, address: str) -> bool:
        """Whether somebody at an address, who has not said yet who they are, may connect."""
        if self.is_stopping() or self._strangers[address] >= self.limits.strangers_per_address:
            self.refused += 1
            return False
        return True

    def open(self, wire: Wire, *, token: str | None, address: str, user_agent: str) -> SyncSocket:
        """A new connection. `token`: as the handshake had it."""
        socket = SyncSocket(self, wire, token, address, user_agent)
        self._open.add(socket)
        self._strangers[address] += 1
        socket.start()
        return socket

    def enter(self, socket: SyncSocket, user_id: str) -> None:
        """The connection is a user's. Raises LimitExceeded."""
        self._no_stranger(socket)
        theirs = self._of_user.setdefault(user_id, set())
        if len(theirs) >= self.limits.per_user:
            self.refused += 1
            raise LimitExceeded(f"There may be {self.limits.per_user} connections of one user.", retry_after_ms=60_000)
        theirs.add(socket)
        socket.user_id = user_id

    def leave(self, socket: SyncSocket) -> None:
        """The connection is gone."""
        self._open.discard(socket)
        self._no_stranger(socket)
        if socket.user_id is not None:
            theirs = self._of_user.get(socket.user_id, set())
            theirs.discard(socket)
            if not theirs:
                self._of_user.pop(socket.user_id, None)

    def tokens_changed(self, user_id: str | None) -> None:
        """Something about a user's tokens changed (None: of anybody's): whose is gone is told so at once."""
        for socket in list(self._open if user_id is None else self._of_user.get(user_id, ())):
            task = asyncio.ensure_future(socket.check())
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    async def close(self) -> None:
        """The server stops: everybody is told to come back, and where they were."""
        self._is_closed = True
        sockets = list(self._open)
        for socket in sockets:
            socket.end(GOING_AWAY, "the server is stopping")
        for socket in sockets:
            await socket.ended()

    def _no_stranger(self, socket: SyncSocket) -> None:
        if socket.is_stranger:
            socket.is_stranger = False
            self._strangers[socket.address] -= 1
            if self._strangers[socket.address] <= 0:
                del self._strangers[socket.address]


class SyncSocket:
    """One connection: hello, then deltas and their acknowledgements."""

    def __init__(self, sockets: SyncSockets, wire: Wire, token: str | None, address: str, user_agent: str) -> None:
        self._sockets = sockets
        self._wire = wire
        self._token = token
        self.address = address
        self._user_agent = user_agent
        self.user_id: str | None = None
        self.is_stranger = True
        self._hello: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._acknowledged: asyncio.Future[None] | None = None
        self._number = 0
        self._presence: State = "online"
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._is_over = False
        self._frames = 0
        self._frames_since = sockets.clock.monotonic()

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    # ---- what comes in

    def offer(self, data: bytes) -> None:
        """A text frame of the client."""
        if self._is_over:
            return
        if not self._may_speak():
            self.end(TOO_MANY, "too many frames")
            return
        try:
            frame = msgspec.convert(strict_json.decode(data), Frame, strict=True)
        except (NotJson, BadJson, msgspec.ValidationError):
            self.end(BAD_FRAME, "not a frame of this protocol")
            return
        if frame.type == "hello":
            if self._hello.done():
                self.end(BAD_FRAME, "a second hello")
            else:
                self._hello.set_result(frame)
        elif frame.type == "ack":
            if self._acknowledged is None or self._acknowledged.done() or frame.number != self._number:
                self.end(BAD_FRAME, "nothing of that number waits for an acknowledgement")
            else:
                self._acknowledged.set_result(None)
        elif frame.type == "presence":
            self._presence = frame.set_presence

    def closed(self) -> None:
        """The connection is lost."""
        self._is_over = True
        self._sockets.leave(self)
        if self._task is not None:
            self._task.cancel()

    async def check(self) -> None:
        """Whether the token is still good; the end if not."""
        if self.user_id is None or self._is_over:
            return
        try:
            await self._verify()
        except MatrixError as error:
            self._refuse(error)

    async def ended(self) -> None:
        """Wait until nothing runs any more."""
        if self._task is not None:
            await asyncio.wait([self._task])

    # ---- what goes out

    async def _run(self) -> None:
        try:
            await self._serve()
        except MatrixError as error:
            self._refuse(error)
        except asyncio.CancelledError:
            if not self._is_over:
                raise
        except Exception:
            _log.exception("A sync over WebSocket failed")
            self.end(FAILED, "something went wrong inside the server")
        finally:
            self._stop_timer()
            self._sockets.leave(self)

    async def _serve(self) -> None:
        limits = self._sockets.limits
        self._end_in(limits.hello_seconds, "no hello")
        hello = await self._hello
        self._stop_timer()
        if hello.token is not None:
            self._token = hello.token
        requester = await self._verify()
        self._sockets.enter(self, requester.user_id)
        self._presence = hello.set_presence
        wanted = await self._filter(hello, requester)
        since = StreamToken.parse(hello.since) if hello.since else None
        heartbeat_ms = int(limits.heartbeat_seconds * 1000)
        self._send(
            {
                "type": "welcome",
                "user_id": requester.user_id,
                "device_id": requester.device_id,
                "heartbeat_ms": heartbeat_ms,
            }
        )
        is_first = True
        while not self._sockets.is_stopping():
            body = await self._sockets.sync.sync(
                SyncRequest(
                    requester,
                    filter=wanted,
                    since=since,
                    full_state=is_first and hello.full_state,
                    use_state_after=hello.use_state_after,
                    timeout_ms=heartbeat_ms,
                    set_presence=self._presence,
                    is_pushed=True,
                )
            )
            requester = await self._verify()
            if self._sockets.is_stopping():
                break
            if since is None or not all(name.endswith(_NO_NEWS) for name in body):
                await self._deliver(body)
            else:
                self._send({"type": "heartbeat", "next_batch": body["next_batch"]})
            since, is_first = StreamToken.parse(body["next_batch"]), False
        self.end(GOING_AWAY, "the server is stopping")

    async def _deliver(self, body: dict[str, Any]) -> None:
        """Send a delta, and wait until the client has it."""
        self._number += 1
        self._sockets.deltas += 1
        self._acknowledged = asyncio.get_running_loop().create_future()
        self._send({"type": "sync", "number": self._number, "body": body})
        self._end_in(self._sockets.limits.acknowledge_seconds, "no acknowledgement")
        await self._acknowledged
        self._stop_timer()

    async def _verify(self) -> Requester:
        """Raises MissingToken, UnknownToken, UserLocked, Forbidden."""
        if not self._token:
            raise MissingToken("The hello needs an access token.")
        return await self._sockets.authentication.verify_token(
            self._token, address=self.address, user_agent=self._user_agent
        )

    async def _filter(self, hello: Frame, requester: Requester) -> Filter:
        if not hello.filter:
            return DEFAULT_FILTER
        if isinstance(hello.filter, dict):
            return parse_filter(hello.filter)
        return await self._sockets.filters.parsed_filter(requester.user_id, hello.filter)

    def _send(self, frame: dict[str, Any]) -> None:
        if not self._is_over:
            self._wire.send(_encode(frame))

    def _refuse(self, error: MatrixError) -> None:
        """Say what is wrong, and close."""
        self._send({"type": "error", **error.body()})
        codes = ((LimitExceeded, TOO_MANY), (Unavailable, TRY_AGAIN_LATER), (BadJson, BAD_FRAME))
        code = next((code for kind, code in codes if isinstance(error, kind)), None)
        if code is None:
            code = BAD_FRAME if self.user_id is not None and not isinstance(error, _TOKENS) else NOT_LET_IN
        self.end(code, error.errcode)

    def end(self, code: int, reason: str) -> None:
        """Close from this side."""
        if not self._is_over:
            self._is_over = True
            self._wire.close(code, reason)
            self._sockets.leave(self)
            if self._task is not None and self._task is not asyncio.current_task():
                self._task.cancel()

    def _end_in(self, seconds: float, reason: str) -> None:
        self._timer = self._sockets.clock.call_later(seconds, lambda: self.end(TOO_SLOW, reason))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _may_speak(self) -> bool:
        now, limits = self._sockets.clock.monotonic(), self._sockets.limits
        if now - self._frames_since > limits.frames_seconds:
            self._frames, self._frames_since = 0, now
        self._frames += 1
        return self._frames <= limits.frames


_TOKENS = (UnknownToken, MissingToken, UserLocked)
