"""What a client knows at a token, and how an answer of /sync changes it (spec: "Syncing")."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

TAIL = 300
"""How much of a timeline is compared."""


@dataclass(slots=True)
class RoomView:
    """A joined room. `timeline` grows in place and is shared by the views of later tokens; `length` of it is known
    here."""

    state: dict[tuple[str, str], tuple[str, str]]
    timeline: list[str]
    length: int
    unread: tuple[int, int] = (0, 0)
    receipts: dict[tuple[str, str, str], str] = field(default_factory=dict)
    account_data: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    def tail(self) -> list[str]:
        return self.timeline[max(0, self.length - TAIL) : self.length]


@dataclass(slots=True)
class View:
    """What a device knows. `to_device`: ids of the messages in the last answer. A gap in a timeline begins it anew."""

    token: str = ""
    rooms: dict[str, RoomView] = field(default_factory=dict)
    invites: frozenset[str] = frozenset()
    account_data: dict[str, str] = field(default_factory=dict)
    to_device: list[str] = field(default_factory=list)


def position_of(token: str) -> int:
    """The place in the stream that a token names (clients must not look, a crash test may)."""
    return int(token[1:].partition("_")[0])


def applied(view: View, answer: dict[str, Any], *, grow: bool = False) -> View:
    """What the device knows with `answer`, which it got for `view.token`; `view` stays as it is.

    `grow`: this is the next view of the device itself, whose timelines grow in place; else the new view has copies.
    """
    sections = answer.get("rooms", {})
    rooms = dict(view.rooms)
    invites = set(view.invites)
    for room_id in sections.get("leave", {}):
        rooms.pop(room_id, None)
        invites.discard(room_id)
    for room_id in sections.get("invite", {}):
        invites.add(room_id)
    for room_id, section in sections.get("join", {}).items():
        invites.discard(room_id)
        rooms[room_id] = _room(rooms.get(room_id), section, grow=grow)
    return View(
        token=answer["next_batch"],
        rooms=rooms,
        invites=frozenset(invites),
        account_data={**view.account_data, **_contents(answer.get("account_data"))},
        to_device=[each["content"]["id"] for each in answer.get("to_device", {}).get("events", [])],
    )


def _room(before: RoomView | None, section: dict[str, Any], *, grow: bool) -> RoomView:
    room = RoomView({}, [], 0) if before is None else replace(before)
    timeline = section.get("timeline", {})
    events = timeline.get("events", [])
    changed = [*section.get("state", {}).get("events", []), *(each for each in events if "state_key" in each)]
    if changed:
        room.state = dict(room.state)
        for event in changed:
            content = json.dumps(event["content"], sort_keys=True)
            room.state[event["type"], event["state_key"]] = (event["event_id"], content)
    if timeline.get("limited"):
        room.timeline = []
    elif not grow:
        room.timeline = room.tail()
    new = [event["event_id"] for event in events]
    if new and new[0] in room.timeline[-TAIL:]:  # joined anew: the room is shown from its beginning
        room.timeline = []
    room.timeline += new
    room.length = len(room.timeline)
    if "unread_notifications" in section:
        unread = section["unread_notifications"]
        room.unread = (unread["notification_count"], unread["highlight_count"])
    for event in section.get("ephemeral", {}).get("events", []):
        if event["type"] == "m.receipt":
            room.receipts = dict(room.receipts)
            for event_id, by_type in event["content"].items():
                for kind, users in by_type.items():
                    for user_id, entry in users.items():
                        room.receipts[user_id, kind, entry.get("thread_id", "")] = event_id
    room.account_data = {**room.account_data, **_contents(section.get("account_data"))}
    room.summary = {**room.summary, **section.get("summary", {})}
    return room


def _contents(section: dict[str, Any] | None) -> dict[str, str]:
    events = (section or {}).get("events", [])
    return {event["type"]: json.dumps(event["content"], sort_keys=True) for event in events}


def differences(view: View, fresh: View) -> list[str]:
    """Where what was put together of increments is not what a fresh initial sync says; nothing when they are equal."""
    found: list[str] = []
    if set(view.rooms) != set(fresh.rooms):
        found.append(f"joined rooms: {sorted(set(view.rooms) ^ set(fresh.rooms))}")
    if view.invites != fresh.invites:
        found.append(f"invites: {sorted(view.invites ^ fresh.invites)}")
    if view.account_data != fresh.account_data:
        found.append(f"account data: {_unequal(view.account_data, fresh.account_data)}")
    for room_id in set(view.rooms) & set(fresh.rooms):
        mine, theirs = view.rooms[room_id], fresh.rooms[room_id]
        for name in ("state", "receipts", "account_data", "summary"):
            ours, other = getattr(mine, name), getattr(theirs, name)
            if ours != other:
                found.append(f"{name} of {room_id}: {_unequal(ours, other)}")
        if mine.unread != theirs.unread:
            found.append(f"unread counts of {room_id}: {mine.unread}, fresh {theirs.unread}")
        tails = mine.tail(), theirs.tail()
        shorter = min(len(tail) for tail in tails)
        if shorter and tails[0][-shorter:] != tails[1][-shorter:]:
            found.append(f"timeline of {room_id}: ends {tails[0][-3:]}, fresh {tails[1][-3:]}")
    return found


def _unequal(mine: dict[Any, Any], theirs: dict[Any, Any]) -> str:
    keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    return "; ".join(f"{key}: {mine.get(key)} but fresh {theirs.get(key)}" for key in keys[:3])
