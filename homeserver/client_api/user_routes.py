"""The index of the Client-Server API, continued: accounts, sessions, and what belongs to one user."""

from __future__ import annotations

from homeserver.client_api.account_data import AccountDataApi
from homeserver.client_api.account_validity import AccountValidityApi
from homeserver.client_api.accounts import AccountApi
from homeserver.client_api.consents import ConsentApi
from homeserver.client_api.devices import DeviceApi
from homeserver.client_api.filters import FilterApi
from homeserver.client_api.interactive_auth import InteractiveAuthApi
from homeserver.client_api.login import LoginApi
from homeserver.client_api.moderation import ModerationApi
from homeserver.client_api.openid import OpenIdApi
from homeserver.client_api.presence import PresenceApi
from homeserver.client_api.profiles import ProfileApi
from homeserver.client_api.push_rules import PushRuleApi
from homeserver.client_api.pushers import PusherApi
from homeserver.client_api.registration import RegistrationApi
from homeserver.client_api.services import Services
from homeserver.client_api.tags import TagApi
from homeserver.client_api.threepids import ThreepidApi
from homeserver.client_api.to_device import ToDeviceApi
from homeserver.client_api.user_directory import UserDirectoryApi
from homeserver.client_api.validation_sessions import ValidationApi
from homeserver.client_api.versioned_paths import v1, v3
from homeserver.client_api.versions import VersionApi
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.users.account_validity import RENEW_PATH
from homeserver.users.consents import CONSENT_PATH
from homeserver.users.validation_sessions import CONFIRM_PATH

NONE, OPTIONAL, USER, GUEST, ADMIN, APPSERVICE = Auth
READ, LOGIN, REGISTRATION, SEARCH = RateClass.READ, RateClass.LOGIN, RateClass.REGISTRATION, RateClass.SEARCH
UNLIMITED = RateClass.NONE


def user_routes(services: Services) -> list[Route]:
    """What stands on users/ alone."""
    return [
        *version_routes(services),
        *login_routes(services),
        *registration_routes(services),
        *account_routes(services),
        *threepid_routes(services),
        *validity_routes(services),
        *consent_routes(services),
        *moderation_routes(services),
        *device_routes(services),
        *to_device_routes(services),
        *profile_routes(services),
        *presence_routes(services),
        *account_data_routes(services),
        *push_routes(services),
    ]


def version_routes(services: Services) -> list[Route]:
    api = VersionApi(services.facts, can_change_threepids=services.users.validation_sessions.can_validate)
    server, client, support = "/.well-known/matrix/server", "/.well-known/matrix/client", "/.well-known/matrix/support"
    policy_server = "/.well-known/matrix/policy_server"
    return [
        Route("GET", "/_matrix/client/versions", api.get_versions, OPTIONAL, UNLIMITED, "getVersions"),
        v3("GET", "/capabilities", api.get_capabilities, USER, UNLIMITED, "getCapabilities"),
        Route("GET", server, api.get_server_well_known, NONE, UNLIMITED, "getWellKnown"),
        Route("GET", client, api.get_client_well_known, NONE, UNLIMITED, "getWellknown"),
        Route("GET", support, api.get_support_well_known, NONE, UNLIMITED, "getWellknownSupport"),
        Route("GET", policy_server, api.get_policy_server_well_known, NONE, UNLIMITED, "getWellknownPolicy"),
    ]


def login_routes(services: Services) -> list[Route]:
    users = services.users
    base_url = services.facts.public_base_url
    api = LoginApi(
        users.logins, users.tokens, users.authentication, users.interactive_auth, base_url, services.sso_flow
    )
    get_token, get_token_alias = "/login/get_token", "/_matrix/client/unstable/org.matrix.msc3882/login/get_token"
    return [
        v3("GET", "/login", api.get_login_flows, NONE, UNLIMITED, "getLoginFlows"),
        v3("POST", "/login", api.log_in, NONE, LOGIN, "login"),
        v1("POST", get_token, api.create_login_token, USER, LOGIN, "generateLoginToken", get_token_alias),
        v3("POST", "/refresh", api.refresh, NONE, READ, "refresh", "/_matrix/client/v1/refresh"),
        # Their handlers authenticate, because a locked account may still log out.
        v3("POST", "/logout", api.log_out, NONE, UNLIMITED, "logout"),
        v3("POST", "/logout/all", api.log_out_everywhere, NONE, UNLIMITED, "logout_all"),
    ]


def registration_routes(services: Services) -> list[Route]:
    api = RegistrationApi(services.users.registration, services.users.authentication)
    pages = InteractiveAuthApi(services.users.interactive_auth)
    available, available_operation = api.check_username_availability, "checkUsernameAvailability"
    token, token_operation = "/register/m.login.registration_token/validity", "registrationTokenValidity"
    return [
        v3("POST", "/register", api.register, NONE, REGISTRATION, "register"),
        v3("GET", "/register/available", available, NONE, REGISTRATION, available_operation),
        v1("GET", token, api.check_registration_token, NONE, REGISTRATION, token_operation),
        v3("GET", "/auth/{auth_type}/fallback/web", pages.get_fallback_page, NONE, REGISTRATION),
        v3("POST", "/auth/{auth_type}/fallback/web", pages.post_fallback_page, NONE, REGISTRATION),
    ]


