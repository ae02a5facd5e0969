"""Every part of the homeserver, built in order from plain values: what `app.py` and the tests put behind listeners.

Knows no sockets, no reactor and no configuration file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from signedjson.types import SigningKey

from homeserver.admin.access import OperatorAuthenticator, OperatorTokens
from homeserver.admin.register import SharedSecretRegistration
from homeserver.admin.services import AdminServices, AdminSettings, build_admin_services
from homeserver.appservice_api.client import AppserviceCalls, AppserviceClient
from homeserver.appservice_api.registration import Appservice
from homeserver.appservice_api.registry import Registry
from homeserver.appservice_api.routes import appservice_routes
from homeserver.appservice_api.services import AppserviceServices, AskingNamespaces, build_appservice_services
from homeserver.appservice_api.third_party import AppserviceNetworks
from homeserver.client_api.oauth_routes import oauth_routes, sso_flow
from homeserver.client_api.push_gateway import push_gateway_routes
from homeserver.client_api.retention import retention_routes
from homeserver.client_api.routes import routes as client_routes
from homeserver.client_api.services import Services
from homeserver.client_api.unsubscribing import UnsubscribePage
from homeserver.client_api.versions import PublicFacts
from homeserver.client_api.voip import TurnSettings
from homeserver.clock import Clock
from homeserver.encryption.remote import RemoteKeys
from homeserver.encryption.services import EncryptionServices, build_encryption_services
from homeserver.hooks import Hooks
from homeserver.http.authentication import Authenticator, BearerAuthenticator
from homeserver.http.rate_limits import FailedLoginLimiter, MessageLimiter
from homeserver.http.routing import Route
from homeserver.mail.mailer import Mailer, NoMailer
from homeserver.media.remote import RemoteMedia
from homeserver.media.services import MediaServices, MediaSettings, build_media_services
from homeserver.metrics import Metrics
from homeserver.notifier import Notifier
from homeserver.oauth.services import OAuthServices, OAuthSettings, build_oauth_services
from homeserver.outbound.client import NoOutbound, Outbound
from homeserver.push.services import PushServices, PushSettings, build_push_services
from homeserver.rooms.following_users import follow_users
from homeserver.rooms.remote import RemoteServers
from homeserver.rooms.services import RoomServices, RoomSettings, build_room_services
from homeserver.sso.services import SsoServices, build_sso_services
from homeserver.sso.settings import ProviderSettings
from homeserver.storage.database import Database
from homeserver.stream import Stream
from homeserver.sync.services import SyncServices, SyncSettings, build_sync_services
from homeserver.sync.socket import FEATURE as SYNC_SOCKET_FEATURE
from homeserver.users.passwords import RunInThread
from homeserver.users.services import UserServices, UserSettings, build_user_services


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the parts need to know of the configuration."""

    server_name: str
    signing_key: SigningKey
    users: UserSettings
    rooms: RoomSettings
    facts: PublicFacts
    sync: SyncSettings = field(default_factory=SyncSettings)
    media: MediaSettings = field(default_factory=MediaSettings)
    registration_shared_secret: str | None = None
    admin: AdminSettings = field(default_factory=AdminSettings)
    messages_per_hour: int = 6
    turn: TurnSettings = field(default_factory=TurnSettings)
    push: PushSettings = field(default_factory=PushSettings)
    oauth: OAuthSettings = field(default_factory=OAuthSettings)
    identity_providers: tuple[ProviderSettings, ...] = ()


class Remote(RemoteServers, RemoteKeys, RemoteMedia, Protocol):
    """Other servers, as far as a homeserver asks them; federation/ implements it."""


