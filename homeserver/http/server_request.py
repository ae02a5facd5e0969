"""One request while the channel reads it, and the small part of Twisted's request class that is left of it."""

from __future__ import annotations

import asyncio
import tempfile
from typing import IO, TYPE_CHECKING, Any, Final

from twisted.python.failure import Failure
from twisted.web import http

from homeserver.protocol.errors import TooLarge

if TYPE_CHECKING:
    from homeserver.http.channel import HttpChannel

_SPOOL_ABOVE: Final = 256 * 1024

_TwistedRequest: Any = http.Request  # not typed


class ServerRequest(_TwistedRequest):  # type: ignore[misc]
    """One request as the channel reads it. Only what `HTTPChannel` calls is kept of Twisted's class."""

    def __init__(self, channel: HttpChannel, queued: object = None) -> None:
        # Not calling super: it makes two Headers objects and a dozen attributes that nobody here reads.
        self.channel: HttpChannel = channel
        self.headers: dict[str, str] = {}
        self.method = b""
        self.target = ""
        self.version = b""
        self.limit = 0
        self.spools = False
        self.size = 0
        self.parts: list[bytes] = []
        self.file: IO[bytes] | None = None
        self.task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ServerRequest {self.method!r} {self.target.partition('?')[0]!r}>"

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        self.size += len(data)
        if self.size > self.limit:
            self.drop_body()
            self.channel.refuse(TooLarge(f"The body is larger than {self.limit} bytes."))
            return
        if self.file is not None:
            self.file.write(data)
            return
        self.parts.append(data)
        if self.spools and self.size > _SPOOL_ABOVE:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by drop_body
            self.file.writelines(self.parts)
            self.parts.clear()
        elif len(self.parts) > 1000:
            self.parts = [b"".join(self.parts)]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it is there. Twisted would parse the body as a form here (row D01)."""
        self.method, self.version = command, version
        self.channel.begin(self)

    def connectionLost(self, reason: Failure) -> None:
        """The client went away: stop the handler where that is safe, and forget the body."""
        task = self.task
        if task is not None and self.channel.is_cancellable(self):
            task.cancel()
        elif task is None:
            self.drop_body()

    def drop_body(self) -> None:
        self.parts = []
        if self.file is not None:
            self.file.close()
            self.file = None
