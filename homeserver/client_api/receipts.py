"""Receipts, read markers and typing.

Spec: Client-Server API, "Receipts", "Fully read markers", "Typing notifications".
"""

from __future__ import annotations

from typing import Final

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import Forbidden, InvalidParam
from homeserver.rooms.receipts import PRIVATE, READ, Receipts
from homeserver.rooms.typing import Typing
from homeserver.users.account_data import AccountDataService

FULLY_READ: Final = "m.fully_read"


class _ReceiptBody(msgspec.Struct):
    thread_id: str | None = None


class _MarkersBody(msgspec.Struct):
    fully_read: str | None = msgspec.field(default=None, name="m.fully_read")
    read: str | None = msgspec.field(default=None, name="m.read")
    private: str | None = msgspec.field(default=None, name="m.read.private")


class _TypingBody(msgspec.Struct):
    typing: bool
    timeout: int | None = None


class ReceiptApi:
    """How far one has read, and whether one types."""

    def __init__(self, receipts: Receipts, typing: Typing, account_data: AccountDataService) -> None:
        self._receipts = receipts
        self._typing = typing
        self._account_data = account_data

    async def post_receipt(self, request: Request) -> Response:
        body = parse_body(request, _ReceiptBody, allow_empty=True)
        params, user_id = request.path_params, request.user.user_id
        receipt_type, room_id, event_id = params["receipt_type"], params["room_id"], params["event_id"]
        if receipt_type == FULLY_READ:
            if body.thread_id is not None:
                raise InvalidParam("m.fully_read has no thread_id.")
            await self._set_fully_read(user_id, room_id, event_id)
        elif receipt_type in (READ, PRIVATE):
            await self._receipts.set_receipt(user_id, room_id, receipt_type, event_id, body.thread_id)
        else:
            raise InvalidParam(f"The receipt type must be {READ}, {PRIVATE} or {FULLY_READ}.")
        return Response()

    async def set_read_markers(self, request: Request) -> Response:
        body = parse_body(request, _MarkersBody, allow_empty=True)
        room_id, user_id = request.path_params["room_id"], request.user.user_id
        if body.fully_read is not None:
            await self._set_fully_read(user_id, room_id, body.fully_read)
        for receipt_type, event_id in ((READ, body.read), (PRIVATE, body.private)):
            if event_id is not None:
                await self._receipts.set_receipt(user_id, room_id, receipt_type, event_id)
        return Response()

    async def set_typing(self, request: Request) -> Response:
        body = parse_body(request, _TypingBody)
        if request.path_params["user_id"] != request.user.user_id:
            raise Forbidden("You cannot type for somebody else.")
        await self._typing.set_typing(
            request.user.user_id, request.path_params["room_id"], typing=body.typing, timeout_ms=body.timeout
        )
        return Response()

    async def _set_fully_read(self, user_id: str, room_id: str, event_id: str) -> None:
        await self._receipts.check_may_mark(user_id, room_id, event_id)
        await self._account_data.set_fully_read(user_id, room_id, event_id)
