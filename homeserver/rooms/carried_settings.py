"""What a user set for a room, taken along when they join the room that replaced it: tags, push rules, direct chats.

Spec: Client-Server API, "Room Upgrades": "When a user joins the new room, the server should automatically
transfer/replicate some of the user's personalized settings such as notifications, tags, etc."
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.protocol.errors import MatrixError, NotFound
from homeserver.rooms.live_room import LiveRooms
from homeserver.storage.rooms import RoomStore
from homeserver.users.account_data import AccountDataService
from homeserver.users.push_rules import PushRules
from homeserver.users.requester import Requester
from homeserver.users.tags import Tags


class CarriedSettings:
    """Copies settings from a room to its replacement."""

    def __init__(
        self, *, rooms: LiveRooms, store: RoomStore, account_data: AccountDataService, tags: Tags, push_rules: PushRules
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._account_data = account_data
        self._tags = tags
        self._push_rules = push_rules

    async def carry(self, user_id: str, room_id: str) -> None:
        """`user_id` has joined a room. Where it truly replaces one that they were in, bring the settings along."""
        old_room_id = await self._replaced(user_id, room_id)
        if old_room_id is None:
            return
        for copy in (self._copy_tags, self._copy_push_rules, self._copy_direct):
            try:
                await copy(user_id, old_room_id, room_id)
            except MatrixError:
                continue  # a full list, say: the join is done all the same

    async def _replaced(self, user_id: str, room_id: str) -> str | None:
        """The predecessor: only if the user was in it, and its tombstone names this room (B16)."""
        room = await self._rooms.find(room_id)
        predecessor = None if room is None else room.content("m.room.create").get("predecessor")
        old_room_id = predecessor.get("room_id") if isinstance(predecessor, Mapping) else None
        if not isinstance(old_room_id, str):
            return None
        old = await self._rooms.find(old_room_id)
        if old is None or old.content("m.room.tombstone").get("replacement_room") != room_id:
            return None
        membership = await self._store.find_membership(old_room_id, user_id)
        return old_room_id if membership is not None and membership.membership in ("join", "leave") else None

    async def _copy_tags(self, user_id: str, old: str, new: str) -> None:
        requester = Requester(user_id)
        if await self._tags.list_tags(requester, user_id, new):
            return
        for tag, content in (await self._tags.list_tags(requester, user_id, old)).items():
            await self._tags.set_tag(requester, user_id, new, tag, content if isinstance(content, Mapping) else {})

    async def _copy_push_rules(self, user_id: str, old: str, new: str) -> None:
        rules = await self._push_rules.rules_of(user_id)
        for rule in rules.custom:
            if rule.kind == "room" and rule.rule_id == old and rules.find("room", new) is None:
                await self._push_rules.set_rule(user_id, "room", new, {"actions": rule.actions})
            elif rule.kind == "override" and rule.rule_id == old and rules.find("override", new) is None:
                # Clients mute a room by an override rule of its name with one condition on the room.
                conditions = rule.as_json(user_id)["conditions"]
                changed = [
                    {**one, "pattern": new} if one.get("key") == "room_id" and one.get("pattern") == old else one
                    for one in conditions
                ]
                body = {"actions": rule.actions, "conditions": changed}
                await self._push_rules.set_rule(user_id, "override", new, body)

    async def _copy_direct(self, user_id: str, old: str, new: str) -> None:
        requester = Requester(user_id)
        try:
            direct: dict[str, Any] = await self._account_data.get_content(requester, user_id, "", "m.direct")
        except NotFound:
            return
        changed = {
            other: [*rooms, new] if isinstance(rooms, list) and old in rooms and new not in rooms else rooms
            for other, rooms in direct.items()
        }
        if changed != direct:
            await self._account_data.set_content(requester, user_id, "", "m.direct", changed)
