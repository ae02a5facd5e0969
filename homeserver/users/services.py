"""Everything of users/, built in order from a few values: what app.py and the tests put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from signedjson.types import SigningKey

from homeserver.clock import Clock
from homeserver.hooks import Hooks
from homeserver.mail.mailer import Mailer, NoMailer
from homeserver.outbound.client import NoOutbound, Outbound
from homeserver.protocol.identifiers import ServerName
from homeserver.storage.access_tokens import AccessTokenStore
from homeserver.storage.account_data import AccountDataStore
from homeserver.storage.account_validity import AccountValidityStore
from homeserver.storage.accounts import AccountStore
from homeserver.storage.consents import ConsentStore
from homeserver.storage.database import Database
from homeserver.storage.device_lists import DeviceListStore
from homeserver.storage.devices import DeviceStore
from homeserver.storage.filters import FilterStore
from homeserver.storage.interactive_sessions import InteractiveSessionStore
from homeserver.storage.openid_tokens import OpenIdTokenStore
from homeserver.storage.presence import PresenceStore
from homeserver.storage.profiles import ProfileStore
from homeserver.storage.push_rules import PushRuleStore
from homeserver.storage.pushers import PusherStore
from homeserver.storage.registration_tokens import RegistrationTokenStore
from homeserver.storage.threepids import ThreepidStore
from homeserver.storage.to_device import ToDeviceStore
from homeserver.storage.user_directory import UserDirectoryStore
from homeserver.storage.validation_sessions import ValidationSessionStore
from homeserver.stream import Announcer
from homeserver.users.access_tokens import AccessTokens, TokenSettings
from homeserver.users.account_data import AccountDataService
from homeserver.users.account_validity import AccountValidity, ValiditySettings
from homeserver.users.accounts import Accounts
from homeserver.users.appservices import AppserviceRegistry, Namespaces, NoAppservices
from homeserver.users.authentication import Authentication
from homeserver.users.consents import Consents, ConsentSettings
from homeserver.users.devices import Devices
from homeserver.users.filters import Filters
from homeserver.users.hooks import UserHooks
from homeserver.users.identity_servers import IdentityServers
from homeserver.users.interactive_auth import InteractiveAuth, Stage
from homeserver.users.invite_permissions import InvitePermissions
from homeserver.users.last_seen import LastSeen
from homeserver.users.login import Logins
from homeserver.users.moderation import Moderation
from homeserver.users.openid import OpenId
from homeserver.users.password_resets import PasswordResets
from homeserver.users.passwords import GuessLimiter, PasswordCheck, Passwords, PasswordSettings, RunInThread
from homeserver.users.presence import Presence
from homeserver.users.profiles import Profiles
from homeserver.users.push_rules import PushRules
from homeserver.users.pushers import Pushers
from homeserver.users.registration import Registration, RegistrationSettings, RegistrationStages
from homeserver.users.tags import Tags
from homeserver.users.threepids import Threepids
from homeserver.users.to_device import ToDevice
from homeserver.users.user_directory import UserDirectory
from homeserver.users.validation_sessions import EmailSettings, MessageLimiter, NoMessageLimits, ValidationSessions
from homeserver.users.vouched_accounts import VouchedAccounts


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What an operator may set of users."""

    server_name: ServerName
    passwords: PasswordSettings = field(default_factory=PasswordSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    email: EmailSettings = field(default_factory=EmailSettings)
    validity: ValiditySettings = field(default_factory=ValiditySettings)
    consent: ConsentSettings = field(default_factory=ConsentSettings)
    presence_enabled: bool = True
    directory_finds_everybody: bool = False
    profiles_for_strangers: bool = True
    push_gateways_may_be_http: bool = False
    trusted_push_gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserServices:
    """The services of users/, one a noun."""

    hooks: UserHooks
    accounts: Accounts
    tokens: AccessTokens
    authentication: Authentication
    last_seen: LastSeen
    devices: Devices
    logins: Logins
    interactive_auth: InteractiveAuth
    registration: Registration
    profiles: Profiles
    account_data: AccountDataService
    invite_permissions: InvitePermissions
    tags: Tags
    filters: Filters
    presence: Presence
    push_rules: PushRules
    user_directory: UserDirectory
    to_device: ToDevice
    pushers: Pushers
    openid: OpenId
    moderation: Moderation
    device_lists: DeviceListStore
    registration_tokens: RegistrationTokenStore
    threepids: Threepids
    validation_sessions: ValidationSessions
    identity_servers: IdentityServers
    password_resets: PasswordResets
    account_validity: AccountValidity
    consents: Consents
    vouched_accounts: VouchedAccounts

    def forget_all(self) -> None:
        """Drop what is in memory, because another process may have changed anything."""
        self.tokens.forget_all()
        self.consents.forget_all()
        self.push_rules.forget_all()
        self.account_data.forget_all()
        self.invite_permissions.forget_all()

    def start(self) -> None:
        """Begin what runs beside the requests."""
        self.account_validity.start()

    async def close(self) -> None:
        """Write what is only in memory and stop the timers."""
        await self.account_validity.stop()
        await self.validation_sessions.settle(timeout=5.0)
        await self.last_seen.flush()
        self.last_seen.close()
        self.presence.close()


def build_user_services(
    db: Database,
    clock: Clock,
    announcer: Announcer,
    guesses: GuessLimiter,
    settings: UserSettings,
    *,
    hooks: Hooks | None = None,
    appservices: AppserviceRegistry | None = None,
    namespaces: Namespaces | None = None,
    run_in_thread: RunInThread = asyncio.to_thread,
    mailer: Mailer | None = None,
    message_limiter: MessageLimiter | None = None,
    outbound: Outbound | None = None,
    signing_key: SigningKey | None = None,
) -> UserServices:
    """`guesses` limits wrong passwords, `message_limiter` e-mails to one address. Without `appservices` there are none;
    `signing_key` signs requests to identity servers."""
    hooks = hooks or Hooks()
    user_hooks = UserHooks()
    server_name = settings.server_name
    account_store, device_store, token_store = AccountStore(db), DeviceStore(db), AccessTokenStore(db)
    account_data_store, push_rule_store, filter_store = AccountDataStore(db), PushRuleStore(db), FilterStore(db)
    profile_store, directory_store = ProfileStore(db), UserDirectoryStore(db)
    to_device_store, pusher_store, device_lists = ToDeviceStore(db), PusherStore(db), DeviceListStore(db)
    registration_tokens, threepid_store = RegistrationTokenStore(db), ThreepidStore(db)

    tokens = AccessTokens(db, token_store, account_store, clock, settings.tokens)
    last_seen = LastSeen(db, device_store, clock)
    devices = Devices(
        db,
        device_store,
        device_lists,
        to_device_store,
        pusher_store,
        tokens,
        last_seen,
        clock,
        announcer,
        user_hooks,
    )
    passwords = Passwords(settings.passwords, run_in_thread)
    password_check = PasswordCheck(db, account_store, passwords, hooks, guesses)
    accounts = Accounts(
        db,
        account_store,
        profile_store,
        directory_store,
        account_data_store,
        push_rule_store,
        filter_store,
        pusher_store,
        threepid_store,
        devices,
        tokens,
        passwords,
        clock,
        user_hooks,
    )
    logins = Logins(
        db, account_store, token_store, threepid_store, tokens, devices, password_check, clock, server_name, user_hooks
    )
    validation_sessions = ValidationSessions(
        db,
        ValidationSessionStore(db),
        threepid_store,
        mailer or NoMailer(),
        message_limiter or NoMessageLimits(),
        clock,
        server_name,
        settings.email,
    )
    identity_servers = IdentityServers(outbound or NoOutbound(), server_name, signing_key)
    stages = _stages(logins, RegistrationStages(registration_tokens, hooks, clock), validation_sessions)
    interactive_auth = InteractiveAuth(db, InteractiveSessionStore(db), clock, stages, _params(settings.registration))
    authentication = Authentication(tokens, accounts, device_store, appservices or NoAppservices(), last_seen, clock)
    consents = Consents(db, ConsentStore(db), account_store, clock, server_name, settings.consent)
    if settings.consent.is_enforced:
        hooks.check_event.append(consents.check_event)
    registration = Registration(
        db,
        accounts,
        account_store,
        registration_tokens,
        passwords,
        logins,
        tokens,
        interactive_auth,
        validation_sessions,
        consents,
        namespaces or NoAppservices(),
        hooks,
        clock,
        server_name,
        settings.registration,
    )
    push_rules = PushRules(db, push_rule_store, announcer)
    account_data = AccountDataService(db, account_data_store, push_rules, announcer)
    threepids = Threepids(db, threepid_store, validation_sessions, identity_servers, pusher_store, clock, user_hooks)
    user_hooks.deactivated.append(threepids.unbind_all)
    return UserServices(
        hooks=user_hooks,
        accounts=accounts,
        tokens=tokens,
        authentication=authentication,
        last_seen=last_seen,
        devices=devices,
        logins=logins,
        interactive_auth=interactive_auth,
        registration=registration,
        profiles=Profiles(
            db,
            profile_store,
            directory_store,
            server_name,
            user_hooks,
            for_strangers=settings.profiles_for_strangers,
        ),
        account_data=account_data,
        invite_permissions=InvitePermissions(account_data_store, account_data, settings.server_name),
        tags=Tags(db, account_data_store, account_data),
        filters=Filters(db, filter_store),
        presence=Presence(
            db,
            PresenceStore(db),
            account_store,
            clock,
            announcer,
            server_name,
            user_hooks,
            enabled=settings.presence_enabled,
        ),
        push_rules=push_rules,
        user_directory=UserDirectory(directory_store, user_hooks, finds_everybody=settings.directory_finds_everybody),
        to_device=ToDevice(db, to_device_store, device_store, clock, announcer, server_name, user_hooks),
        pushers=Pushers(
            db,
            pusher_store,
            user_hooks,
            clock,
            allows_http=settings.push_gateways_may_be_http,
            trusted_gateways=settings.trusted_push_gateways,
        ),
        openid=OpenId(db, OpenIdTokenStore(db), clock),
        moderation=Moderation(accounts, account_store, devices, server_name),
        device_lists=device_lists,
        registration_tokens=registration_tokens,
        threepids=threepids,
        validation_sessions=validation_sessions,
        identity_servers=identity_servers,
        consents=consents,
        vouched_accounts=VouchedAccounts(accounts, registration, threepids),
        account_validity=AccountValidity(
            db,
            AccountValidityStore(db),
            account_store,
            threepids,
            tokens,
            mailer or NoMailer(),
            message_limiter or NoMessageLimits(),
            clock,
            server_name,
            settings.validity,
        ),
        password_resets=PasswordResets(
            db, accounts, account_store, threepid_store, validation_sessions, tokens, server_name
        ),
    )


def _stages(
    logins: Logins, registration: RegistrationStages, validation_sessions: ValidationSessions
) -> Mapping[str, Stage]:
    return {
        "m.login.password": logins.check_password_stage,
        "m.login.dummy": registration.check_dummy,
        "m.login.terms": registration.check_terms,
        "m.login.recaptcha": registration.check_captcha,
        "m.login.registration_token": registration.check_token,
        "m.login.email.identity": validation_sessions.check_email_stage,
    }


def _params(settings: RegistrationSettings) -> Mapping[str, Mapping[str, Any]]:
    params: dict[str, Mapping[str, Any]] = {}
    if settings.policies:
        params["m.login.terms"] = {"policies": settings.policies}
    if settings.recaptcha_public_key is not None:
        params["m.login.recaptcha"] = {"public_key": settings.recaptcha_public_key}
    return params
