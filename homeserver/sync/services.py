"""Everything of sync/ and push/, built in order from the parts below."""

from __future__ import annotations

from dataclasses import dataclass, field

from homeserver.clock import Clock
from homeserver.encryption.services import EncryptionServices
from homeserver.notifier import Notifier
from homeserver.push.notifications import Notifications
from homeserver.push.unread_counts import UnreadCounts
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database
from homeserver.storage.purges import PurgeStore
from homeserver.storage.receipts import ReceiptStore
from homeserver.storage.sliding_sync import SlidingSyncStore
from homeserver.stream import Stream
from homeserver.sync.initial_sync import InitialSync
from homeserver.sync.lazy_members import LazyMembers
from homeserver.sync.room_window import RoomWindows
from homeserver.sync.sliding.activity import RoomActivity
from homeserver.sync.sliding.connections import Connections
from homeserver.sync.sliding.extensions import ExtensionSections
from homeserver.sync.sliding.lists import RoomLists
from homeserver.sync.sliding.rooms import RoomAnswers
from homeserver.sync.sliding.sliding_sync import SlidingSync
from homeserver.sync.socket import SocketLimits, SyncSockets
from homeserver.sync.streams import Section
from homeserver.sync.streams.account_data import AccountDataSection
from homeserver.sync.streams.deleted_rooms import DeletedRoomSection
from homeserver.sync.streams.device_lists import DeviceListSection
from homeserver.sync.streams.invites import InviteSection
from homeserver.sync.streams.joined_rooms import JoinedRoomSection
from homeserver.sync.streams.key_counts import KeyCountSection
from homeserver.sync.streams.left_rooms import LeftRoomSection
from homeserver.sync.streams.presence import PresenceSection
from homeserver.sync.streams.receipts import ReceiptSection
from homeserver.sync.streams.sticky_events import StickyEventSection
from homeserver.sync.streams.to_device import ToDeviceSection
from homeserver.sync.streams.typing import TypingSection
from homeserver.sync.sync import Sync
from homeserver.sync.user_rooms import UserRooms
from homeserver.sync.waiting import LongPolls
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """Bounds: events of a room where the client names no limit, and at most; longest wait of a long poll;
    `sockets`: of /sync over WebSocket, None where there is none."""

    timeline_limit_default: int = 10
    timeline_limit_max: int = 100
    timeout_max_ms: int = 120_000
    sockets: SocketLimits | None = field(default_factory=SocketLimits)


@dataclass(frozen=True, slots=True)
class SyncServices:
    """The services of sync/ and of push/."""

    settings: SyncSettings
    sync: Sync
    user_rooms: UserRooms
    windows: RoomWindows
    counts: UnreadCounts
    invites: InviteSection
    initial_sync: InitialSync
    notifications: Notifications
    sliding: SlidingSync
    sockets: SyncSockets


