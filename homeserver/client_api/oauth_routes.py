"""The index of the OAuth 2.0 API, of single sign-on, and of the pages where people log in and keep their account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from homeserver.client_api.account_pages import AccountPages
from homeserver.client_api.authorize_page import AuthorizePages
from homeserver.client_api.confirm_page import ConfirmPages
from homeserver.client_api.identity_providers import IdentityProviderPages
from homeserver.client_api.login_fallback import PATH as FALLBACK
from homeserver.client_api.login_fallback import LoginFallback
from homeserver.client_api.login_page import LoginPages, ProviderLink
from homeserver.client_api.oauth import OAuthApi
from homeserver.client_api.rendezvous import CHANNEL_PATH as CHANNEL
from homeserver.client_api.rendezvous import PATH as RENDEZVOUS
from homeserver.client_api.rendezvous import RendezvousApi, SecureChannelApi
from homeserver.client_api.sso import SsoPages
from homeserver.client_api.versioned_paths import v1, v3
from homeserver.client_api.visitors import Visitors
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.oauth.services import OAuthServices
from homeserver.sso.services import SsoServices
from homeserver.users.services import UserServices

NONE, READ, LOGIN, REGISTRATION = Auth.NONE, RateClass.READ, RateClass.LOGIN, RateClass.REGISTRATION
ACCOUNT = "/_halfdoor/account"
OAUTH = "/_halfdoor/oauth2"


def oauth_routes(users: UserServices, oauth: OAuthServices, sso: SsoServices) -> list[Route]:
    """Everything that stands on oauth/ and sso/."""
    visitors = Visitors(oauth.browser_sessions, oauth.settings.is_secure)
    logins = LoginPages(
        visitors,
        oauth.browser_sessions,
        users.logins,
        users.registration,
        [ProviderLink(each.id, each.name) for each in sso.providers],
    )
    always = [
        *api_routes(oauth, may_register=logins.may_register),
        *sso_routes(visitors, users, oauth, sso),
    ]
    if sso_flow(oauth, sso) is None:
        return always
    return [
        *always,
        *login_page_routes(logins),
        *authorize_page_routes(visitors, oauth),
        *account_page_routes(visitors, users, oauth),
        *provider_routes(visitors, oauth, sso),
    ]


def sso_flow(oauth: OAuthServices, sso: SsoServices) -> Mapping[str, Any] | None:
    """m.login.sso as /login shows it; None where there is no other way than by a password.

    "Indicate that the `m.login.sso` flow is preferred by setting `oauth_aware_preferred` to `true`." """
    if not oauth.settings.is_enabled and not sso.providers:
        return None
    flow: dict[str, Any] = {"type": "m.login.sso"}
    if sso.providers:
        flow["identity_providers"] = [each.shown() for each in sso.providers]
    if oauth.settings.is_enabled:
        flow["oauth_aware_preferred"] = True
        flow["org.matrix.msc3824.delegated_oidc_compatibility"] = True
    return flow


def api_routes(oauth: OAuthServices, *, may_register: bool) -> list[Route]:
    api = OAuthApi(oauth, may_register=may_register)
    unstable = "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata"
    rows = [v1("GET", "/auth_metadata", api.get_auth_metadata, NONE, READ, "getAuthMetadata", unstable)]
    if oauth.settings.is_enabled:
        rows += [
            # RFC 8414, for whoever knows the issuer alone.
            Route("GET", "/.well-known/oauth-authorization-server", api.get_auth_metadata, NONE, READ),
            Route("POST", f"{OAUTH}/register", api.register_client, NONE, LOGIN),
            Route("POST", f"{OAUTH}/token", api.create_tokens, NONE, READ),
            Route("POST", f"{OAUTH}/revoke", api.revoke, NONE, READ),
            Route("POST", f"{OAUTH}/device", api.authorize_device, NONE, LOGIN),
            *rendezvous_routes(oauth),
        ]
    return rows


def rendezvous_routes(oauth: OAuthServices) -> list[Route]:
    api = RendezvousApi(oauth.rendezvous, oauth.settings.base_url)
    mailbox = f"{RENDEZVOUS}/{{mailbox_id}}"
    channels = SecureChannelApi(oauth.rendezvous)
    channel = f"{CHANNEL}/{{mailbox_id}}"
    return [
        Route("GET", CHANNEL, channels.get_availability, NONE, READ),
        Route("POST", CHANNEL, channels.open_mailbox, NONE, LOGIN),
        Route("GET", channel, channels.get_mailbox, NONE, READ),
        Route("PUT", channel, channels.write_mailbox, NONE, READ),
        Route("DELETE", channel, channels.close_mailbox, NONE, READ),
        Route("POST", RENDEZVOUS, api.open_mailbox, NONE, LOGIN),
        Route("GET", mailbox, api.get_mailbox, NONE, READ),
        Route("PUT", mailbox, api.write_mailbox, NONE, READ),
        Route("DELETE", mailbox, api.close_mailbox, NONE, READ),
    ]


def login_page_routes(pages: LoginPages) -> list[Route]:
    return [
        Route("GET", f"{ACCOUNT}/login", pages.get_login, NONE, READ),
        Route("POST", f"{ACCOUNT}/login", pages.log_in, NONE, LOGIN),
        Route("GET", f"{ACCOUNT}/register", pages.get_register, NONE, READ),
        Route("POST", f"{ACCOUNT}/register", pages.register, NONE, REGISTRATION),
        Route("POST", f"{ACCOUNT}/logout", pages.log_out, NONE, READ),
    ]


def authorize_page_routes(visitors: Visitors, oauth: OAuthServices) -> list[Route]:
    pages = AuthorizePages(visitors, oauth.authorization, oauth.device_codes, is_enabled=oauth.settings.is_enabled)
    return [
        Route("GET", f"{ACCOUNT}/authorize", pages.get_authorize, NONE, READ),
        Route("POST", f"{ACCOUNT}/authorize", pages.post_authorize, NONE, READ),
        Route("GET", f"{ACCOUNT}/link", pages.get_link, NONE, READ),
        Route("POST", f"{ACCOUNT}/link", pages.post_link, NONE, READ),
    ]


def account_page_routes(visitors: Visitors, users: UserServices, oauth: OAuthServices) -> list[Route]:
    pages = AccountPages(
        visitors, oauth.browser_sessions, oauth.sessions, users.accounts, users.devices, users.profiles
    )
    confirm = ConfirmPages(visitors, oauth.browser_sessions, users.interactive_auth)
    return [
        Route("GET", f"{ACCOUNT}/manage", pages.get_manage, NONE, READ),
        Route("POST", f"{ACCOUNT}/manage", pages.post_manage, NONE, READ),
        Route("GET", f"{ACCOUNT}/confirm", confirm.get_confirm, NONE, READ),
        Route("POST", f"{ACCOUNT}/confirm", confirm.post_confirm, NONE, READ),
    ]


def sso_routes(visitors: Visitors, users: UserServices, oauth: OAuthServices, sso: SsoServices) -> list[Route]:
    pages = SsoPages(
        visitors,
        users.logins,
        sso.identities,
        {each.id for each in sso.providers},
        is_offered=sso_flow(oauth, sso) is not None,
    )
    to_provider = pages.redirect_to_provider
    fallback = LoginFallback(oauth.settings.base_url or None, has_sso=sso_flow(oauth, sso) is not None)
    return [
        Route("GET", FALLBACK, fallback.get_page, NONE, READ),
        v3("GET", "/login/sso/redirect", pages.redirect_to_login, NONE, READ, "redirectToSSO"),
        v3("GET", "/login/sso/redirect/{idp_id}", to_provider, NONE, READ, "redirectToIdP"),
        Route("GET", f"{ACCOUNT}/sso", pages.get_sso, NONE, READ),
        Route("POST", f"{ACCOUNT}/sso", pages.post_sso, NONE, LOGIN),
    ]


def provider_routes(visitors: Visitors, oauth: OAuthServices, sso: SsoServices) -> list[Route]:
    pages = IdentityProviderPages(visitors, oauth.browser_sessions, sso.identities)
    provider = f"{ACCOUNT}/providers/{{provider_id}}"
    return [
        Route("GET", provider, pages.depart, NONE, LOGIN),
        # It writes: whoever comes back is not to be lost halfway because a browser hurries on.
        Route("GET", f"{provider}/callback", pages.arrive, NONE, LOGIN, cancel_on_disconnect=False),
        Route("POST", f"{provider}/backchannel_logout", pages.log_out, NONE, READ),
        Route("GET", f"{ACCOUNT}/username", pages.get_username, NONE, READ),
        Route("POST", f"{ACCOUNT}/username", pages.choose_username, NONE, REGISTRATION),
    ]
