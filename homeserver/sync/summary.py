"""The summary of a room: who to name it after, and how many are in it. Spec: Client-Server API, "RoomSummary"."""

from __future__ import annotations

from typing import Any, Final

from homeserver.rooms.live_room import LiveRoom

HEROES: Final = 5


def room_summary(room: LiveRoom, user_id: str) -> dict[str, Any]:
    """`m.heroes` ("required if the room has no name and no canonical alias") and the counts."""
    summary: dict[str, Any] = {
        "m.joined_member_count": room.joined_count,
        "m.invited_member_count": room.invited_count,
    }
    if not room.content("m.room.name").get("name") and not room.content("m.room.canonical_alias").get("alias"):
        summary["m.heroes"] = heroes(room, user_id)
    return summary


def heroes(room: LiveRoom, user_id: str) -> list[str]:
    """Up to five others: those in the room and those invited; where nobody is left, those who were."""
    present: list[str] = []
    gone: list[str] = []
    for member, membership in room.members.items():
        if member == user_id:
            continue
        if membership in ("join", "invite"):
            present.append(member)
            if len(present) == HEROES:
                break
        elif membership in ("leave", "ban") and len(gone) < HEROES:
            gone.append(member)
    return present or gone
