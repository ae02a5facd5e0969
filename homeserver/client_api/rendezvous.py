"""Meetings of two devices for a login by QR code, as MSC4108 had them in 2024. Nobody needs an account to meet."""

from __future__ import annotations

from email.utils import formatdate

from homeserver.http.request import Request, Response
from homeserver.oauth.rendezvous import Mailbox, Overtaken, Rendezvous
from homeserver.protocol.errors import MissingParam

PATH = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"


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
            mailbox = self._rendezvous.write(request.path_params["mailbox_id"], request.body, known)
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


def _headers(mailbox: Mailbox) -> dict[str, str]:
    return {
        "ETag": mailbox.etag,
        "Expires": formatdate(mailbox.expires_ts / 1000, usegmt=True),
        "Last-Modified": formatdate(mailbox.written_ts / 1000, usegmt=True),
        "Cache-Control": "no-store, no-transform",
        "Pragma": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        "Access-Control-Expose-Headers": "ETag",
    }
