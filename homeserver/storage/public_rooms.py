"""What the directory of published rooms is made of, read for many rooms at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from homeserver.storage.database import Reader


class _Pdu(msgspec.Struct):
    content: dict[str, Any]


_decode = msgspec.json.Decoder(_Pdu).decode


class PublicRoomStore:
    """Queries over many rooms."""

    def __init__(self, db: Reader) -> None:
        self._db = db

    async def list_changed(self, after: int, limit: int) -> list[str] | None:
        """The rooms whose state may have changed after a position; None when that is too long ago to say."""
        newest = await self._db.fetch_value("SELECT MAX(position) FROM events")
        if newest is not None and newest - after > limit:
            return None
        rows = await self._db.fetch_all(
            "SELECT DISTINCT room_id FROM events WHERE position > ?"
            " AND (state_key IS NOT NULL OR type = 'm.room.redaction')",
            (after,),
        )
        return [row[0] for row in rows]

    async def list_facts(
        self, room_ids: Sequence[str], types: Sequence[str]
    ) -> dict[str, tuple[str, int, dict[str, dict[str, Any]]]]:
        """(version, joined members, contents of the state with these types and the key "") by room."""
        found: dict[str, tuple[str, int, dict[str, dict[str, Any]]]] = {}
        for start in range(0, len(room_ids), 500):
            part = room_ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            rows = await self._db.fetch_all(
                f"SELECT r.room_id, r.version, (SELECT COUNT(*) FROM memberships AS m WHERE m.room_id = r.room_id"
                f" AND m.membership = 'join') FROM rooms AS r WHERE r.room_id IN ({marks})",
                tuple(part),
            )
            for room_id, version, joined in rows:
                found[room_id] = (version, joined, {})
            rows = await self._db.fetch_all(
                "SELECT c.room_id, c.type, e.json FROM current_state AS c JOIN events AS e ON e.event_id = c.event_id"
                f" WHERE c.state_key = '' AND c.room_id IN ({marks}) AND c.type IN ({', '.join('?' * len(types))})",
                (*part, *types),
            )
            for room_id, event_type, text in rows:
                if room_id in found:
                    found[room_id][2][event_type] = _decode(text).content
        return found
