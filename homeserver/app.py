"""The composition root: from a configuration to a running server, and to its graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import hashlib
import logging
import random
import re
import signal
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop
from signedjson.key import read_signing_keys
from signedjson.types import SigningKey

from config.settings import S3, IdentityProvider, Listener, Settings
from homeserver.admin.services import AdminSettings
from homeserver.appservice_api.registration import load_registration
from homeserver.appservice_api.registry import Registry
from homeserver.client_api.sync_socket import SyncSocketRoute
from homeserver.client_api.versions import PublicFacts
from homeserver.client_api.voip import TurnSettings
from homeserver.clock import Clock, SystemClock
from homeserver.composition import Homeserver, ServerSettings, build
from homeserver.hooks import Hooks
from homeserver.http.application import HttpApplication, HttpSettings
from homeserver.http.rate_limits import ClassLimits, RateLimit, RouteLimiter
from homeserver.http.reactor import install_reactor
from homeserver.http.routing import RateClass, Route, Router
from homeserver.http.scraping import metrics_routes
from homeserver.http.tls import TlsFiles
from homeserver.http.twisted_server import HttpServer
from homeserver.logs import configure_logs
from homeserver.mail.mailer import Mailer, NoMailer
from homeserver.media.file_store import FileStore
from homeserver.media.remote_files import RemoteLimits
from homeserver.media.services import MediaSettings
from homeserver.media.thumbnail_maker import ThumbnailLimits
from homeserver.media.upkeep import Retention
from homeserver.media.uploads import UploadLimits
from homeserver.media.url_previews import PreviewSettings
from homeserver.oauth.services import OAuthSettings
from homeserver.outbound.address_guard import AddressGuard
from homeserver.outbound.client import OutboundClient
from homeserver.protocol.identifiers import parse_server_name
from homeserver.push.gateway.apps import APNS_SANDBOX_URL, AppSettings
from homeserver.push.services import PushSettings
from homeserver.rooms.administration import AdministrationSettings
from homeserver.rooms.delayed_events import DelayedEventSettings
from homeserver.rooms.retention import RetentionSettings
from homeserver.rooms.server_notices import ServerNoticeSettings
from homeserver.rooms.services import RoomSettings
from homeserver.sso.settings import ProviderSettings
from homeserver.storage.database import Database
from homeserver.storage.opening import open_database
from homeserver.sync.services import SyncSettings
from homeserver.sync.socket import PATH as SYNC_SOCKET_PATH
from homeserver.sync.socket import SocketLimits
from homeserver.users.access_tokens import TokenSettings
from homeserver.users.account_validity import ValiditySettings
from homeserver.users.consents import ConsentSettings
from homeserver.users.passwords import PasswordSettings
from homeserver.users.recaptcha import Recaptcha
from homeserver.users.registration import RegistrationSettings
from homeserver.users.requester import Requester
from homeserver.users.services import UserSettings
from homeserver.users.validation_sessions import EmailSettings

if TYPE_CHECKING:
    from bridges.webchat import WebchatBridge
    from federation.remote_servers import RemoteServers
    from federation.services import FederationServices

GARBAGE_THRESHOLDS = (20_000, 10, 10)
"""How many objects are made between two looks for cycles: a request makes hundreds and leaves none behind, so looking
every 700, as Python does by itself, is mostly for nothing."""
DELETION_PAUSE_SECONDS = 5.0
"""Other servers and bridges read the stream at their own pace; by then they have heard who left the room."""

FIRST_REQUESTS_SECONDS = 1.0
"""After somebody joins a big room elsewhere, their client shows it and they say something before its members follow."""

_log = logging.getLogger("homeserver")


def run(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT. Returns the exit status."""
    configure_logs(
        style="json" if settings.logging.format == "json" else "human",
        level=settings.logging.level,
        areas=settings.logging.levels,
    )
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    reactor = install_reactor(loop)
    try:
        loop.run_until_complete(_serve(settings, reactor))
    finally:
        reactor.getThreadPool().stop()  # names are looked up there, and its threads would keep the process alive
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    return 0


