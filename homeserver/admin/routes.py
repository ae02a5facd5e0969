"""The index of the operators' API: Synapse's paths, because every tool speaks them, and a few of our own.

docs/admin_api.md is the table of what is supported; a test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.admin.access import AdminRoutes
from homeserver.admin.devices import DeviceAdminApi
from homeserver.admin.federation import FederationAdminApi
from homeserver.admin.media import MediaAdminApi
from homeserver.admin.registration_tokens import RegistrationTokenApi
from homeserver.admin.reports import ReportAdminApi
from homeserver.admin.room_changes import RoomChangeApi
from homeserver.admin.rooms import RoomAdminApi
from homeserver.admin.server import ServerAdminApi
from homeserver.admin.statistics import StatisticsApi
from homeserver.admin.user_activity import UserActivityApi
from homeserver.admin.user_export import UserExportApi
from homeserver.admin.users import UserAdminApi
from homeserver.http.routing import Route

OWN = "/_halfdoor/admin/v1"


@dataclass(frozen=True, slots=True)
class AdminApis:
    """The handlers, one class a noun."""

    server: ServerAdminApi
    federation: FederationAdminApi
    users: UserAdminApi
    activity: UserActivityApi
    devices: DeviceAdminApi
    tokens: RegistrationTokenApi
    reports: ReportAdminApi
    rooms: RoomAdminApi
    room_changes: RoomChangeApi
    media: MediaAdminApi
    statistics: StatisticsApi
    export: UserExportApi


def admin_routes(apis: AdminApis, row: AdminRoutes) -> list[Route]:
    """Every row; all of them are for administrators alone."""
    return [
        *_server(apis, row),
        *_users(apis.users, apis.activity, row),
        *_devices(apis.devices, row),
        *_tokens(apis.tokens, row),
        *_reports(apis.reports, row),
        *_rooms(apis.rooms, row),
        *_room_changes(apis.room_changes, row),
        *_media(apis.media, row),
        row.row("GET", OWN + "/users/{user_id}/export", apis.export.get_export),
    ]


def _server(apis: AdminApis, row: AdminRoutes) -> list[Route]:
    server, federation, statistics = apis.server, apis.federation, apis.statistics
    return [
        row("GET", "/v1/server_version", server.get_version),
        row("GET", "/v1/scheduled_tasks", server.list_tasks),
        row("GET", "/v1/background_updates/status", server.get_background_updates),
        row("GET", "/v1/experimental_features/{user_id}", server.list_features),
        row("PUT", "/v1/experimental_features/{user_id}", server.set_features),
        row("GET", "/v1/federation/destinations", federation.list_destinations),
        row("GET", "/v1/federation/destinations/{destination}", federation.get_destination),
        row("GET", "/v1/federation/destinations/{destination}/rooms", federation.list_rooms),
        row("POST", "/v1/federation/destinations/{destination}/reset_connection", federation.reset_connection),
        row("GET", "/v1/statistics/users/media", statistics.list_media_usage),
        row("GET", "/v1/statistics/database/rooms", statistics.list_largest_rooms),
    ]


def _users(users: UserAdminApi, activity: UserActivityApi, row: AdminRoutes) -> list[Route]:
    user = "/v1/users/{user_id}"
    return [
        row("GET", "/v2/users", users.list_users),
        row("GET", "/v3/users", users.list_users_v3),
        row("GET", "/v2/users/{user_id}", users.get_user),
        row("PUT", "/v2/users/{user_id}", users.put_user),
        row("GET", f"{user}/admin", users.get_admin),
        row("PUT", f"{user}/admin", users.set_admin),
        row("GET", "/v1/whois/{user_id}", users.get_whois),
        row("GET", "/v1/username_available", users.username_available),
        row("GET", "/v1/threepid/{medium}/users/{address}", users.find_by_threepid),
        row("GET", "/v1/auth_providers/{provider}/users/{external_id}", users.find_by_identity),
        row("POST", "/v1/deactivate/{user_id}", users.deactivate),
        row("PUT", "/v1/suspend/{user_id}", users.set_suspended),
        row("POST", "/v1/reset_password/{user_id}", users.reset_password),
        row("POST", "/v1/account_validity/validity", users.renew),
        row("GET", f"{user}/joined_rooms", activity.list_joined_rooms),
        row("GET", f"{user}/memberships", activity.list_memberships),
        row("GET", f"{user}/sent_invite_count", activity.count_sent_invites),
        row("GET", f"{user}/cumulative_joined_room_count", activity.count_joined_rooms),
        row("GET", f"{user}/pushers", activity.list_pushers),
        row("GET", f"{user}/accountdata", activity.get_account_data),
        row("POST", f"{user}/login", activity.log_in),
        row("GET", f"{user}/override_ratelimit", activity.get_rate_limit),
        row("POST", f"{user}/override_ratelimit", activity.set_rate_limit),
        row("DELETE", f"{user}/override_ratelimit", activity.delete_rate_limit),
        row("POST", "/v1/user/{user_id}/redact", activity.redact),
        row("GET", "/v1/user/redact_status/{redact_id}", activity.get_redact_status),
    ]


def _devices(devices: DeviceAdminApi, row: AdminRoutes) -> list[Route]:
    path = "/v2/users/{user_id}"
    return [
        row("GET", f"{path}/devices", devices.list_devices),
        row("POST", f"{path}/devices", devices.create_device),
        row("GET", path + "/devices/{device_id}", devices.get_device),
        row("PUT", path + "/devices/{device_id}", devices.update_device),
        row("DELETE", path + "/devices/{device_id}", devices.delete_device),
        row("POST", f"{path}/delete_devices", devices.delete_devices),
    ]


def _tokens(tokens: RegistrationTokenApi, row: AdminRoutes) -> list[Route]:
    path = "/v1/registration_tokens"
    return [
        row("GET", path, tokens.list_tokens),
        row("POST", f"{path}/new", tokens.create_token),
        row("GET", path + "/{token}", tokens.get_token),
        row("PUT", path + "/{token}", tokens.update_token),
        row("DELETE", path + "/{token}", tokens.delete_token),
    ]


def _reports(reports: ReportAdminApi, row: AdminRoutes) -> list[Route]:
    return [
        row("GET", "/v1/event_reports", reports.list_event_reports),
        row("GET", "/v1/event_reports/{report_id}", reports.get_event_report),
        row("DELETE", "/v1/event_reports/{report_id}", reports.delete_event_report),
        row("GET", "/v1/user_reports", reports.list_user_reports),
        row("GET", "/v1/user_reports/{report_id}", reports.get_user_report),
        row("DELETE", "/v1/user_reports/{report_id}", reports.delete_user_report),
        row.row("GET", OWN + "/reports", reports.list_all),
        row.row("DELETE", OWN + "/reports/{report_id}", reports.delete_any),
    ]


def _rooms(rooms: RoomAdminApi, row: AdminRoutes) -> list[Route]:
    room = "/v1/rooms/{room_id}"
    return [
        row("GET", "/v1/rooms", rooms.list_rooms),
        row("GET", room, rooms.get_room),
        row("GET", f"{room}/members", rooms.list_members),
        row("GET", f"{room}/state", rooms.get_state),
        row("GET", f"{room}/hierarchy", rooms.get_hierarchy),
        row("GET", f"{room}/messages", rooms.get_messages),
        row("GET", room + "/context/{event_id}", rooms.get_context),
        row("GET", f"{room}/timestamp_to_event", rooms.get_event_at),
        row("GET", "/v1/fetch_event/{event_id}", rooms.get_event),
        row("GET", "/v1/room/{room_id}/media", rooms.list_media),
    ]


def _room_changes(changes: RoomChangeApi, row: AdminRoutes) -> list[Route]:
    room = "/v1/rooms/{room_id}"
    return [
        row("POST", "/v1/join/{room_id}", changes.join),
        row("POST", f"{room}/make_room_admin", changes.make_admin),
        row("GET", f"{room}/block", changes.get_block),
        row("PUT", f"{room}/block", changes.set_block),
        row("GET", f"{room}/forward_extremities", changes.list_extremities),
        row("DELETE", f"{room}/forward_extremities", changes.delete_extremities),
        row("DELETE", room, changes.delete),
        row("DELETE", "/v2/rooms/{room_id}", changes.begin_deletion),
        row("GET", "/v2/rooms/{room_id}/delete_status", changes.list_deletions),
        row("GET", "/v2/rooms/delete_status/{delete_id}", changes.get_deletion),
        row("POST", "/v1/purge_history/{room_id}", changes.purge_history),
        row("POST", "/v1/purge_history/{room_id}/{event_id}", changes.purge_history),
        row("GET", "/v1/purge_history_status/{purge_id}", changes.get_purge),
        row("POST", "/v1/send_server_notice", changes.send_notice),
        row("PUT", "/v1/send_server_notice/{txn_id}", changes.send_notice),
    ]


def _media(media: MediaAdminApi, row: AdminRoutes) -> list[Route]:
    one = "/{server_name}/{media_id}"
    return [
        row("GET", "/v1/media" + one, media.get_media),
        row("DELETE", "/v1/media" + one, media.delete_media),
        row("POST", "/v1/media/quarantine" + one, media.quarantine),
        row("POST", "/v1/media/unquarantine" + one, media.release),
        row("POST", "/v1/media/protect/{media_id}", media.protect),
        row("POST", "/v1/media/unprotect/{media_id}", media.unprotect),
        row("POST", "/v1/media/delete", media.delete_old),
        row("POST", "/v1/media/{server_name}/delete", media.delete_old),
        row("POST", "/v1/purge_media_cache", media.purge_remote),
        row(
            "POST",
            "/v1/room/{room_id}/media/quarantine",
            media.quarantine_of_room,
            aliases=("/v1/quarantine_media/{room_id}",),
        ),
        row("POST", "/v1/user/{user_id}/media/quarantine", media.quarantine_of_user),
        row("GET", "/v1/users/{user_id}/media", media.list_of_user),
        row("DELETE", "/v1/users/{user_id}/media", media.delete_of_user),
    ]
