"""The index of the Client-Server API, continued: files."""

from __future__ import annotations

from dataclasses import replace

from homeserver.client_api.media import MediaApi
from homeserver.http.routing import Auth, BodySize, RateClass, Route
from homeserver.media.services import MediaServices

NONE, USER, GUEST = Auth.NONE, Auth.USER, Auth.GUEST
READ, UPLOAD, MEDIA_CREATE = RateClass.READ, RateClass.UPLOAD, RateClass.MEDIA_CREATE
PREVIEW = RateClass.PREVIEW
FILE = BodySize.UPLOAD


def media_routes(media: MediaServices) -> list[Route]:
    """What stands on media/. The paths that ask nobody for a token are frozen."""
    api = MediaApi(media)
    v1, v3, old = "/_matrix/client/v1/media", "/_matrix/media/v3", ("/_matrix/media/r0", "/_matrix/media/v1")
    one = "/{server_name}/{media_id}"
    download, named, thumbnail = f"/download{one}", f"/download{one}/{{file_name}}", f"/thumbnail{one}"

    def aliases(path: str) -> tuple[str, ...]:
        return tuple(prefix + path for prefix in old)

    rows = [
        Route("POST", f"{v3}/upload", api.upload, USER, UPLOAD, "uploadContent", aliases("/upload"), FILE),
        Route("PUT", f"{v3}/upload{one}", api.upload_to, USER, UPLOAD, "uploadContentToMXC", body=FILE),
        Route("POST", "/_matrix/media/v1/create", api.create, USER, MEDIA_CREATE, "createContent"),
        Route("GET", f"{v1}/config", api.get_config, GUEST, READ, "getConfigAuthed"),
        Route("GET", f"{v3}/config", api.get_config, GUEST, READ, "getConfig", aliases("/config")),
        Route("GET", v1 + download, api.download, GUEST, READ, "getContentAuthed"),
        Route("GET", v1 + named, api.download, GUEST, READ, "getContentOverrideNameAuthed"),
        Route("GET", v1 + thumbnail, api.get_thumbnail, GUEST, READ, "getContentThumbnailAuthed"),
        Route("GET", f"{v1}/preview_url", api.get_preview, USER, PREVIEW, "getUrlPreviewAuthed"),
        Route("GET", f"{v3}/preview_url", api.get_preview, USER, PREVIEW, "getUrlPreview", aliases("/preview_url")),
        Route("GET", v3 + download, api.get_frozen, NONE, READ, "getContent", aliases(download)),
        Route("GET", v3 + named, api.get_frozen, NONE, READ, "getContentOverrideName", aliases(named)),
        Route("GET", v3 + thumbnail, api.get_frozen, NONE, READ, "getContentThumbnail", aliases(thumbnail)),
    ]
    return [replace(row, token_in_query=False) if row.method == "GET" else row for row in rows]
