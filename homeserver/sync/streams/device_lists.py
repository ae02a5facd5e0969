"""Whose devices or keys changed among those who share a room with the user, and who shares none any more."""

from __future__ import annotations

from homeserver.rooms.live_room import LiveRooms
from homeserver.storage.device_lists import DeviceListStore
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun


class DeviceListSection:
    """`device_lists`. Spec: Client-Server API, "Tracking the device list for a user"."""

    def __init__(self, device_lists: DeviceListStore, rooms: LiveRooms, stream: Stream) -> None:
        self._device_lists = device_lists
        self._rooms = rooms
        self._stream = stream

    async def add_to(self, run: SyncRun) -> None:
        if run.is_initial:
            return
        changed, left = await self.changes(run)
        if changed or left:
            run.response["device_lists"] = {"changed": sorted(changed), "left": sorted(left)}

    async def changes(self, run: SyncRun) -> tuple[set[str], set[str]]:
        """(users whose devices changed or who are new to the user, users with whom no room is shared any more)."""
        changed: set[str] = set()
        left: set[str] = set()
        if self._stream.any_since(Change.DEVICE_LISTS, run.after):
            for user_id in await self._device_lists.list_changed_users(run.after, run.now.position):
                if user_id == run.user_id or self._shares_room(run, user_id):
                    changed.add(user_id)
        for room_id in run.newly_joined:
            changed.update(run.joined[room_id].joined_members())
        for room_id, room in run.joined.items():
            if room_id in run.newly_joined:
                continue
            for stored in room.recent(run.after) or ():
                event = stored.event
                if event.type != "m.room.member" or event.state_key in (None, run.user_id):
                    continue
                member = str(event.state_key)
                if room.membership(member) == "join":
                    if stored.replaces is None or stored.replaces.content.get("membership") != "join":
                        changed.add(member)
                elif not self._shares_room(run, member):
                    left.add(member)
        for room_id in run.newly_left:
            gone = await self._rooms.find(room_id)
            for member in gone.joined_members() if gone is not None else ():
                if member != run.user_id and not self._shares_room(run, member):
                    left.add(member)
        changed.discard("")
        return changed, left - changed

    def _shares_room(self, run: SyncRun, user_id: str) -> bool:
        return any(room.members.get(user_id) == "join" for room in run.joined.values())
