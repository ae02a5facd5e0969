"""Meetings of two devices for a login by QR code, as MSC4108 had them in 2024 and as MSC4388 has them. Nobody needs an
account to meet."""

from __future__ import annotations

import datetime
from typing import Final

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.oauth.rendezvous import Mailbox, Overtaken, Rendezvous
from homeserver.protocol.errors import BadJson, Forbidden, MissingParam

PATH: Final = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"
CHANNEL_PATH: Final = "/_matrix/client/unstable/io.element.msc4388/rendezvous"
CHANNEL_LIFETIME_MS: Final = 120_000
_UNCACHED: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class RendezvousApi:
    """/_matrix/client/unstable/org.matrix.msc4108/rendezvous"""

    def __init__(self, rendezvous: Rendezvous, base_url: str) -> None:
        self._rendezvous = rendezvous
        self._base_url = base_url

    async def open_mailbox(self, request: Request) -> Response:
        mailbox = self._rendezvous.open(request.body)
        return Response({"url": f"{self._base_url}{PATH}/{mailbox.id}"}, 201, _headers(mailbox))

    async def get_mailbox(self, request: Request) -> Response:
        mailbox = self._rendezvous.get(request.path_params["mailbox_id"])
        if request.headers.get("if-none-match") == mailbox.etag:
            return Response(b"", 304, _headers(mailbox), "text/plain")
        return Response(mailbox.content, 200, _headers(mailbox), "text/plain")

    async def write_mailbox(self, request: Request) -> Response:
        known = request.headers.get("if-match")
        if known is None:
            raise MissingParam("The header If-Match is required.")
        try:
            mailbox = self._rendezvous.write(request.path_params["mailbox_id"], request.body, known.strip('"'))
        except Overtaken as overtaken:
            body = {
                "errcode": "M_UNKNOWN",
                "error": "Somebody wrote meanwhile; read first.",
                "org.matrix.msc4108.errcode": "M_CONCURRENT_WRITE",
            }
            return Response(body, 412, _headers(overtaken.mailbox))
        return Response(b"", 202, _headers(mailbox), "text/plain")

    async def close_mailbox(self, request: Request) -> Response:
        self._rendezvous.close(request.path_params["mailbox_id"])
        return Response(b"", 204, {"Cache-Control": "no-store"}, "text/plain")


class _OpenBody(msgspec.Struct):
    data: str


class _WriteBody(msgspec.Struct):
    data: str
    sequence_token: str


class SecureChannelApi:
    """/_matrix/client/unstable/io.element.msc4388/rendezvous"""

    def __init__(self, rendezvous: Rendezvous) -> None:
        self._rendezvous = rendezvous

    async def get_availability(self, request: Request) -> Response:
        return Response({"create_available": True})

    async def open_mailbox(self, request: Request) -> Response:
        body = parse_body(request, _OpenBody)
        mailbox = self._rendezvous.open(_bytes(body.data), CHANNEL_LIFETIME_MS)
        remaining = mailbox.expires_ts - mailbox.written_ts
        members = {"id": mailbox.id, "sequence_token": mailbox.token, "expires_in_ms": remaining}
        return Response(members, 200, _UNCACHED)

    async def get_mailbox(self, request: Request) -> Response:
        """To programs alone: what two devices tell each other is not to be shown by a browser as a page."""
        headers = request.headers
        if (
            headers.get("sec-fetch-dest", "empty") != "empty"
            or headers.get("sec-fetch-mode") == "navigate"
            or headers.get("sec-fetch-user") == "?1"
            or headers.get("sec-fetch-site") == "none"
        ):
            raise Forbidden("A meeting cannot be opened as a page.")
        mailbox = self._rendezvous.get(request.path_params["mailbox_id"])
        members = {
            "data": mailbox.content.decode(errors="replace"),
            "sequence_token": mailbox.token,
            "expires_in_ms": self._rendezvous.remaining_ms(mailbox),
        }
        return Response(members, 200, _UNCACHED)

    async def write_mailbox(self, request: Request) -> Response:
        body = parse_body(request, _WriteBody)
        mailbox_id = request.path_params["mailbox_id"]
        try:
            mailbox = self._rendezvous.write(mailbox_id, _bytes(body.data), body.sequence_token, may_repeat=True)
        except Overtaken:
            error = "Somebody wrote meanwhile; read first."
            return Response({"errcode": "IO_ELEMENT_MSC4388_CONCURRENT_WRITE", "error": error}, 409, _UNCACHED)
        return Response({"sequence_token": mailbox.token}, 200, _UNCACHED)

    async def close_mailbox(self, request: Request) -> Response:
        self._rendezvous.close(request.path_params["mailbox_id"])
        return Response({}, 200, _UNCACHED)


def _bytes(data: str) -> bytes:
    try:
        return data.encode()
    except UnicodeEncodeError:
        raise BadJson("'data' is not Unicode text.") from None


def _headers(mailbox: Mailbox) -> dict[str, str]:
    return {
        "ETag": mailbox.etag,
        "Expires": _date(mailbox.expires_ts),
        "Last-Modified": _date(mailbox.written_ts),
        "Cache-Control": "no-store, no-transform",
        "Pragma": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        "Access-Control-Expose-Headers": "ETag",
    }


def _date(timestamp_ms: int) -> str:
    """As RFC 9110, section 5.6.7, writes it."""
    moment = datetime.datetime.fromtimestamp(timestamp_ms / 1000, tz=datetime.UTC)
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
