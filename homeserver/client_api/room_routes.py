"""The index of the Client-Server API, continued: rooms, membership, events."""

from __future__ import annotations

from homeserver.client_api.aliases import AliasApi
from homeserver.client_api.delayed_events import DelayedEventApi
from homeserver.client_api.events import EventApi
from homeserver.client_api.hierarchy import HierarchyApi
from homeserver.client_api.initial_sync import InitialSyncApi
from homeserver.client_api.membership import MembershipApi
from homeserver.client_api.notifications import NotificationApi
from homeserver.client_api.public_rooms import PublicRoomApi
from homeserver.client_api.receipts import ReceiptApi
from homeserver.client_api.relations import RelationApi
from homeserver.client_api.reports import ReportApi
from homeserver.client_api.rooms import RoomApi
from homeserver.client_api.search import SearchApi
from homeserver.client_api.services import Services
from homeserver.client_api.sliding_sync import SlidingSyncApi
from homeserver.client_api.sync import SyncApi
from homeserver.client_api.third_party import ThirdPartyApi
from homeserver.client_api.thread_subscriptions import ThreadSubscriptionApi
from homeserver.client_api.upgrades import UpgradeApi
from homeserver.client_api.versioned_paths import v1, v3
from homeserver.client_api.voip import VoipApi
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.rooms.services import RoomServices
from homeserver.sync.services import SyncServices

NONE, OPTIONAL, USER, GUEST, ADMIN, APPSERVICE = Auth
UNLIMITED = RateClass.NONE
SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
READ, MESSAGE, JOIN, INVITE = RateClass.READ, RateClass.MESSAGE, RateClass.JOIN, RateClass.INVITE


def room_routes(rooms: RoomServices) -> list[Route]:
    api = RoomApi(rooms)
    mutual = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"
    return [
        v3("POST", "/createRoom", api.create_room, USER, RateClass.CREATE_ROOM, "createRoom"),
        v3("GET", "/joined_rooms", api.get_joined_rooms, GUEST, READ, "getJoinedRooms"),
        v1("GET", "/mutual_rooms", api.get_mutual_rooms, USER, READ, "getMutualRooms", mutual),
    ]


def membership_routes(rooms: RoomServices) -> list[Route]:
    api = MembershipApi(rooms)
    return [
        v3("POST", "/join/{room_id_or_alias}", api.join_room_or_alias, GUEST, JOIN, "joinRoom"),
        v3("POST", "/rooms/{room_id}/join", api.join_room, GUEST, JOIN, "joinRoomById"),
        v3("POST", "/knock/{room_id_or_alias}", api.knock_room, USER, JOIN, "knockRoom"),
        v3("POST", "/rooms/{room_id}/invite", api.invite_user, USER, INVITE, "inviteUser"),
        v3("POST", "/rooms/{room_id}/leave", api.leave_room, GUEST, UNLIMITED, "leaveRoom"),
        v3("POST", "/rooms/{room_id}/forget", api.forget_room, USER, UNLIMITED, "forgetRoom"),
        v3("POST", "/rooms/{room_id}/kick", api.kick, USER, MESSAGE, "kick"),
        v3("POST", "/rooms/{room_id}/ban", api.ban, USER, MESSAGE, "ban"),
        v3("POST", "/rooms/{room_id}/unban", api.unban, USER, MESSAGE, "unban"),
    ]


def event_routes(rooms: RoomServices) -> list[Route]:
    api = EventApi(rooms)
    state = "/rooms/{room_id}/state/{event_type}"
    send, redact = "/rooms/{room_id}/send/{event_type}/{txn_id}", "/rooms/{room_id}/redact/{event_id}/{txn_id}"
    at_time = "/rooms/{room_id}/timestamp_to_event"
    unstable_at_time = "/_matrix/client/unstable/org.matrix.msc3030/rooms/{room_id}/timestamp_to_event"
    return [
        v3("PUT", send, api.send_message, GUEST, MESSAGE, "sendMessage"),
        v3("PUT", redact, api.redact_event, USER, MESSAGE, "redactEvent"),
        v3("PUT", state + "/{state_key?}", api.set_state, GUEST, MESSAGE, "setRoomStateWithKey"),
        v3("GET", state + "/{state_key?}", api.get_state_event, GUEST, READ, "getRoomStateWithKey"),
        v3("GET", "/rooms/{room_id}/state", api.get_state, GUEST, READ, "getRoomState"),
        v3("GET", "/rooms/{room_id}/members", api.get_members, GUEST, READ, "getMembersByRoom"),
        v3("GET", "/rooms/{room_id}/joined_members", api.get_joined_members, USER, READ, "getJoinedMembersByRoom"),
        v3("GET", "/rooms/{room_id}/event/{event_id}", api.get_event, GUEST, READ, "getOneRoomEvent"),
        v3("GET", "/rooms/{room_id}/messages", api.get_messages, GUEST, READ, "getRoomEvents"),
        v3("GET", "/rooms/{room_id}/context/{event_id}", api.get_context, GUEST, READ, "getEventContext"),
        v1("GET", at_time, api.get_event_by_timestamp, USER, READ, "getEventByTimestamp", unstable_at_time),
    ]


