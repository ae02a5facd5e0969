"""Files across servers: ours for them, theirs for us; never held in memory.

What comes is multipart/mixed with two parts: a JSON object, empty today, and the file, or the address where it is.

Spec: Server-Server API, "Content repository".
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any, BinaryIO, Final

import msgspec

from federation.client import FederationClient, RemoteFailed, RemoteRefused, encoded
from homeserver.http.parsing import query_bool, query_enum, query_int
from homeserver.http.request import Request, Response, StreamBody
from homeserver.media.file_names import content_disposition
from homeserver.media.remote import RemoteFile
from homeserver.media.services import MediaServices
from homeserver.media.thumbnail_maker import Method, Wanted
from homeserver.outbound.client import Outbound
from homeserver.outbound.failures import OutboundFailed
from homeserver.protocol.errors import MatrixError, NotFound, NotYetUploaded, RemoteTooLarge, Unrecognized
from homeserver.storage.media import Media

PIECE: Final = 64 * 1024
HEAD_MAX: Final = 16 * 1024
ENVELOPE_BYTES: Final = 64 * 1024
SIDE_MAX: Final = 4096
TIMEOUT_MAX_MS: Final = 60_000
_BOUNDARY: Final = re.compile(r'boundary="?([^";]{1,70})"?')


class FederationMedia:
    """Both sides; implements `homeserver.media.remote.RemoteMedia`."""

    def __init__(self, client: FederationClient, outbound: Outbound, media: MediaServices, own_name: str) -> None:
        self._client = client
        self._outbound = outbound
        self._media = media
        self._own_name = own_name

    # ---- their files

    async def download_media(
        self, server_name: str, media_id: str, into: BinaryIO, *, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        path = encoded("/_matrix/federation/v1/media/download/{}", media_id)
        with tempfile.TemporaryFile() as envelope:
            try:
                headers = await self._client.download(
                    server_name,
                    path,
                    {"timeout_ms": timeout_ms},
                    _writer(envelope),
                    max_bytes=max_bytes + ENVELOPE_BYTES,
                    timeout=timeout_ms / 1000 + 60,
                )
            except (OutboundFailed, RemoteFailed) as error:
                if not _is_unknown_there(error, envelope):
                    raise _as_answer(error, envelope) from error
                # "Servers MUST try the endpoints described below before falling back to the deprecated endpoints"
                return await self._download_of_old(server_name, media_id, into, max_bytes, timeout_ms)
            content_type = headers.get("content-type", "")
            head, start, end = _find_file(envelope, content_type)
            location = head.get("Location")
            if location is None:
                if end - start > max_bytes:
                    raise RemoteTooLarge("The file is larger than this server fetches.")
                _copy(envelope, start, end, into)
                return RemoteFile(head.get("Content-Type"), head.get_filename())
        try:
            answer = await self._outbound.stream(
                "GET", str(location), _writer(into), timeout=timeout_ms / 1000 + 60, max_bytes=max_bytes, redirects=3
            )
        except OutboundFailed as error:
            if error.kind == "too large":
                raise RemoteTooLarge("The file is larger than this server fetches.") from error
            raise NotFound("The file cannot be fetched from where its server keeps it.") from error
        if answer.status != 200:
            raise NotFound("The file cannot be fetched from where its server keeps it.")
        return RemoteFile(answer.headers.get("content-type"), head.get_filename() or _file_name(answer.headers))

    async def _download_of_old(
        self, server_name: str, media_id: str, into: BinaryIO, max_bytes: int, timeout_ms: int
    ) -> RemoteFile:
        """From a server that knows nothing of authenticated media."""
        path = encoded("/_matrix/media/v3/download/{}/{}", server_name, media_id)
        with tempfile.TemporaryFile() as answer:
            try:
                headers = await self._client.download(
                    server_name,
                    path,
                    {"allow_remote": "false", "timeout_ms": timeout_ms, "allow_redirect": "true"},
                    _writer(answer),
                    max_bytes=max_bytes,
                    timeout=timeout_ms / 1000 + 60,
                    is_signed=False,
                )
            except (OutboundFailed, RemoteFailed) as error:
                raise _as_answer(error, answer) from error
            _copy(answer, 0, answer.seek(0, 2), into)
        return RemoteFile(headers.get("content-type"), _file_name(headers))

    # ---- our files

    async def download(self, request: Request, origin: str, body: Any) -> Response:
        """`GET /media/download/{mediaId}`"""
        media = await self._readable(request)
        assert media.file_key is not None
        file = await self._media.run_in_thread(lambda: self._media.files.open(media.file_key or ""))
        return self._envelope(file, media.content_type, content_disposition(media.content_type, media.file_name))

    async def thumbnail(self, request: Request, origin: str, body: Any) -> Response:
        """`GET /media/thumbnail/{mediaId}`"""
        wanted = Wanted(
            width=query_int(request, "width", minimum=1, maximum=SIDE_MAX, clamp=True),
            height=query_int(request, "height", minimum=1, maximum=SIDE_MAX, clamp=True),
            method=query_enum(request, "method", Method.SCALE, Method).value,
            is_animated=query_bool(request, "animated", False),
        )
        file, _, content_type = await self._media.thumbnails.open(await self._readable(request), wanted)
        return self._envelope(file, content_type, content_disposition(content_type, None))

    async def _readable(self, request: Request) -> Media:
        timeout_ms = query_int(request, "timeout_ms", 20_000, maximum=TIMEOUT_MAX_MS, clamp=True)
        media_id = request.path_params["media_id"]
        return await self._media.access.get_readable("", self._own_name, media_id, timeout_ms)

    def _envelope(self, file: BinaryIO, content_type: str, disposition: str) -> Response:
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n"
            f"Content-Type: {content_type}\r\nContent-Disposition: {disposition}\r\n\r\n"
        ).encode("utf-8", "replace")
        chunks = self._chunks(head, file, f"\r\n--{boundary}--\r\n".encode())
        return Response(StreamBody(chunks), content_type=f"multipart/mixed; boundary={boundary}")

    async def _chunks(self, head: bytes, file: BinaryIO, tail: bytes) -> AsyncIterator[bytes]:
        with file:
            yield head
            while piece := await self._media.run_in_thread(lambda: file.read(PIECE)):
                yield piece
            yield tail


def _errcode(answer: BinaryIO) -> str:
    """Of an answer that is an error."""
    answer.seek(0)
    try:
        said = msgspec.json.decode(answer.read(ENVELOPE_BYTES))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return str(said.get("errcode", "")) if isinstance(said, dict) else ""


def _is_unknown_there(error: Exception, answer: BinaryIO) -> bool:
    return isinstance(error, RemoteRefused) and error.status == 404 and _errcode(answer) == Unrecognized.errcode


def _as_answer(error: Exception, answer: BinaryIO) -> MatrixError:
    """What a client is told when a file cannot be had."""
    if isinstance(error, OutboundFailed):
        if error.kind == "too large":
            return RemoteTooLarge("The file is larger than this server fetches.")
        return NotFound("The file's server cannot be reached.")
    errcode = _errcode(answer) if isinstance(error, RemoteRefused) else ""
    if errcode == NotYetUploaded.errcode:
        return NotYetUploaded("The file has not been uploaded yet.")
    if errcode == RemoteTooLarge.errcode:
        return RemoteTooLarge("The file is larger than its server hands out.")
    return NotFound("The file's server does not have it.")


def _file_name(headers: Mapping[str, str]) -> str | None:
    said = Message()
    said["Content-Disposition"] = headers.get("content-disposition", "")
    return said.get_filename()


def _find_file(envelope: BinaryIO, content_type: str) -> tuple[Message, int, int]:
    """(the head of the second part, where its content begins, and where it ends). Raises NotFound."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/mixed") or found is None:
        raise NotFound("The file's server answers in a form that is not understood.")
    marker = b"--" + found[1].encode()
    size = envelope.seek(0, 2)
    envelope.seek(0)
    begin = envelope.read(2 * HEAD_MAX)
    first = begin.find(marker)
    second = begin.find(b"\r\n" + marker, first + len(marker)) if first >= 0 else -1
    head_start = begin.find(b"\r\n", second + 2) + 2 if second >= 0 else -1
    head_end = begin.find(b"\r\n\r\n", head_start - 2) if head_start > 1 else -1
    if head_end < 0:
        raise NotFound("The file's server answers in a form that is not understood.")
    tail_from = max(size - len(marker) - 1024, head_end + 4)
    envelope.seek(tail_from - 2)
    tail = envelope.read()
    end = tail.rfind(b"\r\n" + marker + b"--")
    if end < 0:
        raise NotFound("The file ended before its end.")
    head = BytesHeaderParser().parsebytes(begin[head_start : head_end + 4])
    return head, head_end + 4, tail_from - 2 + end


def _copy(source: BinaryIO, start: int, end: int, into: BinaryIO) -> None:
    source.seek(start)
    left = end - start
    while left > 0:
        piece = source.read(min(PIECE, left))
        into.write(piece)
        left -= len(piece)


def _writer(into: BinaryIO) -> Any:
    def write(piece: bytes) -> None:
        into.write(piece)

    return write