@dataclass(slots=True)
class Homeserver:
    """A built homeserver."""

    settings: ServerSettings
    db: Database
    clock: Clock
    stream: Stream
    notifier: Notifier
    hooks: Hooks
    metrics: Metrics
    users: UserServices
    encryption: EncryptionServices
    media: MediaServices
    rooms: RoomServices
    sync: SyncServices
    push: PushServices
    appservices: AppserviceServices
    oauth: OAuthServices
    sso: SsoServices
    admin: AdminServices
    authenticator: Authenticator
    client_routes: list[Route] = field(default_factory=list)
    admin_routes: list[Route] = field(default_factory=list)

    async def start(self) -> None:
        """Begin what runs beside the requests."""
        self.users.start()
        await self.admin.start()
        await self.appservices.start()
        self.rooms.search_index.start()
        self.media.start()
        await self.push.start()
        await self.rooms.delayed_events.start()

    async def close(self) -> None:
        """Stop timers and write what is only in memory; the database is closed by whoever opened it."""
        self.notifier.close()
        await self.admin.stop()
        await self.rooms.delayed_events.close()
        await self.appservices.stop()
        await self.rooms.search_index.stop()
        await self.push.stop()
        self.rooms.typing.close()
        await self.media.close()
        await self.users.close()


def build(
    db: Database,
    clock: Clock,
    settings: ServerSettings,
    *,
    hooks: Hooks | None = None,
    run_in_thread: RunInThread = asyncio.to_thread,
    appservices: Iterable[Appservice] = (),
    appservice_calls: AppserviceCalls | None = None,
    mailer: Mailer | None = None,
    outbound: Outbound | None = None,
    remote: Remote | None = None,
) -> Homeserver:
    """Build every part, each from those above it. `appservice_calls` is for tests that have no sockets; without
    `mailer` no e-mails are sent, without `outbound` nobody else is asked anything, and without `remote` there are no
    other servers."""
    registry = Registry(appservices)
    calls = appservice_calls or AppserviceClient()
    hooks = hooks or Hooks()
    mailer = mailer or NoMailer()
    outbound = outbound or NoOutbound()
    metrics = Metrics()
    stream = Stream(db.position)
    notifier = Notifier(stream, clock)
    users = build_user_services(
        db,
        clock,
        stream,
        FailedLoginLimiter(clock),
        settings.users,
        hooks=hooks,
        appservices=registry,
        namespaces=registry,
        run_in_thread=run_in_thread,
        mailer=mailer,
        message_limiter=MessageLimiter(clock, settings.messages_per_hour),
        outbound=outbound,
        signing_key=settings.signing_key,
    )

    oauth = build_oauth_services(db, clock, users, FailedLoginLimiter(clock), settings.oauth)
    hooks.check_invite.append(users.invite_permissions.check)
    sso = build_sso_services(
        db, clock, users, outbound, settings.oauth.base_url, settings.server_name, settings.identity_providers
    )
    oauth.token_endpoint.session_opened.append(sso.identities.note_device)
    oauth.offer_proofs(users, sso.identities.has_identity)
    encryption = build_encryption_services(db, stream, users, settings.server_name, remote)
    media = build_media_services(db, clock, settings.server_name, settings.media, run_in_thread, outbound, remote)

    async def profile_of(user_id: str) -> Mapping[str, Any]:
        fields = await users.profiles.find_profile(user_id)
        return {name: fields[name] for name in ("displayname", "avatar_url") if fields.get(name)}

    async def is_guest(user_id: str) -> bool:
        account = await users.accounts.find_account(user_id)
        return account is not None and account.is_guest

    async def exists(user_id: str) -> bool:
        return await users.accounts.find_account(user_id) is not None

    asking = AskingNamespaces(registry, calls, exists)
    hooks.check_invite.append(asking.ask_for_user)
    rooms = build_room_services(
        db,
        clock,
        stream,
        notifier,
        settings.rooms,
        settings.signing_key,
        profile_of=profile_of,
        is_guest=is_guest,
        threepids=users.threepids,
        identity_servers=users.identity_servers,
        hooks=hooks,
        remote=remote,
        namespaces=asking,
    )
    follow_users(users, rooms)
    sync = build_sync_services(db, clock, stream, notifier, users, rooms, encryption, settings.sync)
    _count_syncs(metrics, sync)
    push = build_push_services(
        db,
        clock,
        stream,
        users,
        rooms,
        sync.counts,
        outbound,
        mailer,
        metrics,
        settings.push,
        server_name=settings.server_name,
        public_base_url=settings.facts.public_base_url or f"https://{settings.server_name}",
        secret=settings.signing_key.encode(),
    )
    bridges = build_appservice_services(db, clock, stream, registry, calls, users, rooms)

    def another_process_wrote(old: int, new: int) -> None:
        rooms.live.forget_all()
        admin.forget_all()
        rooms.sticky_events.forget_all()
        rooms.thread_subscriptions.forget_all()
        users.forget_all()
        encryption.forget_all()
        sync.user_rooms.forget_all()
        sync.sliding.forget_all()
        push.forget_all()
        stream.foreign_position(new)
        notifier.wake_all()

    db.on_foreign_position(another_process_wrote)
    api = Services(
        users, _facts(settings), AppserviceNetworks(registry, calls), settings.turn, clock, sso_flow(oauth, sso)
    )
    admin = build_admin_services(db, clock, stream, notifier, hooks, users, media, rooms, settings.admin)
    for purged in (admin.rooms.deletion.purged, admin.rooms.history.purged):
        purged.append(sync.counts.forget_room)
    operator_tokens = OperatorTokens(settings.signing_key.encode(), settings.server_name, clock)
    operators = SharedSecretRegistration(users.registration, clock, settings.registration_shared_secret)
    return Homeserver(
        settings=settings,
        db=db,
        clock=clock,
        stream=stream,
        notifier=notifier,
        hooks=hooks,
        metrics=metrics,
        users=users,
        encryption=encryption,
        media=media,
        rooms=rooms,
        sync=sync,
        push=push,
        appservices=bridges,
        oauth=oauth,
        sso=sso,
        admin=admin,
        authenticator=OperatorAuthenticator(BearerAuthenticator(users.authentication), operator_tokens),
        client_routes=[
            *client_routes(api, rooms, sync, encryption, media),
            *appservice_routes(bridges, clock),
            *push_gateway_routes(push.gateway),
            *retention_routes(admin.rooms.retention),
            *UnsubscribePage(push.unsubscribe_links).routes(),
            *oauth_routes(users, oauth, sso),
        ],
        admin_routes=[*operators.routes(), *admin.routes],
    )