def build_sync_services(
    db: Database,
    clock: Clock,
    stream: Stream,
    notifier: Notifier,
    users: UserServices,
    rooms: RoomServices,
    encryption: EncryptionServices,
    settings: SyncSettings | None = None,
) -> SyncServices:
    """Everything that answers /sync."""
    settings = settings or SyncSettings()
    receipts = ReceiptStore(db)
    lazy_members = LazyMembers()
    user_rooms = UserRooms(rooms.memberships, stream, notifier)
    windows = RoomWindows(rooms=rooms.live, store=rooms.store, events=rooms.events, visibility=rooms.visibility)
    counts = UnreadCounts(
        events=rooms.events,
        receipts=receipts,
        rooms=rooms.store,
        stream=stream,
        rules_of=users.push_rules.rules_of,
        ignored_of=users.account_data.ignored_users,
        threads=rooms.thread_subscriptions,
    )
    joined = JoinedRoomSection(
        rooms=rooms.live,
        windows=windows,
        stream=stream,
        counts=counts,
        receipts=receipts,
        aggregations=rooms.aggregations,
        serializer=rooms.serializer,
        lazy_members=lazy_members,
        clock=clock,
        limit_default=settings.timeline_limit_default,
        limit_max=settings.timeline_limit_max,
    )
    invites = InviteSection(rooms.live, users.invite_permissions, rooms.invites_from_elsewhere)
    to_device = ToDeviceSection(users.to_device, stream)
    typing = TypingSection(rooms.typing)
    device_lists = DeviceListSection(
        users.device_lists, encryption.cross_signing_store, rooms.live, rooms.store, windows, stream
    )
    key_counts = KeyCountSection(encryption.key_counts)
    sections: list[Section] = [
        ReceiptSection(rooms.receipts, stream),
        typing,
        AccountDataSection(users.account_data, stream),
        PresenceSection(users.presence, rooms.live, rooms.store, stream),
        joined,
        StickyEventSection(rooms.sticky_events, rooms.serializer),
        invites,
        LeftRoomSection(
            rooms=rooms.live,
            events=rooms.events,
            windows=windows,
            visibility=rooms.visibility,
            joined=joined,
            permissions=users.invite_permissions,
            limit_default=settings.timeline_limit_default,
            limit_max=settings.timeline_limit_max,
        ),
        DeletedRoomSection(store=PurgeStore(db), stream=stream),
    ]
    polls = LongPolls(notifier, clock, users.presence)
    sync = Sync(
        stream=stream,
        polls=polls,
        user_rooms=user_rooms,
        typing=rooms.typing,
        account_data=users.account_data,
        to_device=to_device,
        device_lists=device_lists,
        key_counts=key_counts,
        lazy_members=lazy_members,
        sections=sections,
        partial=rooms.live.partial,
    )
    initial_sync = InitialSync(
        users=users, rooms=rooms, sync=sync, user_rooms=user_rooms, stream=stream, notifier=notifier, clock=clock
    )
    notifications = Notifications(
        rooms=rooms.live,
        store=rooms.store,
        events=rooms.events,
        receipts=receipts,
        visibility=rooms.visibility,
        serializer=rooms.serializer,
        rules_of=users.push_rules.rules_of,
        threads=rooms.thread_subscriptions,
    )
    store = SlidingSyncStore(db)
    activity = RoomActivity(rooms.live, store, stream)
    connections = Connections(db, store, clock)
    users.hooks.device_removed.append(connections.remove_device)
    sliding = SlidingSync(
        sync=sync,
        polls=polls,
        stream=stream,
        connections=connections,
        activity=activity,
        lists=RoomLists(
            rooms=rooms.live,
            visibility=rooms.visibility,
            activity=activity,
            account_data=users.account_data,
            permissions=users.invite_permissions,
            stream=stream,
            events_max=settings.timeline_limit_max,
        ),
        answers=RoomAnswers(
            rooms=rooms.live,
            events=rooms.events,
            windows=windows,
            visibility=rooms.visibility,
            counts=counts,
            joined=joined,
            invites=invites,
        ),
        extensions=ExtensionSections(
            to_device=to_device,
            device_lists=device_lists,
            key_counts=key_counts,
            typing=typing,
            receipts=rooms.receipts,
            account_data=users.account_data,
            threads=rooms.thread_subscriptions,
            sticky=rooms.sticky_events,
            serializer=rooms.serializer,
            stream=stream,
        ),
        live=rooms.live,
        receipts=receipts,
        purges=PurgeStore(db),
    )
    sockets = SyncSockets(
        sync=sync,
        authentication=users.authentication,
        filters=users.filters,
        notifier=notifier,
        clock=clock,
        limits=settings.sockets,
    )
    users.tokens.listeners.append(sockets.tokens_changed)
    return SyncServices(
        settings, sync, user_rooms, windows, counts, invites, initial_sync, notifications, sliding, sockets
    )