def delayed_event_routes(rooms: RoomServices) -> list[Route]:
    """MSC4140."""
    api = DelayedEventApi(rooms.delayed_events)
    path = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"
    one = path + "/{delay_id}"
    return [
        Route("GET", path, api.list_delayed_events, GUEST, READ),
        Route("POST", one, api.update_delayed_event, OPTIONAL, MESSAGE),
        Route("POST", one + "/restart", api.restart_delayed_event, OPTIONAL, MESSAGE),
        Route("POST", one + "/cancel", api.cancel_delayed_event, OPTIONAL, MESSAGE),
        Route("POST", one + "/send", api.send_delayed_event, OPTIONAL, MESSAGE),
    ]


def alias_routes(rooms: RoomServices) -> list[Route]:
    api = AliasApi(rooms)
    listing = "/directory/list/room/{room_id}"
    return [
        v3("GET", "/directory/room/{room_alias}", api.get_alias, OPTIONAL, READ, "getRoomIdByAlias"),
        v3("PUT", "/directory/room/{room_alias}", api.set_alias, USER, MESSAGE, "setRoomAlias"),
        v3("DELETE", "/directory/room/{room_alias}", api.delete_alias, USER, MESSAGE, "deleteRoomAlias"),
        v3("GET", "/rooms/{room_id}/aliases", api.get_local_aliases, USER, READ, "getLocalAliases"),
        v3("GET", listing, api.get_room_visibility, OPTIONAL, READ, "getRoomVisibilityOnDirectory"),
        v3("PUT", listing, api.set_room_visibility, USER, MESSAGE, "setRoomVisibilityOnDirectory"),
    ]


def receipt_routes(services: Services, rooms: RoomServices) -> list[Route]:
    api = ReceiptApi(rooms.receipts, rooms.typing, services.users.account_data)
    receipt = "/rooms/{room_id}/receipt/{receipt_type}/{event_id}"
    return [
        v3("POST", receipt, api.post_receipt, GUEST, UNLIMITED, "postReceipt"),
        v3("POST", "/rooms/{room_id}/read_markers", api.set_read_markers, GUEST, UNLIMITED, "setReadMarker"),
        v3("PUT", "/rooms/{room_id}/typing/{user_id}", api.set_typing, GUEST, RateClass.TYPING, "setTyping"),
    ]


def sync_routes(services: Services, sync: SyncServices) -> list[Route]:
    api = SyncApi(sync, services.users.filters)
    sliding = SlidingSyncApi(sync)
    return [
        v3("GET", "/sync", api.get_sync, GUEST, UNLIMITED, "sync"),
        Route("POST", SLIDING_SYNC, sliding.post_sync, GUEST, UNLIMITED, cancel_on_disconnect=True),
    ]


def relation_routes(services: Services, rooms: RoomServices) -> list[Route]:
    api = RelationApi(rooms, services.users.account_data)
    of_event = "/rooms/{room_id}/relations/{event_id}"
    unstable = "/_matrix/client/unstable"
    by_type, by_types = of_event + "/{rel_type}", of_event + "/{rel_type}/{event_type}"
    return [
        v1("GET", of_event, api.get_relations, USER, READ, "getRelatingEvents", unstable + of_event),
        v1("GET", by_type, api.get_relations, USER, READ, "getRelatingEventsWithRelType", unstable + by_type),
        v1(
            "GET",
            by_types,
            api.get_relations,
            USER,
            READ,
            "getRelatingEventsWithRelTypeAndEventType",
            unstable + by_types,
        ),
        v1("GET", "/rooms/{room_id}/threads", api.get_threads, USER, READ, "getThreadRoots"),
    ]


