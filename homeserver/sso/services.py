"""Everything of sso/, built in order from a few values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.clock import Clock
from homeserver.outbound.client import Outbound
from homeserver.protocol.identifiers import ServerName
from homeserver.sso.identities import Identities
from homeserver.sso.provider import Provider
from homeserver.sso.settings import ProviderSettings
from homeserver.storage.accounts import AccountStore
from homeserver.storage.browser_sessions import BrowserSessionStore
from homeserver.storage.database import Database
from homeserver.storage.identities import IdentityStore
from homeserver.storage.threepids import ThreepidStore
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class SsoServices:
    """`providers` as the operator listed them."""

    providers: Sequence[ProviderSettings]
    identities: Identities


def build_sso_services(
    db: Database,
    clock: Clock,
    users: UserServices,
    outbound: Outbound,
    base_url: str,
    server_name: str,
    providers: Sequence[ProviderSettings],
) -> SsoServices:
    """`base_url`: where browsers reach this server."""
    store = IdentityStore(db)
    spoken = {
        each.id: Provider(each, outbound, clock, f"{base_url}/_halfdoor/account/providers/{each.id}/callback")
        for each in providers
    }
    identities = Identities(
        db,
        store,
        AccountStore(db),
        BrowserSessionStore(db),
        users.logins,
        users.registration,
        users.devices,
        ThreepidStore(db),
        clock,
        ServerName(server_name),
        spoken,
    )
    users.hooks.device_removed.append(store.remove_session)
    users.hooks.session_opened.append(store.remove_session)
    users.hooks.deactivated.append(identities.account_ended)
    if providers:
        users.hooks.login_token_used.append(identities.login_token_used)
    return SsoServices(tuple(providers), identities)
