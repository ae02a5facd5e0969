"""Rooms: transactions, joins, leaves, invites, and what servers in a room read of it."""

from __future__ import annotations

import enum
from typing import Any

from federation.inviting import Inviting
from federation.joining import Joining
from federation.knocking import Knocking
from federation.leaving import Leaving
from federation.serving import Serving
from federation.third_party_invites import ThirdPartyExchange
from federation.transactions import Transactions
from homeserver.clock import Clock
from homeserver.http.parsing import parse_object, query_bool, query_enum, query_int, query_list, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import BadJson


class Direction(enum.Enum):
    """Which way to look from a time."""

    FORWARDS = "f"
    BACKWARDS = "b"


class RoomsApi:
    """Handlers behind `ServerAuthenticator.signed`."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        joining: Joining,
        leaving: Leaving,
        inviting: Inviting,
        knocking: Knocking,
        third_parties: ThirdPartyExchange,
        serving: Serving,
        clock: Clock,
        own_name: str,
    ) -> None:
        self._transactions = transactions
        self._joining = joining
        self._leaving = leaving
        self._inviting = inviting
        self._knocking = knocking
        self._third_parties = third_parties
        self._serving = serving
        self._clock = clock
        self._own_name = own_name

    async def send_transaction(self, request: Request, origin: str, body: Any) -> Any:
        return await self._transactions.receive(origin, request.path_params["txn_id"], body)

    async def make_join(self, request: Request, origin: str, body: Any) -> Any:
        versions = query_list(request, "ver", max_items=100) or ["1"]
        params = request.path_params
        return await self._joining.make_join(origin, params["room_id"], params["user_id"], versions)

    async def send_join(self, request: Request, origin: str, body: Any) -> Any:
        params = request.path_params
        omit_members = query_bool(request, "omit_members", False)
        return await self._joining.send_join(
            origin, params["room_id"], params["event_id"], body, omit_members=omit_members
        )

    async def make_knock(self, request: Request, origin: str, body: Any) -> Any:
        versions = query_list(request, "ver", max_items=100) or ["1"]
        params = request.path_params
        return await self._knocking.make_knock(origin, params["room_id"], params["user_id"], versions)

    async def send_knock(self, request: Request, origin: str, body: Any) -> Any:
        params = request.path_params
        return await self._knocking.send_knock(origin, params["room_id"], params["event_id"], body)

    async def make_leave(self, request: Request, origin: str, body: Any) -> Any:
        return await self._leaving.make_leave(origin, request.path_params["room_id"], request.path_params["user_id"])

    async def send_leave(self, request: Request, origin: str, body: Any) -> Any:
        params = request.path_params
        return await self._leaving.send_leave(origin, params["room_id"], params["event_id"], body)

    async def invite(self, request: Request, origin: str, body: Any) -> Any:
        params = request.path_params
        event = await self._inviting.receive_invite(origin, params["room_id"], params["event_id"], body)
        return {"event": event.pdu}

    async def invite_v1(self, request: Request, origin: str, body: Any) -> Any:
        """The older form, where the body is the event: for room versions 1 and 2."""
        params = request.path_params
        event = await self._inviting.receive_invite_v1(origin, params["room_id"], params["event_id"], body)
        return [200, {"event": event.pdu}]

    async def exchange_third_party_invite(self, request: Request, origin: str, body: Any) -> Any:
        await self._third_parties.exchange(origin, request.path_params["room_id"], body)
        return {}

    async def on_bind(self, request: Request) -> Response:
        """`PUT /3pid/onbind`: an identity server calls it, and those sign nothing here."""
        await self._third_parties.bound(parse_object(request))
        return Response({})

    async def get_hierarchy(self, request: Request, origin: str, body: Any) -> Any:
        suggested_only = query_bool(request, "suggested_only", False)
        return await self._serving.hierarchy(origin, request.path_params["room_id"], suggested_only=suggested_only)

    async def get_event_by_timestamp(self, request: Request, origin: str, body: Any) -> Any:
        timestamp = query_int(request, "ts", minimum=0, maximum=2**53)
        forward = query_enum(request, "dir", Direction.FORWARDS, Direction) is Direction.FORWARDS
        return await self._serving.event_at(origin, request.path_params["room_id"], timestamp, forward=forward)

    async def get_event(self, request: Request, origin: str, body: Any) -> Any:
        return self._as_transaction([await self._serving.get_event(origin, request.path_params["event_id"])])

    async def get_state_ids(self, request: Request, origin: str, body: Any) -> Any:
        event_id = query_string(request, "event_id")
        return await self._serving.state_ids(origin, request.path_params["room_id"], event_id)

    async def get_state(self, request: Request, origin: str, body: Any) -> Any:
        event_id = query_string(request, "event_id")
        return await self._serving.state(origin, request.path_params["room_id"], event_id)

    async def get_event_auth(self, request: Request, origin: str, body: Any) -> Any:
        params = request.path_params
        return await self._serving.event_auth(origin, params["room_id"], params["event_id"])

    async def backfill(self, request: Request, origin: str, body: Any) -> Any:
        limit = query_int(request, "limit", minimum=0, maximum=2**31)
        start = query_list(request, "v", max_items=100)
        return self._as_transaction(await self._serving.backfill(origin, request.path_params["room_id"], start, limit))

    async def get_missing_events(self, request: Request, origin: str, body: Any) -> Any:
        if not isinstance(body, dict):
            raise BadJson("The body must be an object")
        earliest, latest = (_ids(body.get(name)) for name in ("earliest_events", "latest_events"))
        limit, depth = body.get("limit", 10), body.get("min_depth", 0)
        events = await self._serving.missing_events(
            origin,
            request.path_params["room_id"],
            earliest,
            latest,
            limit if isinstance(limit, int) else 10,
            depth if isinstance(depth, int) else 0,
        )
        return {"events": events}

    def _as_transaction(self, pdus: list[dict[str, Any]]) -> dict[str, Any]:
        return {"origin": self._own_name, "origin_server_ts": self._clock.now_ms(), "pdus": pdus}


def _ids(value: Any) -> list[str]:
    return [one for one in value[:100] if isinstance(one, str)] if isinstance(value, list) else []
