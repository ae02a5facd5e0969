"""What operators may do to rooms: one bundle beside `services.py`, tied to the rooms that it acts on."""

from __future__ import annotations

from dataclasses import dataclass, field

from homeserver.clock import Clock
from homeserver.hooks import Hooks
from homeserver.notifier import Notifier
from homeserver.rooms.background_tasks import BackgroundTasks
from homeserver.rooms.blocking import RoomBlocks
from homeserver.rooms.deletion import RoomDeletion
from homeserver.rooms.erasure import Erasure
from homeserver.rooms.history_purge import HistoryPurge
from homeserver.rooms.retention import Retention, RetentionPurge, RetentionSettings
from homeserver.rooms.server_notices import ServerNotices, ServerNoticeSettings
from homeserver.rooms.services import RoomServices
from homeserver.rooms.suspension import Suspension
from homeserver.rooms.user_redaction import UserRedaction
from homeserver.storage.accounts import AccountStore
from homeserver.storage.aliases import AliasStore
from homeserver.storage.background_tasks import BackgroundTaskStore
from homeserver.storage.blocked_rooms import BlockedRoomStore
from homeserver.storage.database import Database
from homeserver.storage.purges import PurgeStore
from homeserver.storage.server_notices import ServerNoticeStore
from homeserver.stream import Stream
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class AdministrationSettings:
    """What an operator may set of it."""

    retention: RetentionSettings = field(default_factory=RetentionSettings)
    notices: ServerNoticeSettings = field(default_factory=ServerNoticeSettings)


@dataclass(frozen=True, slots=True)
class RoomAdministration:
    """The services, one a noun."""

    tasks: BackgroundTasks
    blocks: RoomBlocks
    deletion: RoomDeletion
    history: HistoryPurge
    retention: Retention
    retention_purge: RetentionPurge
    erasure: Erasure
    notices: ServerNotices
    redaction: UserRedaction
    suspension: Suspension
    purges: PurgeStore

    async def start(self) -> None:
        """Go on with what was left unfinished, before anybody is served."""
        await self.tasks.start()
        self.retention_purge.start()

    async def stop(self) -> None:
        await self.retention_purge.stop()
        await self.tasks.stop()

    def forget_all(self) -> None:
        """Another process may have changed anything."""
        self.blocks.forget_all()
        self.erasure.forget_all()
        self.notices.forget_all()
        self.suspension.forget_all()


def build_room_administration(
    db: Database,
    clock: Clock,
    stream: Stream,
    notifier: Notifier,
    hooks: Hooks,
    users: UserServices,
    rooms: RoomServices,
    settings: AdministrationSettings,
) -> RoomAdministration:
    """Build it and tie it to rooms, users and hooks."""
    server_name = rooms.settings.server_name
    purges = PurgeStore(db)
    tasks = BackgroundTasks(db, BackgroundTaskStore(db), clock)
    blocks = RoomBlocks(db, BlockedRoomStore(db), clock)
    suspension = Suspension(AccountStore(db))
    erasure = Erasure(db, AccountStore(db), purges)
    retention = Retention(settings.retention, clock)
    history = HistoryPurge(
        db=db,
        rooms=rooms.live,
        room_store=rooms.store,
        events=rooms.events,
        store=purges,
        tasks=tasks,
        server_name=server_name,
    )
    notices = ServerNotices(
        db=db,
        store=ServerNoticeStore(db),
        rooms=rooms.live,
        events=rooms.events,
        creation=rooms.creation,
        memberships=rooms.memberships,
        pipeline=rooms.pipeline,
        accounts=users.accounts,
        profiles=users.profiles,
        tags=users.tags,
        settings=settings.notices,
        server_name=server_name,
    )
    deletion = RoomDeletion(
        db=db,
        rooms=rooms.live,
        room_store=rooms.store,
        store=purges,
        aliases=AliasStore(db),
        blocks=blocks,
        creation=rooms.creation,
        memberships=rooms.memberships,
        pipeline=rooms.pipeline,
        tasks=tasks,
        stream=stream,
        notifier=notifier,
        clock=clock,
        server_name=server_name,
    )
    deletion.closing.append(notices.release)
    rooms.memberships.gates.append(blocks.check_may_enter)
    rooms.serializer.hides = erasure.hides
    rooms.visibility.before_view = erasure.load
    rooms.visibility.oldest_ms = retention.oldest_ms
    hooks.check_event += [suspension.check_event, notices.check_event]
    users.consents.exempt.add(notices.sender)
    users.hooks.flag_changed.append(suspension.flag_changed)
    hooks.check_invite.append(blocks.check_invite)
    hooks.check_registration.append(notices.check_registration)

    async def deactivated(user_id: str, erase: bool) -> None:
        if erase:
            await rooms.search_index.catch_up()  # what is indexed after this would be found again
            await erasure.erase(user_id)

    users.hooks.deactivated.append(deactivated)
    users.hooks.activated.append(erasure.forget)
    return RoomAdministration(
        tasks=tasks,
        blocks=blocks,
        deletion=deletion,
        history=history,
        retention=retention,
        retention_purge=RetentionPurge(retention=retention, rooms=rooms.live, store=purges, purge=history, clock=clock),
        erasure=erasure,
        notices=notices,
        redaction=UserRedaction(
            rooms=rooms.live,
            store=purges,
            memberships=rooms.memberships,
            sending=rooms.sending,
            tasks=tasks,
            server_name=server_name,
        ),
        suspension=suspension,
        purges=purges,
    )
