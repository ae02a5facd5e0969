"""A client's view of its rooms, built from sync answers alone, to be compared with what a fresh sync says."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.support.server import User


@dataclass
class RoomView:
    """A room as a client knows it. `state`: event id by key; `timeline`: ids, oldest first."""

    state: dict[tuple[str, str], str] = field(default_factory=dict)
    timeline: list[str] = field(default_factory=list)
    gap: str | None = None
    counts: Any = None
    threads: Any = None
    summary: dict[str, Any] = field(default_factory=dict)
    account_data: dict[str, Any] = field(default_factory=dict)
    receipts: dict[tuple[str, str, str], str] = field(default_factory=dict)
    typing: list[str] = field(default_factory=list)


@dataclass
class SyncedClient:
    """Applies sync answers as the specification has clients do."""

    user: User
    query: dict[str, Any] = field(default_factory=dict)
    since: str | None = None
    joined: dict[str, RoomView] = field(default_factory=dict)
    invited: dict[str, list[Any]] = field(default_factory=dict)
    left: dict[str, RoomView] = field(default_factory=dict)
    account_data: dict[str, Any] = field(default_factory=dict)
    to_device: list[Any] = field(default_factory=list)

    def copy(self) -> SyncedClient:
        """The client as it is now, to go on from here again."""
        user, self.user = self.user, None  # type: ignore[assignment]
        copied = deepcopy(self)
        self.user = copied.user = user
        return copied

    async def sync(self, **query: Any) -> Any:
        """One sync, applied."""
        query = {**self.query, **query}
        if self.since is not None:
            query["since"] = self.since
        body = await self.user.get("/sync", **query)
        self.apply(body)
        return body

    def apply(self, body: Any) -> None:
        self.since = body["next_batch"]
        for event in body.get("account_data", {}).get("events", ()):
            self.account_data[event["type"]] = event["content"]
        self.to_device += body.get("to_device", {}).get("events", ())
        rooms = body.get("rooms", {})
        for room_id, section in rooms.get("leave", {}).items():
            view = self.joined.pop(room_id, None) or self.left.pop(room_id, None) or RoomView()
            self.invited.pop(room_id, None)
            self._apply_room(view, section)
            self.left[room_id] = view
        for room_id, section in rooms.get("invite", {}).items():
            self.joined.pop(room_id, None)
            self.invited[room_id] = section["invite_state"]["events"]
        for room_id, section in rooms.get("join", {}).items():
            self.invited.pop(room_id, None)
            self.left.pop(room_id, None)
            self._apply_room(self.joined.setdefault(room_id, RoomView()), section)

    def _apply_room(self, view: RoomView, section: Any) -> None:
        timeline = section.get("timeline", {})
        events = timeline.get("events", [])
        for event in section.get("state", {}).get("events", ()):
            view.state[event["type"], event["state_key"]] = event["event_id"]
        if "state_after" not in section:
            for event in events:
                if "state_key" in event:
                    view.state[event["type"], event["state_key"]] = event["event_id"]
        for event in section.get("state_after", {}).get("events", ()):
            view.state[event["type"], event["state_key"]] = event["event_id"]
        if timeline.get("limited"):
            view.timeline, view.gap = [], timeline["prev_batch"]
        new = [event["event_id"] for event in events]
        view.timeline = [event_id for event_id in view.timeline if event_id not in new] + new
        view.counts = section.get("unread_notifications", view.counts)
        if "unread_notifications" in section:
            view.threads = section.get("unread_thread_notifications")
        view.summary.update(section.get("summary", {}))
        for event in section.get("account_data", {}).get("events", ()):
            view.account_data[event["type"]] = event["content"]
        for event in section.get("ephemeral", {}).get("events", ()):
            if event["type"] == "m.typing":
                view.typing = event["content"]["user_ids"]
                continue
            for event_id, by_type in event["content"].items():
                for receipt_type, users in by_type.items():
                    for user_id, receipt in users.items():
                        view.receipts[user_id, receipt_type, receipt.get("thread_id", "")] = event_id

    async def whole_timeline(self, room_id: str) -> list[str]:
        """The ids of a room's timeline as the client has it, gaps filled backwards with /messages."""
        view = self.joined.get(room_id) or self.left[room_id]
        found: list[str] = []
        place = view.gap
        while place is not None:
            page = await self.user.get(f"/rooms/{room_id}/messages", dir="b", limit=7, **{"from": place})
            found += [event["event_id"] for event in page["chunk"]]
            place = page.get("end")
        return [*reversed(found), *view.timeline]
