"""Whoever makes a table with rooms in it says what becomes of it when a room is deleted."""

from __future__ import annotations

import re

from homeserver.storage.migrating import list_migrations
from homeserver.storage.purges import IN_PARTS, KEPT, OF_ROOM

TABLE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+) \((.*?)\n\)", re.DOTALL)


def test_every_table_with_rooms_is_deleted_with_them_or_kept_for_a_reason() -> None:
    known = {*OF_ROOM, *IN_PARTS, *KEPT}
    with_rooms = {
        name
        for migration in list_migrations()
        for name, columns in TABLE.findall(migration.text)
        if re.search(r"^\s*room_id ", columns, re.MULTILINE)
    }
    assert with_rooms - known == set(), "add these to OF_ROOM of homeserver/storage/purges.py"
    assert known - with_rooms == set()