async def _serve(settings: Settings, reactor: Any) -> None:
    running = await start(settings, reactor)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, running.http.reload_tls)
    _give_back_memory()
    _log.info("%s is ready: %s", settings.server_name, ", ".join(running.addresses))
    await stopped.wait()
    _log.info("Stopping: no further requests are taken")
    await running.stop(settings.shutdown_seconds)
    _log.info("Stopped")


def _give_back_memory() -> None:
    """What the start needed for a moment (4 MiB, mostly compiled modules and the parsed configuration) is the system's
    again; glibc would keep it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@dataclass(slots=True)
class RunningServer:
    """A server with its listeners."""

    homeserver: Homeserver
    http: HttpServer
    webchat: WebchatBridge | None
    addresses: list[str]
    outbound: OutboundClient
    federation: FederationServices | None

    async def stop(self, grace_seconds: float) -> None:
        """End what runs, write what is only in memory, close the database."""
        async with contextlib.AsyncExitStack() as steps:  # the last one first; one that fails keeps none from its turn
            steps.push_async_callback(self.homeserver.db.close)
            steps.push_async_callback(self.outbound.close)
            steps.push_async_callback(self.homeserver.close)
            if self.federation is not None:
                steps.push_async_callback(self.federation.stop)
            steps.push_async_callback(self.http.shut_down, grace_seconds, wake=self.homeserver.notifier.close)
            steps.push_async_callback(self.homeserver.sync.sockets.close)
            if self.webchat is not None:
                steps.push_async_callback(self.webchat.stop)


async def start(settings: Settings, reactor: Any) -> RunningServer:
    """Open the database, build the parts and listen."""
    clock = SystemClock()
    url = settings.database.url
    db = await open_database(str(settings.database.sqlite_file) if url is None else url.reveal(), clock)
    async with contextlib.AsyncExitStack() as undo:  # what was begun would keep the process from ending
        undo.push_async_callback(db.close)
        running = await _start_on(db, clock, settings, reactor, undo)
        undo.pop_all()
        return running


async def _start_on(
    db: Database, clock: Clock, settings: Settings, reactor: Any, undo: contextlib.AsyncExitStack
) -> RunningServer:
    appservices = [load_registration(file, settings.server_name) for file in settings.appservices.registration_files]
    webchat: WebchatBridge | None = None
    if settings.webchat.enabled:
        from homeserver.bundled_webchat import start_webchat  # costs memory that servers without it keep

        webchat, registered = await start_webchat(settings)
        appservices.append(registered)
    outbound = outbound_of(settings, reactor)
    hooks = Hooks()
    recaptcha = settings.registration.recaptcha
    if recaptcha.secret_key is not None:
        hooks.verify_captcha.append(Recaptcha(recaptcha.secret_key.reveal(), recaptcha.verify_url).verify)
    federated = None
    if settings.federation.enabled:
        from federation.remote_servers import RemoteServers  # costs memory that servers without it keep

        federated = RemoteServers(settings.server_name)
    homeserver = build(
        db,
        clock,
        server_settings(settings),
        hooks=hooks,
        appservices=appservices,
        mailer=mailer_of(settings, clock),
        outbound=outbound,
        remote=federated,
    )
    federation = None if federated is None else federation_of(settings, homeserver, federated, reactor)
    if settings.ldap.uri is not None:
        use_directory(settings, homeserver)
    undo.push_async_callback(homeserver.close)
    homeserver.admin.rooms.deletion.pause_seconds = DELETION_PAUSE_SECONDS
    homeserver.admin.rooms.deletion.pauses_for_bridges = bool(appservices)
    await homeserver.start()
    if federation is not None:
        await federation.start()
        homeserver.admin.federation.reset = federation.backoff.forget
        homeserver.admin.federation.told = federation.sender.told
    http = HttpServer(reactor, clock)
    limiter: RouteLimiter | None = None
    if settings.rate_limits.enabled:
        exempt = partial(is_exempt, homeserver.appservices.registry)
        override = homeserver.admin.users.rate_limits.of_user
        limiter = RouteLimiter(clock, route_limits(settings), is_exempt=exempt, override=override)
    addresses: list[str] = []
    for listener in settings.listeners:
        application = HttpApplication(
            Router(_rows(homeserver, federation, listener)),
            homeserver.authenticator,
            limiter,
            clock=clock,
            settings=HttpSettings(
                upload_body_limit=settings.media.max_upload_bytes, trusted_proxies=tuple(listener.trusted_proxies)
            ),
            metrics=homeserver.metrics.requests,
        )
        listening = http.listen_tcp(
            application,
            listener.host,
            listener.port,
            tls=_tls(listener),
            websocket_routes=_sockets(settings, homeserver, listener, reactor),
        )
        addresses.append(f"{listener.host}:{listening.port} ({', '.join(listener.apis)})")
    if settings.metrics.enabled:
        scraped = HttpApplication(Router(metrics_routes(homeserver.metrics)), homeserver.authenticator, clock=clock)
        http.listen_tcp(scraped, settings.metrics.host, settings.metrics.port, is_essential=True)
        addresses.append(f"{settings.metrics.host}:{settings.metrics.port} (metrics)")
    if webchat is not None:
        addresses.append(f"{webchat.public_url} (webchat)")
    return RunningServer(homeserver, http, webchat, addresses, outbound, federation)


def server_settings(settings: Settings) -> ServerSettings:
    """What the parts need to know, as plain values."""
    registration = settings.registration
    policies: dict[str, dict[str, Any]] = {}
    for policy in registration.terms:
        document = policies.setdefault(policy.name, {"version": policy.version})
        document[policy.language] = {"name": policy.title, "url": policy.url}
    signing_key = _signing_key(settings)
    sessions = settings.sessions
    return ServerSettings(
        server_name=settings.server_name,
        signing_key=signing_key,
        messages_per_hour=settings.mail.per_address_per_hour,
        facts=public_facts(settings),
        registration_shared_secret=None if registration.shared_secret is None else registration.shared_secret.reveal(),
        users=UserSettings(
            server_name=parse_server_name(settings.server_name),
            passwords=PasswordSettings(
                minimum_length=settings.passwords.minimum_length,
                memory_kib=settings.passwords.argon2_memory_kib,
                iterations=settings.passwords.argon2_iterations,
            ),
            tokens=TokenSettings(
                refreshable_ms=sessions.refreshable_access_token_lifetime_seconds * 1000,
                plain_ms=sessions.access_token_lifetime_seconds * 1000 or None,
                refresh_ms=sessions.refresh_token_lifetime_seconds * 1000 or None,
            ),
            registration=RegistrationSettings(
                is_open=registration.enabled,
                needs_token=registration.token_required,
                policies=policies,
                recaptcha_public_key=registration.recaptcha.site_key,
                allows_guests=registration.guests,
                needs_email=registration.email_required,
            ),
            validity=ValiditySettings(
                period_days=settings.account_validity.period_days if settings.account_validity.enabled else None,
                renew_days=settings.account_validity.renew_days,
                base_url=settings.public_base_url,
                language=settings.mail.language,
            ),
            consent=ConsentSettings(
                policies=policies,
                is_enforced=registration.terms_enforced,
                base_url=settings.public_base_url,
                secret=hashlib.sha256(b"consent" + signing_key.encode()).digest(),
            ),
            email=EmailSettings(
                base_url=settings.public_base_url,
                next_link_hosts=tuple(settings.mail.next_link_hosts),
                patterns=tuple(re.compile(pattern) for pattern in registration.email_patterns),
                hides_accounts=settings.mail.hide_accounts,
            ),
            presence_enabled=settings.presence.enabled,
            directory_finds_everybody=settings.user_directory.search_all_users,
            profiles_for_strangers=settings.user_directory.profiles_for_strangers,
            trusted_push_gateways=tuple(settings.push.allowed_gateways),
        ),
        oauth=OAuthSettings(is_enabled=settings.oauth.enabled, base_url=settings.public_base_url),
        identity_providers=tuple(provider_settings(provider) for provider in settings.identity_providers),
        turn=TurnSettings(
            uris=tuple(settings.turn.uris),
            shared_secret="" if settings.turn.shared_secret is None else settings.turn.shared_secret.reveal(),
            lifetime_seconds=settings.turn.lifetime_seconds,
        ),
        push=push_settings(settings),
        sync=SyncSettings(
            timeline_limit_default=settings.sync.timeline_limit_default,
            timeline_limit_max=settings.sync.timeline_limit_max,
            timeout_max_ms=settings.sync.timeout_max_ms,
            sockets=SocketLimits(per_user=settings.sync.websockets_per_user)
            if settings.sync.websocket_enabled
            else None,
        ),
        media=media_settings(settings),
        rooms=RoomSettings(
            server_name=settings.server_name,
            default_version=settings.rooms.default_version,
            invites_at_creation_max=settings.rooms.invites_at_creation_max,
            creation_for_everyone=settings.rooms.creation_for_everyone,
            directory_for_everyone=settings.rooms.directory_for_everyone,
            invites_by_address=settings.rooms.invites_by_address,
            delayed_events=DelayedEventSettings(
                max_delay_ms=settings.delayed_events.max_delay_seconds * 1000,
                max_of_user=settings.delayed_events.max_of_user,
            ),
        ),
        admin=admin_settings(settings),
    )


def admin_settings(settings: Settings) -> AdminSettings:
    """Who operates the server from where, and what it does by itself."""
    retention, server_notices = settings.retention, settings.server_notices

    def milliseconds(days: float | None) -> int | None:
        return None if days is None else round(days * 24 * 3600 * 1000)

    return AdminSettings(
        networks=tuple(settings.admin.networks),
        administration=AdministrationSettings(
            retention=RetentionSettings(
                enabled=retention.enabled,
                default_ms=milliseconds(retention.default_days),
                minimum_ms=milliseconds(retention.minimum_days),
                maximum_ms=milliseconds(retention.maximum_days),
                purge_seconds=retention.purge_interval_seconds,
            ),
            notices=ServerNoticeSettings(
                localpart=server_notices.localpart,
                display_name=server_notices.display_name,
                avatar_url=server_notices.avatar_url,
                room_name=server_notices.room_name,
            ),
        ),
    )


def outbound_of(settings: Settings, reactor: Any) -> OutboundClient:
    """What asks addresses that others name."""
    outbound = settings.outbound
    public = (443, 8448)  # what listens there may be asked by anybody
    own_ports = {each.port for each in settings.listeners if each.port not in public}
    own_ports |= {settings.metrics.port, settings.webchat.port}
    guard = AddressGuard(outbound.allowed_networks, outbound.denied_networks, outbound.allowed_ports, own_ports)
    return OutboundClient(guard, outbound.user_agent, reactor)


def federation_of(
    settings: Settings, homeserver: Homeserver, remote: RemoteServers, reactor: Any
) -> FederationServices:
    """Other servers: they may listen on any port, and are asked by a client of their own."""
    from federation.service_records import look_up_services
    from federation.services import FederationSettings, build_federation_services, notary_of

    outbound = settings.outbound
    own_ports = {settings.metrics.port, settings.webchat.port}
    guard = AddressGuard(outbound.allowed_networks, outbound.denied_networks, (), own_ports)
    services = build_federation_services(
        homeserver,
        remote,
        OutboundClient(guard, outbound.user_agent, reactor),
        look_up_services,
        random.SystemRandom(),
        FederationSettings(
            old_keys={old.key_id: (old.public_key, old.expired_ts) for old in settings.federation.old_signing_keys},
            notaries=[
                notary_of(parse_server_name(notary.server_name), notary.public_keys)
                for notary in settings.federation.notaries
            ],
            blocked_keys=settings.federation.blocked_keys,
            allowed_servers=settings.federation.allowed_servers,
            denied_servers=settings.federation.denied_servers,
        ),
    )
    services.completion.grace_seconds = FIRST_REQUESTS_SECONDS
    return services


def push_settings(settings: Settings) -> PushSettings:
    """Who is notified how, and the apps of our own gateway."""
    push = settings.push
    return PushSettings(
        includes_content=push.include_content,
        counts_rooms=push.count_rooms,
        trusted_gateways=tuple(push.allowed_gateways),
        apps=tuple(
            AppSettings(
                app_id=app.app_id,
                kind=app.kind,
                key="" if app.key is None else app.key.reveal(),
                key_id=app.key_id,
                team_id=app.team_id,
                topic=app.topic,
                push_type=app.push_type,
                hex_tokens=app.hex_tokens,
                contact=app.contact,
                ttl=app.ttl_seconds,
                endpoints=tuple(app.allowed_endpoints),
                options=msgspec.json.decode(app.message_options) if app.message_options else {},
                url=APNS_SANDBOX_URL if app.kind == "apns" and app.sandbox else "",
            )
            for app in push.gateway.apps
        ),
    )


def use_directory(settings: Settings, homeserver: Homeserver) -> None:
    """Let an LDAP directory judge passwords."""
    from homeserver.ldap import LdapPasswords, LdapSettings  # costs memory that servers without a directory keep

    if find_spec("ldap3") is None:
        raise RuntimeError('ldap.uri is set, but ldap3 is not installed: pip install "halfdoor[ldap]"')

    ldap = settings.ldap
    chosen = LdapSettings(
        uri=ldap.uri or "",
        base=ldap.base,
        name_attribute=ldap.name_attribute,
        mail_attribute=ldap.mail_attribute,
        display_name_attribute=ldap.display_name_attribute,
        filter=ldap.filter,
        bind_dn=ldap.bind_dn,
        bind_password=None if ldap.bind_password is None else ldap.bind_password.reveal(),
        start_tls=ldap.start_tls,
        ca_file=ldap.ca_file,
        timeout=ldap.timeout_seconds,
    )
    users = homeserver.users
    passwords = LdapPasswords(chosen, settings.server_name, users.vouched_accounts, asyncio.to_thread)
    homeserver.hooks.check_password.append(passwords.check_password)
    users.hooks.check_new_password.append(passwords.check_new_password)


def mailer_of(settings: Settings, clock: Clock) -> Mailer:
    """What sends e-mails."""
    mail = settings.mail
    if mail.smtp_host is None:
        return NoMailer()
    from homeserver.mail.smtp import SmtpMailer, SmtpSettings  # costs memory that servers without e-mail keep

    smtp = SmtpSettings(
        host=mail.smtp_host,
        port=mail.smtp_port,
        security=mail.security,
        ca_file=mail.ca_file,
        username=mail.username,
        password=None if mail.password is None else mail.password.reveal(),
        sender=mail.sender or f"noreply@{settings.server_name.partition(':')[0]}",
        timeout=mail.timeout_seconds,
    )
    return SmtpMailer(smtp, clock)


def provider_settings(provider: IdentityProvider) -> ProviderSettings:
    """One service that logs people in."""
    return ProviderSettings(
        id=provider.id,
        name=provider.name,
        issuer=provider.issuer,
        client_id=provider.client_id,
        client_secret=None if provider.client_secret is None else provider.client_secret.reveal(),
        scopes=tuple(provider.scopes),
        brand=provider.brand,
        icon=provider.icon,
        localpart=provider.localpart_template,
        display_name=provider.display_name_template,
        email=provider.email_template,
        allows_existing=provider.allow_existing_users,
        registers=provider.registration,
        asks_userinfo=provider.userinfo,
    )


def media_settings(settings: Settings) -> MediaSettings:
    """Where files are kept, and how many."""
    media = settings.media
    return MediaSettings(
        folder=media.path,
        uploads=UploadLimits(
            upload_bytes=media.max_upload_bytes,
            quota_bytes=media.user_quota_bytes,
            pending=media.pending_uploads_max,
            pending_lifetime_ms=media.pending_upload_lifetime_seconds * 1000,
        ),
        thumbnails=ThumbnailLimits(
            pixels=media.thumbnail_max_pixels,
            timeout=media.thumbnail_timeout_seconds,
            processes=media.thumbnail_processes,
        ),
        previews=PreviewSettings(
            enabled=media.previews.enabled,
            allowed_hosts=tuple(host.lower() for host in media.previews.allowed_hosts),
            denied_hosts=tuple(host.lower() for host in media.previews.denied_hosts),
            lifetime_ms=media.previews.lifetime_seconds * 1000,
            picture_bytes=media.previews.max_bytes,
            languages=media.previews.languages,
        ),
        retention=Retention(local_days=media.local_retention_days, remote_days=media.remote_retention_days),
        remote=RemoteLimits(file_bytes=media.remote_max_bytes),
        open_store=partial(_open_s3, media.s3) if media.s3.bucket is not None else None,
    )


def _open_s3(s3: S3) -> FileStore:
    from homeserver.media.s3_files import S3Files, S3Settings  # costs memory that servers with a disk keep

    secret = s3.secret_access_key
    return S3Files(
        S3Settings(
            bucket=s3.bucket or "",
            endpoint=s3.endpoint,
            region=s3.region,
            prefix=s3.prefix,
            access_key_id=s3.access_key_id,
            secret_access_key=None if secret is None else secret.reveal(),
        )
    )


def public_facts(settings: Settings) -> PublicFacts:
    """What is told to anybody; without `well_known`, nothing below /.well-known."""
    told = settings.well_known.enabled
    contacts = [
        {name: value for name, value in msgspec.structs.asdict(contact).items() if value is not None}
        for contact in settings.support.contacts
    ]
    transports = tuple({"type": "livekit", "livekit_service_url": url} for url in settings.rtc.livekit_service_urls)
    return PublicFacts(
        public_base_url=settings.public_base_url if told else None,
        client_well_known={"org.matrix.msc4143.rtc_foci": list(transports)} if transports else {},
        rtc_transports=transports,
        policy_server_key=settings.well_known.policy_server_public_key if told else None,
        federation_address=settings.federation.advertised_address if told and settings.federation.enabled else None,
        default_room_version=settings.rooms.default_version,
        support_contacts=tuple(contacts) if told else (),
        support_page=settings.support.page if told else None,
    )


def route_limits(settings: Settings) -> dict[RateClass, ClassLimits]:
    """The configured limits by class of route."""

    def limit(name: str) -> RateLimit | None:
        chosen = getattr(settings.rate_limits, name, None)
        return None if chosen is None else RateLimit(chosen.per_second, chosen.burst)

    return {
        rate: ClassLimits(
            account=limit(rate.value),
            address=limit(rate.value) if rate in (RateClass.LOGIN, RateClass.REGISTRATION) else None,
            room=limit(f"{rate.value}_in_room"),
        )
        for rate in RateClass
    }


def is_exempt(registry: Registry, requester: Requester) -> bool:
    """Whether nobody limits the requester. "rate_limited: Whether requests from masqueraded users are rate-limited.
    The sender is excluded." (Application Service API, "Registration")"""
    if requester.appservice_id is None:
        return requester.is_admin
    appservice = registry.find(requester.appservice_id)
    return appservice is None or not appservice.rate_limited or requester.user_id == appservice.sender


