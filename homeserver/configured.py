"""What the configuration says to each part, in the words of that part: its settings, and what it reaches the world by.

The parts do not know the configuration; nothing here is started or opened.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import Any

import msgspec
from signedjson.key import read_signing_keys
from signedjson.types import SigningKey

from config.settings import S3, IdentityProvider, Settings
from homeserver.admin.services import AdminSettings
from homeserver.appservice_api.registry import Registry
from homeserver.client_api.versions import PublicFacts
from homeserver.client_api.voip import TurnSettings
from homeserver.clock import Clock
from homeserver.composition import ServerSettings
from homeserver.http.rate_limits import ClassLimits, RateLimit
from homeserver.http.routing import RateClass
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
from homeserver.sync.services import SyncSettings
from homeserver.sync.socket import SocketLimits
from homeserver.users.access_tokens import TokenSettings
from homeserver.users.account_validity import ValiditySettings
from homeserver.users.consents import ConsentSettings
from homeserver.users.passwords import PasswordSettings
from homeserver.users.registration import RegistrationSettings
from homeserver.users.requester import Requester
from homeserver.users.services import UserSettings
from homeserver.users.validation_sessions import EmailSettings


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
