"""What a user was notified of. Spec: Client-Server API, "Listing notifications"."""

from __future__ import annotations

from typing import Any, Final

from homeserver.client_api.events import place_of, reader_of
from homeserver.http.parsing import query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.rooms.tokens import place_after
from homeserver.sync.services import SyncServices
from homeserver.users.account_data import AccountDataService

MAX_PAGE: Final = 100


class NotificationApi:
    """/notifications."""

    def __init__(self, sync: SyncServices, account_data: AccountDataService) -> None:
        self._notifications = sync.notifications
        self._account_data = account_data

    async def get_notifications(self, request: Request) -> Response:
        found, next_place = await self._notifications.page(
            reader_of(request),
            start=place_of(request, "from"),
            limit=query_int(request, "limit", 20, minimum=1, maximum=MAX_PAGE, clamp=True),
            only_highlights=query_string(request, "only", "") == "highlight",
            ignored=await self._account_data.ignored_users(request.user.user_id),
        )
        body: dict[str, Any] = {
            "notifications": [
                {"actions": one.actions, "event": one.event, "read": one.read, "room_id": one.room_id, "ts": one.ts}
                for one in found
            ]
        }
        if next_place is not None:
            body["next_token"] = place_after(next_place)
        return Response(body)