def _signing_key(settings: Settings) -> SigningKey:
    with settings.signing_key_file.open(encoding="ascii") as file:
        keys = read_signing_keys(file)
    return keys[0]


def _rows(homeserver: Homeserver, federation: FederationServices | None, listener: Listener) -> list[Route]:
    rows: list[Route] = []
    if "client" in listener.apis:
        rows += homeserver.client_routes
    if "admin" in listener.apis:
        rows += homeserver.admin_routes
    if "federation" in listener.apis and federation is not None:
        rows += federation.routes
    return rows


def _sockets(
    settings: Settings, homeserver: Homeserver, listener: Listener, reactor: Any
) -> dict[str, SyncSocketRoute]:
    """What a listener upgrades to a WebSocket."""
    if "client" not in listener.apis or not settings.sync.websocket_enabled:
        return {}
    route = SyncSocketRoute(
        homeserver.sync.sockets,
        reactor,
        origins=tuple(settings.sync.websocket_origins),
        proxies=tuple(listener.trusted_proxies),
    )
    return {SYNC_SOCKET_PATH: route}


def _tls(listener: Listener) -> TlsFiles | None:
    if listener.tls_certificate_file is None or listener.tls_key_file is None:
        return None
    return TlsFiles(str(listener.tls_certificate_file), str(listener.tls_key_file))