def thread_subscription_routes(rooms: RoomServices) -> list[Route]:
    """MSC4306 and MSC4308."""
    api = ThreadSubscriptionApi(rooms)
    unstable = "/_matrix/client/unstable/io.element"
    one = unstable + ".msc4306/rooms/{room_id}/thread/{root_id}/subscription"
    return [
        Route("GET", one, api.get_subscription, USER, READ),
        Route("PUT", one, api.set_subscription, USER, MESSAGE),
        Route("DELETE", one, api.delete_subscription, USER, MESSAGE),
        Route("GET", unstable + ".msc4308/thread_subscriptions", api.list_subscriptions, USER, READ),
    ]


def search_routes(services: Services, rooms: RoomServices) -> list[Route]:
    api = SearchApi(rooms, services.users.account_data)
    return [v3("POST", "/search", api.search, USER, RateClass.SEARCH, "search")]


def public_room_routes(rooms: RoomServices) -> list[Route]:
    api = PublicRoomApi(rooms)
    listing = "/directory/list/appservice/{network_id}/{room_id}"
    operation = "updateAppserviceRoomDirectoryVisibility"
    return [
        v3("GET", "/publicRooms", api.get_public_rooms, OPTIONAL, READ, "getPublicRooms"),
        v3("POST", "/publicRooms", api.query_public_rooms, GUEST, READ, "queryPublicRooms"),
        v3("PUT", listing, api.set_appservice_visibility, APPSERVICE, UNLIMITED, operation),
    ]


def hierarchy_routes(rooms: RoomServices) -> list[Route]:
    api = HierarchyApi(rooms)
    unstable = "/_matrix/client/unstable/im.nheko.summary"
    summaries = (unstable + "/summary/{room_id_or_alias}", unstable + "/rooms/{room_id_or_alias}/summary")
    return [
        v1("GET", "/rooms/{room_id}/hierarchy", api.get_hierarchy, GUEST, READ, "getSpaceHierarchy"),
        v1(
            "GET",
            "/room_summary/{room_id_or_alias}",
            api.get_room_summary,
            OPTIONAL,
            READ,
            "getRoomSummary",
            *summaries,
        ),
    ]


def upgrade_routes(rooms: RoomServices) -> list[Route]:
    api = UpgradeApi(rooms)
    return [v3("POST", "/rooms/{room_id}/upgrade", api.upgrade_room, USER, RateClass.CREATE_ROOM, "upgradeRoom")]


def report_routes(rooms: RoomServices) -> list[Route]:
    api, rate = ReportApi(rooms), RateClass.REPORT
    unstable = "/_matrix/client/unstable/org.matrix.msc4151/rooms/{room_id}/report"
    return [
        v3("POST", "/rooms/{room_id}/report", api.report_room, USER, rate, "reportRoom", unstable),
        v3("POST", "/rooms/{room_id}/report/{event_id}", api.report_event, USER, rate, "reportEvent"),
        v3("POST", "/users/{user_id}/report", api.report_user, USER, rate, "reportUser"),
    ]


def old_sync_routes(services: Services, sync: SyncServices) -> list[Route]:
    api, notifications = InitialSyncApi(sync), NotificationApi(sync, services.users.account_data)
    of_room = "/rooms/{room_id}/initialSync"
    return [
        v3("GET", "/initialSync", api.get_initial_sync, GUEST, READ, "initialSync"),
        v3("GET", of_room, api.get_room_initial_sync, GUEST, READ, "roomInitialSync"),
        v3("GET", "/events", api.get_events, GUEST, UNLIMITED, "getEvents"),
        v3("GET", "/events/{event_id}", api.get_event, GUEST, READ, "getOneEvent"),
        v3("GET", "/notifications", notifications.get_notifications, USER, READ, "getNotifications"),
    ]


def third_party_routes(services: Services) -> list[Route]:
    api = ThirdPartyApi(services.networks)
    voip = VoipApi(services.turn, services.clock, services.facts.rtc_transports)
    rtc = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
    base = "/thirdparty"
    return [
        v3("GET", base + "/protocols", api.get_protocols, USER, READ, "getProtocols"),
        v3("GET", base + "/protocol/{protocol}", api.get_protocol, USER, READ, "getProtocolMetadata"),
        v3("GET", base + "/location/{protocol}", api.query_locations, USER, READ, "queryLocationByProtocol"),
        v3("GET", base + "/user/{protocol}", api.query_users, USER, READ, "queryUserByProtocol"),
        v3("GET", base + "/location", api.query_location_by_alias, USER, READ, "queryLocationByAlias"),
        v3("GET", base + "/user", api.query_user_by_id, USER, READ, "queryUserByID"),
        v3("GET", "/voip/turnServer", voip.get_turn_server, GUEST, READ, "getTurnServer"),
        Route("GET", rtc, voip.get_rtc_transports, GUEST, READ),
    ]
