"""Twisted's TCP and unix ports with one change to their connections: what is written is sent at once if the socket
takes it, instead of waiting for the reactor to say that it would. It spares two system calls and one turn a response.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, unix

# Twisted's own classes are only partly typed.
_TcpConnection: Any = tcp.Server
_UnixConnection: Any = unix.Server
_TcpPort: Any = tcp.Port
_UnixPort: Any = unix.Port


class _DirectWrite:
    """A mixin for `tcp.Server`. `sent` counts the bytes that the system took, so that slow readers can be told from
    those that do not read at all."""

    sent = 0

    def write(self: Any, data: bytes) -> None:
        if not self._tempDataLen and not self.dataBuffer and self.connected and not self._writeDisconnected and data:
            taken = self.writeSomeData(data)
            if isinstance(taken, int):  # an error comes again, and is handled, when the reactor writes
                if taken == len(data):
                    return
                data = data[taken:]
        super().write(data)  # type: ignore[misc]

    def writeSomeData(self, data: bytes) -> Any:
        taken: Any = super().writeSomeData(data)  # type: ignore[misc]
        if isinstance(taken, int):
            self.sent += taken
        return taken


class DirectTcpConnection(_DirectWrite, _TcpConnection):  # type: ignore[misc]
    """An accepted TCP connection."""


class DirectUnixConnection(_DirectWrite, _UnixConnection):  # type: ignore[misc]
    """An accepted connection over a unix socket."""


class DirectTcpPort(_TcpPort):  # type: ignore[misc]
    """A listening TCP socket. `startListening()` binds it."""

    transport = DirectTcpConnection


class DirectUnixPort(_UnixPort):  # type: ignore[misc]
    """A listening unix socket."""

    transport = DirectUnixConnection
