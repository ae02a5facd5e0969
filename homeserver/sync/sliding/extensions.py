"""What sliding sync tells beside rooms, where the client asks for it.

to_device (MSC3885), e2ee (MSC3884), account_data (MSC3959), receipts (MSC3960), typing (MSC3961), thread
subscriptions (MSC4308) and sticky events (MSC4354). What stands in them is what the sections of /sync say, by the same
code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from homeserver.protocol.errors import InvalidParam
from homeserver.rooms.client_events import EventSerializer
from homeserver.rooms.receipts import Receipts, receipts_contents
from homeserver.rooms.sticky_events import StickyEvents
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions, as_json
from homeserver.rooms.tokens import place_after
from homeserver.storage.receipts import Receipt
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun
from homeserver.sync.sliding.connections import GLOBAL, LIVE, Sent
from homeserver.sync.sliding.lists import Selection
from homeserver.sync.sliding.request import ExtensionConfig, Extensions
from homeserver.sync.sliding.rooms import RoomAnswer
from homeserver.sync.streams.device_lists import DeviceListSection
from homeserver.sync.streams.key_counts import KeyCountSection
from homeserver.sync.streams.to_device import ToDeviceSection
from homeserver.sync.streams.typing import TypingSection
from homeserver.users.account_data import AccountDataService

TO_DEVICE_MAX: Final = 100
THREADS_MAX: Final = 512
STICKY_MAX: Final = 100
THREADS: Final = "io.element.msc4308.thread_subscriptions"
STICKY: Final = "org.matrix.msc4354.sticky_events"


@dataclass(slots=True)
class ExtensionsAnswer:
    """`body`: of the answer; `is_news`: whether it is worth answering for."""

    body: dict[str, Any] = field(default_factory=dict)
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What an extension looks at: the run, the rooms of the answer, what the client has and what this answer adds."""

    run: SyncRun
    chosen: Selection
    answers: Mapping[str, RoomAnswer]
    sent: Sent
    added: Sent

    def rooms_of(self, config: ExtensionConfig) -> list[str]:
        """The rooms of the answer that an extension is to tell of."""
        found: dict[str, None] = {}
        for room_id in config.rooms or ():
            if room_id == "*":
                return list(self.chosen.wanted)
            if room_id in self.chosen.wanted:
                found[room_id] = None
        for name in config.lists or ():
            for window in self.chosen.windows.values() if name == "*" else [self.chosen.windows.get(name, [])]:
                found |= dict.fromkeys(window)
        return list(found)


