"""The index of the OAuth 2.0 API and of the pages where people log in and look after their account."""

from __future__ import annotations

from homeserver.client_api.account_pages import AccountPages
from homeserver.client_api.authorize_page import AuthorizePages
from homeserver.client_api.login_page import LoginPages
from homeserver.client_api.oauth import OAuthApi
from homeserver.client_api.versioned_paths import v1
from homeserver.client_api.visitors import Visitors
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.oauth.services import OAuthServices
from homeserver.users.services import UserServices

NONE, READ, LOGIN, REGISTRATION = Auth.NONE, RateClass.READ, RateClass.LOGIN, RateClass.REGISTRATION
ACCOUNT = "/_halfdoor/account"
OAUTH = "/_halfdoor/oauth2"


def oauth_routes(users: UserServices, oauth: OAuthServices) -> list[Route]:
    """Everything that stands on oauth/."""
    visitors = Visitors(oauth.browser_sessions, oauth.settings.is_secure)
    logins = LoginPages(visitors, oauth.browser_sessions, users.logins, users.registration, users.interactive_auth, ())
    return [
        *api_routes(oauth, may_register=logins.may_register),
        *login_page_routes(logins),
        *authorize_page_routes(visitors, oauth),
        *account_page_routes(visitors, users, oauth),
    ]


def api_routes(oauth: OAuthServices, *, may_register: bool) -> list[Route]:
    api = OAuthApi(oauth, may_register=may_register)
    unstable = "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata"
    rows = [v1("GET", "/auth_metadata", api.get_auth_metadata, NONE, READ, "getAuthMetadata", unstable)]
    if oauth.settings.is_enabled:
        rows += [
            Route("POST", f"{OAUTH}/register", api.register_client, NONE, LOGIN),
            Route("POST", f"{OAUTH}/token", api.create_tokens, NONE, READ),
            Route("POST", f"{OAUTH}/revoke", api.revoke, NONE, READ),
            Route("POST", f"{OAUTH}/device", api.authorize_device, NONE, LOGIN),
        ]
    return rows


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
    return [
        Route("GET", f"{ACCOUNT}/manage", pages.get_manage, NONE, READ),
        Route("POST", f"{ACCOUNT}/manage", pages.post_manage, NONE, READ),
    ]
