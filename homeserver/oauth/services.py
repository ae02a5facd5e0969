"""Everything of oauth/, built in order from a few values."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.clock import Clock
from homeserver.oauth.authorization import Authorization
from homeserver.oauth.browser_sessions import BrowserSessions
from homeserver.oauth.clients import OAuthClients
from homeserver.oauth.device_codes import DeviceCodes
from homeserver.oauth.identity_proofs import HasIdentity, IdentityProofs
from homeserver.oauth.rendezvous import Rendezvous
from homeserver.oauth.sessions import OAuthSessions
from homeserver.oauth.token_endpoint import TokenEndpoint
from homeserver.storage.access_tokens import AccessTokenStore
from homeserver.storage.accounts import AccountStore
from homeserver.storage.browser_sessions import BrowserSessionStore
from homeserver.storage.database import Database
from homeserver.storage.oauth_clients import OAuthClientStore
from homeserver.storage.oauth_grants import OAuthGrantStore
from homeserver.users.passwords import GuessLimiter
from homeserver.users.services import UserServices


@dataclass(frozen=True, slots=True)
class OAuthSettings:
    """`is_enabled`: clients may use the OAuth 2.0 API. `base_url`: where clients and browsers reach this server, with
    neither slash nor path at its end."""

    is_enabled: bool = False
    base_url: str = ""

    @property
    def is_secure(self) -> bool:
        """Whether people come by https, so that cookies may insist on it."""
        return not self.base_url.startswith("http://")


@dataclass(frozen=True, slots=True)
class OAuthServices:
    """The services of oauth/, one a noun."""

    settings: OAuthSettings
    clients: OAuthClients
    authorization: Authorization
    token_endpoint: TokenEndpoint
    device_codes: DeviceCodes
    browser_sessions: BrowserSessions
    sessions: OAuthSessions
    rendezvous: Rendezvous

    def offer_proofs(self, users: UserServices, has_identity: HasIdentity) -> None:
        """Let people prove on our pages who they are. `has_identity`: whether a provider could log the user in."""
        proofs = IdentityProofs(self.sessions, self.browser_sessions, users.accounts, has_identity)
        proofs.offer(users.interactive_auth, self.settings.base_url)


def build_oauth_services(
    db: Database, clock: Clock, users: UserServices, guesses: GuessLimiter, settings: OAuthSettings
) -> OAuthServices:
    """`guesses` limits wrong device codes."""
    grants = OAuthGrantStore(db)
    clients = OAuthClients(db, OAuthClientStore(db), clock)
    browser_sessions = BrowserSessions(db, BrowserSessionStore(db), AccountStore(db), clock)
    token_endpoint = TokenEndpoint(
        db,
        grants,
        clients,
        AccessTokenStore(db),
        users.tokens,
        users.logins,
        users.devices,
        clock,
        f"{settings.base_url}/_halfdoor/account/link",
    )
    users.hooks.device_removed.append(grants.remove_session)
    users.hooks.session_opened.append(grants.remove_session)
    users.hooks.logged_out_everywhere.append(browser_sessions.end_all)
    return OAuthServices(
        settings=settings,
        clients=clients,
        authorization=Authorization(db, grants, clients, clock),
        token_endpoint=token_endpoint,
        device_codes=DeviceCodes(db, grants, clients, guesses, clock),
        browser_sessions=browser_sessions,
        sessions=OAuthSessions(grants, clients),
        rendezvous=Rendezvous(clock),
    )