def account_routes(services: Services) -> list[Route]:
    users = services.users
    api = AccountApi(users.accounts, users.interactive_auth, users.password_resets, users.threepids)
    openid = OpenIdApi(users.openid)
    return [
        v3("GET", "/account/whoami", api.get_whoami, GUEST, UNLIMITED, "getTokenOwner"),
        v3("POST", "/account/password", api.change_password, OPTIONAL, LOGIN, "changePassword"),
        v3("POST", "/account/deactivate", api.deactivate_account, USER, LOGIN, "deactivateAccount"),
        v3("POST", "/user/{user_id}/openid/request_token", openid.request_token, USER, READ, "requestOpenIdToken"),
    ]


def threepid_routes(services: Services) -> list[Route]:
    users = services.users
    api = ThreepidApi(users.threepids, users.validation_sessions, users.interactive_auth)
    validation = ValidationApi(users.validation_sessions, users.registration)
    add, register, password = (
        validation.request_added_email,
        validation.request_register_email,
        validation.request_password_email,
    )
    phone = validation.request_phone
    return [
        v3("GET", "/account/3pid", api.get_threepids, USER, UNLIMITED, "getAccount3PIDs"),
        v3("POST", "/account/3pid", api.post_threepid, USER, LOGIN, "post3PIDs"),
        v3("POST", "/account/3pid/add", api.add_threepid, USER, LOGIN, "add3PID"),
        v3("POST", "/account/3pid/bind", api.bind_threepid, USER, LOGIN, "bind3PID"),
        v3("POST", "/account/3pid/delete", api.delete_threepid, USER, LOGIN, "delete3pidFromAccount"),
        v3("POST", "/account/3pid/unbind", api.unbind_threepid, USER, LOGIN, "unbind3pidFromAccount"),
        v3("POST", "/account/3pid/email/requestToken", add, NONE, LOGIN, "requestTokenTo3PIDEmail"),
        v3("POST", "/account/3pid/msisdn/requestToken", phone, NONE, LOGIN, "requestTokenTo3PIDMSISDN"),
        v3("POST", "/account/password/email/requestToken", password, NONE, LOGIN, "requestTokenToResetPasswordEmail"),
        v3("POST", "/account/password/msisdn/requestToken", phone, NONE, LOGIN, "requestTokenToResetPasswordMSISDN"),
        v3("POST", "/register/email/requestToken", register, NONE, LOGIN, "requestTokenToRegisterEmail"),
        v3("POST", "/register/msisdn/requestToken", phone, NONE, LOGIN, "requestTokenToRegisterMSISDN"),
        Route("GET", CONFIRM_PATH, validation.get_page, NONE, LOGIN),
        Route("POST", CONFIRM_PATH, validation.post_page, NONE, LOGIN),
    ]


def validity_routes(services: Services) -> list[Route]:
    """Known to clients from Synapse; only where accounts end."""
    users = services.users
    if not users.account_validity.is_enabled:
        return []
    api = AccountValidityApi(users.account_validity, users.authentication)
    return [
        Route("GET", RENEW_PATH, api.get_page, NONE, LOGIN),
        Route("POST", RENEW_PATH, api.post_page, NONE, LOGIN),
        Route("POST", "/_matrix/client/unstable/account_validity/send_mail", api.send_mail, NONE, LOGIN),
    ]


def consent_routes(services: Services) -> list[Route]:
    """Known to clients from Synapse; only where there are documents to accept."""
    if not services.users.consents.settings.policies:
        return []
    api = ConsentApi(services.users.consents)
    return [
        Route("GET", CONSENT_PATH, api.get_page, NONE, LOGIN),
        Route("POST", CONSENT_PATH, api.post_page, NONE, LOGIN),
    ]


def moderation_routes(services: Services) -> list[Route]:
    api = ModerationApi(services.users.moderation)
    return [
        v3("GET", "/admin/whois/{user_id}", api.get_whois, USER, UNLIMITED, "getWhoIs"),
        v1("GET", "/admin/lock/{user_id}", api.get_locked, ADMIN, UNLIMITED, "getAdminLockUser"),
        v1("PUT", "/admin/lock/{user_id}", api.set_locked, ADMIN, UNLIMITED, "setAdminLockUser"),
        v1("GET", "/admin/suspend/{user_id}", api.get_suspended, ADMIN, UNLIMITED, "getAdminSuspendUser"),
        v1("PUT", "/admin/suspend/{user_id}", api.set_suspended, ADMIN, UNLIMITED, "setAdminSuspendUser"),
    ]


