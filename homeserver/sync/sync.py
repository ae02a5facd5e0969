"""/sync: what is new for a device since a place in the stream. Spec: Client-Server API, "Syncing".

An answer is put together by sections (`sync/streams/`), each a reader of the one stream. Where nothing is new, the
request waits at the notifier and looks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from homeserver.protocol.filters import RoomFilter
from homeserver.rooms.client_events import Reader
from homeserver.rooms.partial_rooms import PartialRooms
from homeserver.rooms.tokens import StreamToken
from homeserver.rooms.typing import Typing
from homeserver.storage.rooms import Membership
from homeserver.stream import Stream
from homeserver.sync.lazy_members import LazyMembers
from homeserver.sync.request import SyncRequest, SyncRun
from homeserver.sync.streams import Section
from homeserver.sync.streams.device_lists import DeviceListSection
from homeserver.sync.streams.key_counts import KeyCountSection
from homeserver.sync.streams.to_device import ToDeviceSection
from homeserver.sync.user_rooms import UserRooms
from homeserver.sync.waiting import LongPolls
from homeserver.users.account_data import AccountDataService
from homeserver.users.requester import Requester


class Sync:
    """Answers /sync."""

    def __init__(
        self,
        *,
        stream: Stream,
        polls: LongPolls,
        user_rooms: UserRooms,
        typing: Typing,
        account_data: AccountDataService,
        to_device: ToDeviceSection,
        device_lists: DeviceListSection,
        key_counts: KeyCountSection,
        lazy_members: LazyMembers,
        sections: Sequence[Section],
        partial: PartialRooms,
    ) -> None:
        self._stream = stream
        self._polls = polls
        self._user_rooms = user_rooms
        self._typing = typing
        self._account_data = account_data
        self._to_device = to_device
        self._device_lists = device_lists
        self._key_counts = key_counts
        self._lazy_members = lazy_members
        self._sections = sections
        self._partial = partial

    async def sync(self, request: SyncRequest) -> dict[str, Any]:
        """The answer's body. Waits up to `timeout_ms` while there is nothing new."""
        user_id, device_id = request.requester.user_id, request.requester.device_id
        if request.since is not None and request.since.position > self._stream.position:
            # A token of before the database was restored from a backup: what it stands for is gone.
            here = StreamToken(self._stream.position, self._typing.serial)
            request = replace(request, since=here, is_lost=True)
        if request.since is None or request.is_lost:
            self._lazy_members.forget((user_id, device_id))
        elif device_id is not None:
            # A client that comes back with a token has what the answer with that token held.
            await self._to_device.acknowledge(user_id, device_id, request.since.position)
        async with self._polls.present(request.requester, request.set_presence):
            return await self._wait(request)

    async def begin(self, request: SyncRequest) -> SyncRun:
        """A look at the stream that knows the user's rooms and what of them is new, and has no sections yet."""
        run = await self._begin(request)
        self._find_news(run)
        return run

    async def device_list_changes(self, requester: Requester, since: StreamToken) -> tuple[set[str], set[str]]:
        """(changed, left) as `device_lists` of an answer since then would say it; for /keys/changes."""
        return await self._device_lists.changes(await self.begin(SyncRequest(requester, since=since)))

    async def _wait(self, request: SyncRequest) -> dict[str, Any]:
        async def look() -> tuple[SyncRun, bool]:
            run = await self._look(request)
            return run, bool(run.response or run.rooms or request.since is None or request.full_state)

        run = await self._polls.wait(request.requester, request.timeout_ms, look, is_counted=not request.is_pushed)
        return await self._answer(run)

    async def _look(self, request: SyncRequest) -> SyncRun:
        run = await self._begin(request)
        await self._to_device.add_to(run)  # first: `run.now` may end where the messages of one answer do
        self._find_news(run)
        await self._device_lists.add_to(run)
        for section in self._sections:
            await section.add_to(run)
        return run

    async def _begin(self, request: SyncRequest) -> SyncRun:
        requester = request.requester
        ignored = await self._account_data.ignored_users(requester.user_id)
        # Nothing waits between these two. So the user is registered with all rooms when the place is taken, whatever
        # comes after it wakes the user, and the memberships are those of that very place.
        memberships = await self._user_rooms.of_user(requester.user_id)
        now = StreamToken(self._stream.position, self._typing.serial)
        since = request.since
        if since is not None and since.position > now.position:
            # A token of before the database was restored from a backup: what it stands for is gone.
            since = StreamToken(now.position, now.typing)
        return SyncRun(
            request=request,
            reader=Reader(requester.user_id, requester.device_id),
            since=since,
            now=now,
            memberships=memberships,
            ignored=ignored,
        )

    def _find_news(self, run: SyncRun) -> None:
        run.joined = _let_pass(run.memberships.joined, run.request.filter.room)
        leaves_out = not (run.request.with_partial or run.request.filter.room.lazy_load_members)
        if leaves_out and self._partial:  # rooms without their members: such a client gets them when they are whole
            run.joined = {room_id: row for room_id, row in run.joined.items() if self._partial.find(room_id) is None}
        later = {row.room_id for row in run.memberships.news(run.now.position)}
        if later:  # the answer ends before what is known
            run.joined = {room_id: row for room_id, row in run.joined.items() if room_id not in later}
        if run.is_initial:
            run.newly_joined.update(run.joined)
            return
        for membership in run.memberships.news(run.after):
            if membership.position > run.now.position:
                break
            if membership.membership != "join":
                run.newly_left.add(membership.room_id)
            elif membership.room_id in run.joined:
                run.newly_joined.add(membership.room_id)
        if leaves_out:
            made_whole = self._partial.made_whole(run.after, run.now.position)
            run.newly_joined.update(room_id for room_id in made_whole if room_id in run.joined)

    async def _answer(self, run: SyncRun) -> dict[str, Any]:
        await self._key_counts.add_to(run)
        body: dict[str, Any] = {"next_batch": str(run.now), **run.response}
        if run.rooms:
            body["rooms"] = run.rooms
        return body


def _let_pass(joined: Mapping[str, Membership], room_filter: RoomFilter) -> Mapping[str, Membership]:
    if room_filter.rooms is None and not room_filter.not_rooms:
        return joined
    return {room_id: row for room_id, row in joined.items() if room_filter.allows_room(room_id)}
