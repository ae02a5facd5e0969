"""A client's view of its rooms, built from answers of sliding sync alone, to be compared with what /sync says."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.support.http import Answer
from tests.support.server import User
from tests.support.synced_client import RoomView, SyncedClient

SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
EXTENSIONS = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")}


@dataclass
class SlidingClient:
    """Applies answers as MSC4186 has clients do. `body`: what it asks for next."""

    user: User
    body: dict[str, Any] = field(default_factory=dict)
    pos: str | None = None
    since: str | None = None
    rooms: dict[str, RoomView] = field(default_factory=dict)
    invited: dict[str, list[Any]] = field(default_factory=dict)
    account_data: dict[str, Any] = field(default_factory=dict)
    changed_devices: set[str] = field(default_factory=set)
    to_device: list[Any] = field(default_factory=list)

    def copy(self) -> SlidingClient:
        """The client as it is now, to go on from here again."""
        user, self.user = self.user, None  # type: ignore[assignment]
        copied = deepcopy(self)
        self.user = copied.user = user
        return copied

    async def ask(self, **query: Any) -> Answer:
        """A request, whose answer may be lost."""
        body = deepcopy(self.body)
        if self.since is not None and "to_device" in body.get("extensions", {}):
            body["extensions"]["to_device"]["since"] = self.since
        if self.pos is not None:
            query["pos"] = self.pos
        return await self.user.request("POST", SLIDING_SYNC, body, **query)

    async def sync(self, **query: Any) -> Any:
        """A request whose answer is applied; after an expired position the client begins anew."""
        answer = await self.ask(**query)
        if answer.status == 400 and answer.json["errcode"] == "M_UNKNOWN_POS":
            self.pos = None
            answer = await self.ask(**query)
        assert answer.status == 200, answer.body
        self.apply(answer.json)
        return answer.json

    def apply(self, body: Any) -> None:
        self.pos = body["pos"]
        for room_id, room in body["rooms"].items():
            self._apply_room(room_id, room)
        extensions = body["extensions"]
        messages = extensions.get("to_device", {})
        self.since = messages.get("next_batch", self.since)
        self.to_device += messages.get("events", ())
        self.changed_devices.update(extensions.get("e2ee", {}).get("device_lists", {}).get("changed", ()))
        data = extensions.get("account_data", {})
        for event in data.get("global", ()):
            self.account_data[event["type"]] = event["content"]
        for room_id, events in data.get("rooms", {}).items():
            for event in events:
                self.rooms.setdefault(room_id, RoomView()).account_data[event["type"]] = event["content"]
        for room_id, event in extensions.get("receipts", {}).get("rooms", {}).items():
            for event_id, by_type in event["content"].items():
                for receipt_type, users in by_type.items():
                    for user_id, receipt in users.items():
                        thread = receipt.get("thread_id", "")
                        self.rooms[room_id].receipts[user_id, receipt_type, thread] = event_id
        for room_id, event in extensions.get("typing", {}).get("rooms", {}).items():
            self.rooms[room_id].typing = event["content"]["user_ids"]

    def _apply_room(self, room_id: str, room: Any) -> None:
        if "invite_state" in room:
            self.invited[room_id] = room["invite_state"]
            return
        self.invited.pop(room_id, None)
        view = self.rooms.setdefault(room_id, RoomView())
        if room.get("initial"):
            view.state, view.timeline, view.gap, view.summary = {}, [], None, {}
        for event in room.get("required_state", ()):
            view.state[event["type"], event["state_key"]] = event["event_id"]
        new = [event["event_id"] for event in room.get("timeline", ())]
        if room.get("initial") or room.get("limited") or room.get("unstable_expanded_timeline"):
            view.timeline, view.gap = [], room["prev_batch"] if room.get("limited") else None
        view.timeline = [event_id for event_id in view.timeline if event_id not in new] + new
        for name in ("joined_count", "invited_count", "name", "avatar", "heroes", "is_dm", "bump_stamp"):
            if name in room:
                view.summary[name] = room[name]
        view.counts = {name: room[name] for name in ("notification_count", "highlight_count") if name in room}

    async def whole_timeline(self, room_id: str) -> list[str]:
        """The ids of a room's timeline, gaps filled backwards with /messages."""
        return await SyncedClient(self.user, joined=self.rooms).whole_timeline(room_id)