def device_routes(services: Services) -> list[Route]:
    api = DeviceApi(services.users.devices, services.users.interactive_auth)
    return [
        v3("GET", "/devices", api.get_devices, GUEST, UNLIMITED, "getDevices"),
        v3("GET", "/devices/{device_id}", api.get_device, GUEST, UNLIMITED, "getDevice"),
        v3("PUT", "/devices/{device_id}", api.update_device, GUEST, UNLIMITED, "updateDevice"),
        v3("DELETE", "/devices/{device_id}", api.delete_device, USER, UNLIMITED, "deleteDevice"),
        v3("POST", "/delete_devices", api.delete_devices, USER, UNLIMITED, "deleteDevices"),
    ]


def to_device_routes(services: Services) -> list[Route]:
    api = ToDeviceApi(services.users.to_device)
    return [
        v3("PUT", "/sendToDevice/{event_type}/{txn_id}", api.send_to_device, GUEST, RateClass.MESSAGE, "sendToDevice"),
    ]


def profile_routes(services: Services) -> list[Route]:
    api = ProfileApi(services.users.profiles)
    reader = NONE if services.users.profiles.for_strangers else Auth.OPTIONAL
    directory = UserDirectoryApi(services.users.user_directory)
    field = "/profile/{user_id}/{field}"
    unstable = "/_matrix/client/unstable/uk.tcpip.msc4133" + field
    return [
        v3("GET", "/profile/{user_id}", api.get_profile, reader, READ, "getUserProfile"),
        v3("GET", field, api.get_profile_field, reader, READ, "getProfileField", unstable),
        v3("PUT", field, api.set_profile_field, GUEST, RateClass.MESSAGE, "setProfileField", unstable),
        v3("DELETE", field, api.delete_profile_field, GUEST, RateClass.MESSAGE, "deleteProfileField", unstable),
        v3("POST", "/user_directory/search", directory.search_users, USER, SEARCH, "searchUserDirectory"),
    ]


def presence_routes(services: Services) -> list[Route]:
    api = PresenceApi(services.users.presence)
    return [
        v3("GET", "/presence/{user_id}/status", api.get_presence, USER, READ, "getPresence"),
        v3("PUT", "/presence/{user_id}/status", api.set_presence, USER, RateClass.TYPING, "setPresence"),
    ]


def account_data_routes(services: Services) -> list[Route]:
    api = AccountDataApi(services.users.account_data)
    tags = TagApi(services.users.tags)
    filters = FilterApi(services.users.filters)
    everywhere = "/user/{user_id}/account_data/{type}"
    in_room = "/user/{user_id}/rooms/{room_id}/account_data/{type}"
    tag = "/user/{user_id}/rooms/{room_id}/tags/{tag}"
    return [
        v3("GET", everywhere, api.get_account_data, USER, UNLIMITED, "getAccountData"),
        v3("PUT", everywhere, api.set_account_data, USER, UNLIMITED, "setAccountData"),
        v3("GET", in_room, api.get_account_data, USER, UNLIMITED, "getAccountDataPerRoom"),
        v3("PUT", in_room, api.set_account_data, USER, UNLIMITED, "setAccountDataPerRoom"),
        v3("GET", "/user/{user_id}/rooms/{room_id}/tags", tags.get_tags, USER, UNLIMITED, "getRoomTags"),
        v3("PUT", tag, tags.set_tag, USER, UNLIMITED, "setRoomTag"),
        v3("DELETE", tag, tags.delete_tag, USER, UNLIMITED, "deleteRoomTag"),
        v3("POST", "/user/{user_id}/filter", filters.create_filter, GUEST, UNLIMITED, "defineFilter"),
        v3("GET", "/user/{user_id}/filter/{filter_id}", filters.get_filter, GUEST, UNLIMITED, "getFilter"),
    ]


def push_routes(services: Services) -> list[Route]:
    api = PushRuleApi(services.users.push_rules)
    pushers = PusherApi(services.users.pushers)
    rule = "/pushrules/global/{kind}/{rule_id}"
    return [
        v3("GET", "/pushrules/", api.get_push_rules, USER, UNLIMITED, "getPushRules"),
        v3("GET", "/pushrules/global/", api.get_global_push_rules, USER, UNLIMITED, "getPushRulesGlobal"),
        v3("GET", rule, api.get_push_rule, USER, UNLIMITED, "getPushRule"),
        v3("PUT", rule, api.set_push_rule, USER, UNLIMITED, "setPushRule"),
        v3("DELETE", rule, api.delete_push_rule, USER, UNLIMITED, "deletePushRule"),
        v3("GET", f"{rule}/enabled", api.get_enabled, USER, UNLIMITED, "isPushRuleEnabled"),
        v3("PUT", f"{rule}/enabled", api.set_enabled, USER, UNLIMITED, "setPushRuleEnabled"),
        v3("GET", f"{rule}/actions", api.get_actions, USER, UNLIMITED, "getPushRuleActions"),
        v3("PUT", f"{rule}/actions", api.set_actions, USER, UNLIMITED, "setPushRuleActions"),
        v3("GET", "/pushers", pushers.get_pushers, USER, UNLIMITED, "getPushers"),
        v3("POST", "/pushers/set", pushers.set_pusher, USER, UNLIMITED, "postPusher"),
    ]
