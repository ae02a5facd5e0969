"""What media need of other servers. `NoRemoteMedia` answers when federation is off; `federation/` when it is on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol

from homeserver.protocol.errors import NotFound


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What another server says of a file."""

    content_type: str | None
    file_name: str | None


class RemoteMedia(Protocol):
    """Other servers, as far as their files are asked for."""

    async def download_media(
        self, server_name: str, media_id: str, into: BinaryIO, *, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        """Write the file into `into`. Raises NotFound (also when the server cannot be reached), NotYetUploaded (it was
        promised, and did not come in `timeout_ms` milliseconds), RemoteTooLarge (above `max_bytes`)."""
        ...


class NoRemoteMedia:
    """This server alone: no other server exists."""

    async def download_media(
        self, server_name: str, media_id: str, into: BinaryIO, *, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        raise NotFound("This server does not fetch media of other servers.")
