"""Everything of admin/, built in order from the parts below: what composition.py puts beside the client's API."""

from __future__ import annotations

from dataclasses import dataclass, field

from homeserver.admin.access import AdminRoutes
from homeserver.admin.devices import DeviceAdminApi
from homeserver.admin.federation import FederationAdminApi
from homeserver.admin.media import MediaAdminApi
from homeserver.admin.registration_tokens import RegistrationTokenApi
from homeserver.admin.reports import ReportAdminApi
from homeserver.admin.room_changes import RoomChangeApi
from homeserver.admin.rooms import RoomAdminApi
from homeserver.admin.routes import AdminApis, admin_routes
from homeserver.admin.server import ServerAdminApi
from homeserver.admin.statistics import StatisticsApi
from homeserver.admin.user_activity import UserActivityApi
from homeserver.admin.user_export import UserExport, UserExportApi
from homeserver.admin.users import UserAdminApi
from homeserver.clock import Clock
from homeserver.hooks import Hooks
from homeserver.http.routing import Route
from homeserver.media.services import MediaServices
from homeserver.notifier import Notifier
from homeserver.rooms.administration import AdministrationSettings, RoomAdministration, build_room_administration
from homeserver.rooms.inspection import Inspection
from homeserver.rooms.room_listing import RoomListing
from homeserver.rooms.room_power import RoomPower
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database
from homeserver.storage.public_rooms import PublicRoomStore
from homeserver.storage.room_listing import RoomListingStore
from homeserver.stream import Stream
from homeserver.users.administration import UserAdministration, build_user_administration
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """What an operator may set of the operators' API. `networks`: from where it may be reached; none: from anywhere."""

    networks: tuple[str, ...] = ()
    administration: AdministrationSettings = field(default_factory=AdministrationSettings)


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What operators act through."""

    users: UserAdministration
    rooms: RoomAdministration
    federation: FederationAdminApi
    export: UserExport
    routes: list[Route]

    async def start(self) -> None:
        """Go on with what was left unfinished, before anybody is served."""
        await self.users.rate_limits.start()
        await self.rooms.start()

    async def stop(self) -> None:
        await self.rooms.stop()

    def forget_all(self) -> None:
        """Another process may have changed anything."""
        self.rooms.forget_all()


def build_admin_services(
    db: Database,
    clock: Clock,
    stream: Stream,
    notifier: Notifier,
    hooks: Hooks,
    users: UserServices,
    media: MediaServices,
    rooms: RoomServices,
    settings: AdminSettings,
) -> AdminServices:
    """Build it and tie it to what it acts on."""
    server_name = rooms.settings.server_name
    of_users = build_user_administration(db, clock, users)
    of_rooms = build_room_administration(db, clock, stream, notifier, hooks, users, rooms, settings.administration)
    listing = RoomListing(RoomListingStore(db), PublicRoomStore(db), server_name)
    inspection = Inspection(
        rooms=rooms.live,
        store=rooms.store,
        events=rooms.events,
        aliases=rooms.aliases,
        serializer=rooms.serializer,
        server_name=server_name,
    )
    power = RoomPower(
        rooms=rooms.live,
        memberships=rooms.memberships,
        pipeline=rooms.pipeline,
        accounts=users.accounts,
        server_name=server_name,
    )
    export = UserExport(db, users, rooms, media, clock, server_name)
    federation = FederationAdminApi(db)
    apis = AdminApis(
        federation=federation,
        server=ServerAdminApi(of_rooms.tasks, users),
        users=UserAdminApi(db, users, of_users, server_name, clock.now_ms),
        activity=UserActivityApi(db, users, rooms, of_users, of_rooms, server_name),
        devices=DeviceAdminApi(db, users, server_name),
        tokens=RegistrationTokenApi(db, users.registration_tokens, clock.now_ms),
        reports=ReportAdminApi(db, rooms),
        rooms=RoomAdminApi(listing, inspection, rooms.hierarchy),
        room_changes=RoomChangeApi(of_rooms, power, inspection),
        media=MediaAdminApi(media.upkeep, inspection, users.accounts, server_name),
        statistics=StatisticsApi(db, listing),
        export=UserExportApi(export),
    )
    return AdminServices(of_users, of_rooms, federation, export, admin_routes(apis, AdminRoutes(settings.networks)))
