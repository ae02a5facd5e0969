"""Whose devices or keys changed among those who share a room with the user, and who shares none any more."""

from __future__ import annotations

from homeserver.rooms.live_room import LiveRooms
from homeserver.storage.cross_signing import CrossSigningStore
from homeserver.storage.device_lists import DeviceListStore
from homeserver.storage.rooms import RoomStore
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun
from homeserver.sync.room_window import RoomWindows


class DeviceListSection:
    """`device_lists`. Spec: Client-Server API, "Tracking the device list for a user"."""

    def __init__(
        self,
        device_lists: DeviceListStore,
        cross_signing: CrossSigningStore,
        rooms: LiveRooms,
        store: RoomStore,
        windows: RoomWindows,
        stream: Stream,
    ) -> None:
        self._device_lists = device_lists
        self._cross_signing = cross_signing
        self._rooms = rooms
        self._store = store
        self._windows = windows
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
        has_members = self._stream.any_since(Change.MEMBERSHIP, run.after)
        has_devices = self._stream.any_since(Change.DEVICE_LISTS, run.after)
        made_whole = self._rooms.partial.made_whole(run.after, run.now.position)
        if not (has_members or has_devices or made_whole or run.newly_left):
            return changed, set()
        if has_devices:
            users = await self._device_lists.list_changed_users(run.after, run.now.position)
            changed = (await self._store.list_sharing(run.user_id, users) | {run.user_id}).intersection(users)
            if self._stream.changed_since(Change.DEVICE_LISTS, run.user_id, run.after):
                # Whose keys one signed is news for one's own devices: they are to see the signature.
                signed = await self._cross_signing.list_signed_users(run.user_id, run.after, run.now.position)
                changed.update(signed)
        for membership in run.memberships.news(run.after):
            if membership.membership == "join" and membership.position <= run.now.position:
                changed.update((await self._rooms.get(membership.room_id)).joined_members())
        for room_id in made_whole:
            if room_id in run.memberships.joined:
                changed.update((await self._rooms.get(room_id)).joined_members())
        gone_from_here: set[str] = set()
        rooms = self._stream.changed_among(Change.EVENTS, run.memberships.joined, run.after)
        for room_id in rooms if has_members else ():
            room = await self._rooms.get(room_id)
            if room.last_position <= run.after:
                continue
            for stored in await self._windows.member_changes(room, run.after, run.now.position):
                member = stored.event.state_key
                if member is None or member == run.user_id:
                    continue
                was_joined = stored.replaces is not None and stored.replaces.content.get("membership") == "join"
                if room.membership(member) == "join":
                    if not was_joined:
                        changed.add(member)
                elif was_joined:
                    gone_from_here.add(member)
        for room_id in run.newly_left:
            gone = await self._rooms.find(room_id)
            # Who was only invited or knocked shared the room with nobody, and does not learn here who is in it.
            if gone is None or not await self._windows.was_joined_at(room_id, gone, run.user_id, run.after):
                continue
            gone_from_here.update(member for member in gone.joined_members() if member != run.user_id)
        left = gone_from_here - await self._store.list_sharing(run.user_id, list(gone_from_here))
        return changed, left - changed
