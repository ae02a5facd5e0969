"""The index of the Client-Server API: one row an operation, one section a noun.

A section is a function of the services of its part; `routes` puts all of them together. `v3` and `v1` complete a path
and add its aliases. Rooms have a file of their own, `room_routes.py`.
"""

from __future__ import annotations

from homeserver.client_api.accounts import AccountApi
from homeserver.client_api.devices import DeviceApi
from homeserver.client_api.interactive_auth import InteractiveAuthApi
from homeserver.client_api.login import LoginApi
from homeserver.client_api.registration import RegistrationApi
from homeserver.client_api.room_routes import alias_routes, event_routes, membership_routes, room_routes
from homeserver.client_api.services import Services
from homeserver.client_api.versioned_paths import v1, v3
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.rooms.services import RoomServices

NONE, OPTIONAL, USER, GUEST, ADMIN, APPSERVICE = Auth
READ, LOGIN, REGISTRATION, SEARCH = RateClass.READ, RateClass.LOGIN, RateClass.REGISTRATION, RateClass.SEARCH
UNLIMITED = RateClass.NONE


def routes(services: Services, rooms: RoomServices) -> list[Route]:
    """Every row of the Client-Server API."""
    return [
        *user_routes(services),
        *room_routes(rooms),
        *membership_routes(rooms),
        *event_routes(rooms),
        *alias_routes(rooms),
    ]


def user_routes(services: Services) -> list[Route]:
    """What stands on users/ alone."""
    return [
        *account_routes(services),
        *device_routes(services),
        *login_routes(services),
        *registration_routes(services),
    ]


def account_routes(services: Services) -> list[Route]:
    api = AccountApi(services.users.accounts, services.users.interactive_auth)
    no_token = api.refuse_threepid_token
    return [
        v3("GET", "/account/whoami", api.get_whoami, GUEST, UNLIMITED, "getTokenOwner"),
        v3("POST", "/account/password", api.change_password, USER, LOGIN, "changePassword"),
        v3("POST", "/account/deactivate", api.deactivate_account, USER, LOGIN, "deactivateAccount"),
        v3("GET", "/account/3pid", api.get_threepids, USER, UNLIMITED, "getAccount3PIDs"),
        v3("POST", "/account/3pid", api.refuse_threepid, USER, LOGIN, "post3PIDs"),
        v3("POST", "/account/3pid/add", api.refuse_threepid, USER, LOGIN, "add3PID"),
        v3("POST", "/account/3pid/bind", api.refuse_threepid, USER, LOGIN, "bind3PID"),
        v3("POST", "/account/3pid/email/requestToken", no_token, NONE, LOGIN, "requestTokenTo3PIDEmail"),
        v3("POST", "/account/3pid/msisdn/requestToken", no_token, NONE, LOGIN, "requestTokenTo3PIDMSISDN"),
        v3("POST", "/account/password/email/requestToken", no_token, NONE, LOGIN, "requestTokenToResetPasswordEmail"),
        v3("POST", "/account/password/msisdn/requestToken", no_token, NONE, LOGIN, "requestTokenToResetPasswordMSISDN"),
        v3("POST", "/register/email/requestToken", no_token, NONE, LOGIN, "requestTokenToRegisterEmail"),
        v3("POST", "/register/msisdn/requestToken", no_token, NONE, LOGIN, "requestTokenToRegisterMSISDN"),
    ]


def device_routes(services: Services) -> list[Route]:
    api = DeviceApi(services.users.devices, services.users.interactive_auth)
    return [
        v3("GET", "/devices", api.get_devices, GUEST, UNLIMITED, "getDevices"),
        v3("GET", "/devices/{device_id}", api.get_device, GUEST, UNLIMITED, "getDevice"),
        v3("PUT", "/devices/{device_id}", api.update_device, GUEST, LOGIN, "updateDevice"),
        v3("DELETE", "/devices/{device_id}", api.delete_device, USER, LOGIN, "deleteDevice"),
        v3("POST", "/delete_devices", api.delete_devices, USER, LOGIN, "deleteDevices"),
    ]


def login_routes(services: Services) -> list[Route]:
    users = services.users
    api = LoginApi(users.logins, users.tokens, users.authentication, users.interactive_auth, services.public_base_url)
    get_token, get_token_alias = "/login/get_token", "/_matrix/client/unstable/org.matrix.msc3882/login/get_token"
    return [
        v3("GET", "/login", api.get_login_flows, NONE, UNLIMITED, "getLoginFlows"),
        v3("POST", "/login", api.log_in, NONE, LOGIN, "login"),
        v1("POST", get_token, api.create_login_token, USER, LOGIN, "generateLoginToken", get_token_alias),
        v3("POST", "/refresh", api.refresh, NONE, LOGIN, "refresh", "/_matrix/client/v1/refresh"),
        # Their handlers authenticate, because a locked account may still log out.
        v3("POST", "/logout", api.log_out, NONE, UNLIMITED, "logout"),
        v3("POST", "/logout/all", api.log_out_everywhere, NONE, UNLIMITED, "logout_all"),
    ]


def registration_routes(services: Services) -> list[Route]:
    api = RegistrationApi(services.users.registration, services.users.authentication)
    pages = InteractiveAuthApi(services.users.interactive_auth)
    token, token_operation = "/register/m.login.registration_token/validity", "registrationTokenValidity"
    return [
        v3("POST", "/register", api.register, NONE, REGISTRATION, "register"),
        v3("GET", "/register/available", api.check_username_availability, NONE, LOGIN, "checkUsernameAvailability"),
        v1("GET", token, api.check_registration_token, NONE, LOGIN, token_operation),
        v3("GET", "/auth/{auth_type}/fallback/web", pages.get_fallback_page, NONE, LOGIN),
        v3("POST", "/auth/{auth_type}/fallback/web", pages.post_fallback_page, NONE, LOGIN),
    ]