class ExtensionSections:
    """Answers extensions."""

    def __init__(
        self,
        *,
        to_device: ToDeviceSection,
        device_lists: DeviceListSection,
        key_counts: KeyCountSection,
        typing: TypingSection,
        receipts: Receipts,
        account_data: AccountDataService,
        threads: ThreadSubscriptions,
        sticky: StickyEvents,
        serializer: EventSerializer,
        stream: Stream,
    ) -> None:
        self._to_device = to_device
        self._device_lists = device_lists
        self._key_counts = key_counts
        self._typing = typing
        self._receipts = receipts
        self._account_data = account_data
        self._threads = threads
        self._sticky = sticky
        self._serializer = serializer
        self._stream = stream

    async def acknowledge(self, user_id: str, device_id: str | None, extensions: Extensions) -> None:
        """The messages to the device that the client has seen need not be kept. Raises InvalidParam."""
        config = extensions.to_device
        if device_id is not None and config is not None and config.enabled and config.since is not None:
            since = _place_of(config.since)
            if since <= self._stream.position:  # else it is of before a backup was restored, and nothing is known
                await self._to_device.acknowledge(user_id, device_id, since)

    async def answer(self, extensions: Extensions, look: Look) -> ExtensionsAnswer:
        """What is new."""
        answer = ExtensionsAnswer()
        sections = (
            ("to_device", extensions.to_device, self._messages),
            ("e2ee", extensions.e2ee, self._keys),
            ("account_data", extensions.account_data, self._data),
            ("receipts", extensions.receipts, self._read),
            ("typing", extensions.typing, self._types),
            (THREADS, extensions.thread_subscriptions, self._followed),
            (STICKY, extensions.sticky_events, self._held),
        )
        for name, config, section in sections:
            if config is not None and config.enabled:
                body, is_news = await section(config, look)
                if body is not None:
                    answer.body[name] = body
                answer.is_news |= is_news
        return answer

    async def _messages(self, config: ExtensionConfig, look: Look) -> tuple[dict[str, Any] | None, bool]:
        run = look.run
        since = 0 if config.since is None else _place_of(config.since)
        device_id = run.reader.device_id
        if since > self._stream.position:
            since = 0  # of before a backup was restored: nobody knows what the device has
        if device_id is None or since > run.now.position:
            return {"next_batch": config.since or str(run.now.position), "events": []}, False
        limit = min(config.limit if config.limit is not None and config.limit > 0 else TO_DEVICE_MAX, TO_DEVICE_MAX)
        if since and not self._stream.changed_since(Change.TO_DEVICE, run.user_id, since):
            return {"next_batch": str(run.now.position), "events": []}, False
        events, read_to = await self._to_device.messages(run.user_id, device_id, since, run.now.position, limit)
        return {"next_batch": str(read_to), "events": events}, bool(events)

    async def _keys(self, config: ExtensionConfig, look: Look) -> tuple[dict[str, Any] | None, bool]:
        run = look.run
        own = _part(run)
        await self._key_counts.add_to(own)
        body = dict(own.response)
        if run.is_initial:
            return body, False
        changed, left = await self._device_lists.changes(run)
        body["device_lists"] = {"changed": sorted(changed), "left": sorted(left)}
        return body, bool(changed or left)

    async def _data(self, config: ExtensionConfig, look: Look) -> tuple[dict[str, Any] | None, bool]:
        run, sent, added = look.run, look.sent.account_data, look.added.account_data
        wanted = {*look.rooms_of(config), GLOBAL}
        places = {room_id: _after(run, sent.get(room_id)) for room_id in wanted}
        changed = self._stream.changed_since(Change.ACCOUNT_DATA, run.user_id, run.after)
        everything: list[dict[str, Any]] = []
        rooms: dict[str, list[dict[str, Any]]] = {}
        is_behind = any(place < run.after or not place for place in places.values())
        if changed or is_behind:
            after = min(places.values()) if is_behind else run.after
            for change in await self._account_data.list_changes(run.user_id, after, run.now.position):
                room_id = change.room_id
                entry: dict[str, Any] = {"type": change.type, "content": msgspec.Raw(change.content.encode())}
                if room_id in wanted:
                    if change.position > places[room_id] or places[room_id] == 0:
                        (rooms.setdefault(room_id, []) if room_id else everything).append(entry)
                elif sent.get(room_id) == LIVE and change.position > run.after:
                    added[room_id] = run.after
        _note_live(wanted, sent, added)
        return {"global": everything, "rooms": rooms}, bool(everything or rooms)

    async def _read(self, config: ExtensionConfig, look: Look) -> tuple[dict[str, Any] | None, bool]:
        run, sent, added = look.run, look.sent.receipts, look.added.receipts
        wanted = [room_id for room_id in look.rooms_of(config) if look.chosen.rooms[room_id].membership == "join"]
        own_changed = self._stream.changed_since(Change.PRIVATE_RECEIPTS, run.user_id, run.after)
        live = [room_id for room_id, place in sent.items() if place == LIVE]
        news = live if own_changed else self._stream.changed_among(Change.RECEIPTS, live, run.after)
        changed = set(news)
        by_place: dict[int, list[str]] = {}
        for room_id in wanted:
            place = _after(run, sent.get(room_id))
            answer = look.answers.get(room_id)
            if answer is not None and answer.whole:
                place = 0
            if place != run.after or run.is_initial or room_id in changed or not place:
                by_place.setdefault(place, []).append(room_id)
        found: dict[str, Any] = {}
        for place, room_ids in by_place.items():
            for room_id, receipts in (await self._receipts.list_changed(room_ids, place)).items():
                answer = look.answers.get(room_id)
                shown = [
                    one
                    for one in receipts
                    if one.user_id not in run.ignored
                    and one.position <= run.now.position
                    and (place or one.user_id == run.user_id or (answer and one.event_id in answer.event_ids))
                ]
                contents = receipts_contents(sorted(shown, key=_thread_last), run.user_id)
                if contents:
                    found[room_id] = {"type": "m.receipt", "content": contents[0]}
        outside = changed.difference(wanted)
        added.update((room_id, run.after) for room_id in outside)
        _note_live(wanted, sent, added)
        return {"rooms": found}, bool(found)

    async def _types(self, config: ExtensionConfig, look: Look) -> tuple[dict[str, Any] | None, bool]:
        rooms = look.chosen.rooms
        joined = {one: rooms[one] for one in look.rooms_of(config) if rooms[one].membership == "join"}
        part = _part(look.run)
        part.joined = joined
        part.newly_joined = {one for one, answer in look.answers.items() if one in joined and answer.whole}
        await self._typing.add_to(part)
        found = {room_id: section["ephemeral"]["events"][0] for room_id, section in part.rooms.get("join", {}).items()}
        return {"rooms": found}, bool(found)

    async def _followed(self, config: ExtensionConfig, look: Look) -> tuple[dict[str, Any] | None, bool]:
        run = look.run
        if not run.is_initial and not self._stream.changed_since(Change.THREAD_SUBSCRIPTIONS, run.user_id, run.after):
            return None, False
        limit = max(1, min(config.limit if config.limit is not None else 100, THREADS_MAX))
        changes, more = await self._threads.list_changes(run.user_id, run.after, run.now.position, limit)
        if not changes:
            return None, False
        body: dict[str, Any] = dict(as_json(changes))
        if more is not None:
            body["prev_batch"] = place_after(more)
        return body, True

    async def _held(self, config: ExtensionConfig, look: Look) -> tuple[dict[str, Any] | None, bool]:
        """Sticky events of all rooms that the user is in, whatever the lists show, but for those in the timelines."""
        run = look.run
        since = 0 if config.since is None else _place_of(config.since)
        since = 0 if since > self._stream.position else since  # of before a backup was restored
        limit = max(1, min(config.limit if config.limit is not None else STICKY_MAX, STICKY_MAX))
        rooms = [room_id for room_id in await self._sticky.list_rooms(since) if room_id in run.memberships.joined]
        by_room, place = await self._sticky.list_of_rooms(rooms, since, run.now.position, limit=limit)
        found: dict[str, Any] = {}
        for room_id, held in by_room.items():
            answer = look.answers.get(room_id)
            shown = () if answer is None else answer.event_ids
            events = [
                self._serializer.serialize(stored, run.reader, with_room_id=False)
                for stored in held
                if stored.event_id not in shown and stored.event.sender not in run.ignored
            ]
            if events:
                found[room_id] = {"events": events}
        return {"rooms": found, "next_batch": str(max(since, place))}, bool(found)


def _part(run: SyncRun) -> SyncRun:
    """The same look at the stream, with nothing found yet."""
    return SyncRun(run.request, run.reader, run.since, run.now, run.memberships, run.ignored)


def _after(run: SyncRun, place: int | None) -> int:
    """The place up to which the client has something: 0 for nothing."""
    if place is None:
        return 0
    return run.after if place == LIVE else place


def _note_live(rooms: Iterable[str], sent: Mapping[str, int], added: dict[str, int]) -> None:
    """With this answer the client has all of these rooms."""
    added.update((room_id, LIVE) for room_id in rooms if sent.get(room_id) != LIVE)


def _thread_last(receipt: Receipt) -> bool:
    return receipt.thread_id != ""


def _place_of(text: str) -> int:
    """Raises InvalidParam."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidParam("The since of an extension is not one of this server's.")
    return int(text)