def _count_syncs(metrics: Metrics, sync: SyncServices) -> None:
    """What is kept open for clients."""
    sliding, sockets = sync.sliding.connections, sync.sockets
    metrics.add_counter("halfdoor_sliding_sync_begun", "Connections of sliding sync that began", lambda: sliding.begun)
    metrics.add_counter(
        "halfdoor_sliding_sync_expired", "Requests of sliding sync with unknown positions", lambda: sliding.unknown
    )
    metrics.add_gauge("halfdoor_sliding_sync_known", "Connections of sliding sync in memory", lambda: sliding.in_memory)
    metrics.add_gauge("halfdoor_sync_sockets", "Open WebSockets of /sync", lambda: len(sockets))
    metrics.add_counter("halfdoor_sync_socket_deltas", "Deltas sent over WebSockets", lambda: sockets.deltas)
    metrics.add_counter("halfdoor_sync_socket_refused", "WebSockets refused for their number", lambda: sockets.refused)


def _facts(settings: ServerSettings) -> PublicFacts:
    """What is told to anybody, with what follows from other settings."""
    delayed = settings.rooms.delayed_events
    limits = {"max_delay_ms": delayed.max_delay_ms, "max_scheduled": delayed.max_of_user}
    return replace(
        settings.facts,
        capabilities={"org.matrix.msc4140.delayed_events": limits, **settings.facts.capabilities},
        unstable_features={
            "org.matrix.msc4140": delayed.max_delay_ms > 0,
            SYNC_SOCKET_FEATURE: settings.sync.sockets is not None,
            "org.matrix.msc4108": settings.oauth.is_enabled,
            **settings.facts.unstable_features,
        },
    )
