"""Files over HTTP. Spec: Client-Server API, "Content repository"."""

from __future__ import annotations

from typing import BinaryIO, Final

from homeserver.http.parsing import query_bool, query_enum, query_int, query_string
from homeserver.http.ranges import NotSatisfiable, find_range
from homeserver.http.request import FileBody, Request, Response
from homeserver.media.file_names import clean_file_name, content_disposition
from homeserver.media.file_store import file_errors
from homeserver.media.services import MediaServices
from homeserver.media.thumbnail_maker import Method, Wanted
from homeserver.media.uploads import Upload
from homeserver.protocol.errors import NotFound
from homeserver.storage.media import Media

_TIMEOUT_MS: Final = 20_000
_TIMEOUT_MAX_MS: Final = 60_000
_SIDE_MAX: Final = 4096

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
    "style-src 'unsafe-inline'; object-src 'self';",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=86400",
}
"""On every file: what somebody uploaded must never run, nor be kept by a shared cache (rows E02 and E10)."""


class MediaApi:
    """/_matrix/media and /_matrix/client/v1/media."""

    def __init__(self, media: MediaServices) -> None:
        self._media = media

    async def upload(self, request: Request) -> Response:
        media = await self._media.uploads.add(request.user, _upload_of(request))
        return Response({"content_uri": _uri(media)})

    async def create(self, request: Request) -> Response:
        media = await self._media.uploads.create(request.user)
        return Response({"content_uri": _uri(media), "unused_expires_at": media.expires_ms})

    async def upload_to(self, request: Request) -> Response:
        server_name, media_id = request.path_params["server_name"], request.path_params["media_id"]
        await self._media.uploads.add_to(request.user, server_name, media_id, _upload_of(request))
        return Response({})

    async def get_config(self, request: Request) -> Response:
        return Response({"m.upload.size": self._media.uploads.limits.upload_bytes})

    async def download(self, request: Request) -> Response:
        media = await self._readable(request)
        name = clean_file_name(request.path_params.get("file_name")) or media.file_name
        headers = {
            **SECURITY_HEADERS,
            "Content-Disposition": content_disposition(media.content_type, name),
            "Accept-Ranges": "bytes",
            "ETag": f'"{media.sha256}"',
        }
        if _is_known(request.headers.get("if-none-match"), headers["ETag"]):
            return Response(b"", status=304, headers=headers, content_type=media.content_type)
        asked = request.headers.get("range") if request.method == "GET" else None
        if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
            asked = None
        try:
            part = find_range(asked, media.size)
        except NotSatisfiable:
            error = {"errcode": "M_INVALID_PARAM", "error": f"The file has {media.size} bytes; there are none there."}
            return Response(error, 416, {"Content-Range": f"bytes */{media.size}"})
        assert media.file_key is not None
        start, length = (0, media.size) if part is None else (part.start, part.length)
        file = await self._open(media.file_key, start, length)
        if part is None:
            return Response(FileBody(file, media.size), headers=headers, content_type=media.content_type)
        headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{media.size}"
        return Response(FileBody(file, part.length), 206, headers, media.content_type)

    async def get_thumbnail(self, request: Request) -> Response:
        wanted = Wanted(
            width=query_int(request, "width", minimum=1, maximum=_SIDE_MAX, clamp=True),
            height=query_int(request, "height", minimum=1, maximum=_SIDE_MAX, clamp=True),
            method=query_enum(request, "method", Method.SCALE, Method).value,
            is_animated=query_bool(request, "animated", False),
        )
        media = await self._readable(request)
        file, size, content_type = await self._media.thumbnails.open(media, wanted)
        name = f"thumbnail.{content_type.removeprefix('image/')}"
        headers = {**SECURITY_HEADERS, "Content-Disposition": content_disposition(content_type, name)}
        return Response(FileBody(file, size), headers=headers, content_type=content_type)

    async def get_preview(self, request: Request) -> Response:
        """`ts`, the moment that a client prefers, may be answered with a newer preview, which is all there is."""
        query_int(request, "ts", 0)
        return Response(await self._media.previews.preview(query_string(request, "url")))

    async def get_frozen(self, request: Request) -> Response:
        """The paths without authentication: all media here was stored after they were frozen (row E03).

        "This endpoint MAY return 404 M_NOT_FOUND for media which exists, but is after the server froze unauthenticated
        media access" (v1.11)."""
        raise NotFound("Media of this server needs authentication: it is at /_matrix/client/v1/media.")

    async def _readable(self, request: Request) -> Media:
        """What the request is for. Everything that serves bytes comes through here (row E06)."""
        timeout_ms = query_int(request, "timeout_ms", _TIMEOUT_MS, maximum=_TIMEOUT_MAX_MS, clamp=True)
        params = request.path_params
        return await self._media.access.get_readable(
            request.user.user_id, params["server_name"], params["media_id"], timeout_ms
        )

    async def _open(self, key: str, start: int, length: int) -> BinaryIO:
        with file_errors():
            return await self._media.run_in_thread(lambda: self._media.files.open_part(key, start, length))


def _upload_of(request: Request) -> Upload:
    names = request.query.get("filename", [])
    file = request.open_body()
    size = file.seek(0, 2)
    file.seek(0)
    return Upload(file, size, request.headers.get("content-type"), names[0] if names else None)


def _uri(media: Media) -> str:
    return f"mxc://{media.server_name}/{media.media_id}"


def _is_known(header: str | None, tag: str) -> bool:
    return header is not None and any(each.strip().removeprefix("W/") in (tag, "*") for each in header.split(","))
