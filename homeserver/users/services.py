"""Everything of users/, built in order from a few values: what app.py and the tests put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.clock import Clock
from homeserver.hooks import Hooks
from homeserver.protocol.identifiers import ServerName
from homeserver.storage.access_tokens import AccessTokenStore
from homeserver.storage.account_data import AccountDataStore
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database
from homeserver.storage.device_lists import DeviceListStore
from homeserver.storage.devices import DeviceStore
from homeserver.storage.filters import FilterStore
from homeserver.storage.interactive_sessions import InteractiveSessionStore
from homeserver.storage.profiles import ProfileStore
from homeserver.storage.push_rules import PushRuleStore
from homeserver.storage.pushers import PusherStore
from homeserver.storage.registration_tokens import RegistrationTokenStore
from homeserver.storage.to_device import ToDeviceStore
from homeserver.storage.user_directory import UserDirectoryStore
from homeserver.stream import Announcer
from homeserver.users.access_tokens import AccessTokens, TokenSettings
from homeserver.users.accounts import AccountDeactivated, Accounts
from homeserver.users.appservices import AppserviceRegistry, Namespaces, NoAppservices
from homeserver.users.authentication import Authentication
from homeserver.users.devices import DeviceRemoved, Devices
from homeserver.users.interactive_auth import InteractiveAuth, Stage
from homeserver.users.last_seen import LastSeen
from homeserver.users.login import Logins
from homeserver.users.passwords import GuessLimiter, PasswordCheck, Passwords, PasswordSettings, RunInThread
from homeserver.users.registration import Registration, RegistrationSettings, RegistrationStages


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What an operator may set of users."""

    server_name: ServerName
    passwords: PasswordSettings = field(default_factory=PasswordSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)


@dataclass(slots=True)
class UserHooks:
    """What other parts want to hear of users. The lists may be filled after building (rooms are built later)."""

    device_removed: list[DeviceRemoved] = field(default_factory=list)
    deactivated: list[AccountDeactivated] = field(default_factory=list)


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
) -> UserServices:
    """`guesses` limits wrong passwords. Without `appservices` there are none."""
    hooks = hooks or Hooks()
    user_hooks = UserHooks()
    account_store = AccountStore(db)
    device_store = DeviceStore(db)
    token_store = AccessTokenStore(db)
    registration_tokens = RegistrationTokenStore(db)
    pushers = PusherStore(db)
    tokens = AccessTokens(db, token_store, account_store, clock, settings.tokens)
    last_seen = LastSeen(db, device_store, clock)
    devices = Devices(
        db,
        device_store,
        DeviceListStore(db),
        ToDeviceStore(db),
        pushers,
        tokens,
        last_seen,
        clock,
        announcer,
        user_hooks.device_removed,
    )
    passwords = Passwords(settings.passwords, run_in_thread)
    accounts = Accounts(
        db,
        account_store,
        ProfileStore(db),
        UserDirectoryStore(db),
        AccountDataStore(db),
        PushRuleStore(db),
        FilterStore(db),
        pushers,
        devices,
        tokens,
        passwords,
        clock,
        settings.server_name,
        user_hooks.deactivated,
    )
    logins = Logins(
        db,
        account_store,
        token_store,
        tokens,
        devices,
        PasswordCheck(account_store, passwords, hooks, guesses),
        clock,
        settings.server_name,
    )
    registration_stages = RegistrationStages(registration_tokens, hooks, clock)
    interactive_auth = InteractiveAuth(
        db,
        InteractiveSessionStore(db),
        clock,
        _stages(logins, registration_stages),
        _params(settings.registration),
    )
    authentication = Authentication(
        tokens, account_store, device_store, appservices or NoAppservices(), last_seen, clock
    )
    registration = Registration(
        db,
        accounts,
        account_store,
        registration_tokens,
        passwords,
        logins,
        tokens,
        interactive_auth,
        namespaces or NoAppservices(),
        hooks,
        clock,
        settings.server_name,
        settings.registration,
    )
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
    )


def _stages(logins: Logins, registration: RegistrationStages) -> Mapping[str, Stage]:
    return {
        "m.login.password": logins.check_password_stage,
        "m.login.dummy": registration.check_dummy,
        "m.login.terms": registration.check_terms,
        "m.login.recaptcha": registration.check_captcha,
        "m.login.registration_token": registration.check_token,
    }


def _params(settings: RegistrationSettings) -> Mapping[str, Mapping[str, Any]]:
    params: dict[str, Mapping[str, Any]] = {}
    if settings.policies:
        params["m.login.terms"] = {"policies": settings.policies}
    if settings.recaptcha_public_key is not None:
        params["m.login.recaptcha"] = {"public_key": settings.recaptcha_public_key}
    return params
