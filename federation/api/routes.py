"""The index of the Server-Server API."""

from __future__ import annotations

from federation.api.authentication import ServerAuthenticator, SignedHandler
from federation.api.keys import KeysApi
from federation.api.queries import QueriesApi
from federation.api.rooms import RoomsApi
from federation.media import FederationMedia
from homeserver.http.routing import Auth, BodySize, Handler, Route, RouteGroup


def federation_routes(
    authenticator: ServerAuthenticator, keys: KeysApi, rooms: RoomsApi, queries: QueriesApi, media: FederationMedia
) -> list[Route]:
    """Every row."""
    v1, v2 = "/_matrix/federation/v1", "/_matrix/federation/v2"

    def open_to_all(method: str, path: str, handler: Handler, operation: str, body: BodySize = BodySize.JSON) -> Route:
        return Route(method, path, handler, auth=Auth.NONE, operation=operation, group=RouteGroup.FEDERATION, body=body)

    def signed(method: str, path: str, handler: SignedHandler, operation: str, body: BodySize = BodySize.JSON) -> Route:
        return open_to_all(method, path, authenticator.signed(handler), operation, body)

    return [
        open_to_all("GET", "/_matrix/key/v2/server", keys.get_keys, "getServerKey"),
        open_to_all("GET", "/_matrix/key/v2/query/{server_name}", keys.query_keys_of, "perspectivesKeyQuery"),
        open_to_all("POST", "/_matrix/key/v2/query", keys.query_keys, "bulkPerspectivesKeyQuery"),
        open_to_all("GET", f"{v1}/openid/userinfo", queries.get_openid_user, "exchangeOpenIdToken"),
        open_to_all("GET", f"{v1}/version", queries.get_version, "getVersion"),
        signed("PUT", f"{v1}/send/{{txn_id}}", rooms.send_transaction, "sendTransaction", BodySize.TRANSACTION),
        signed("GET", f"{v1}/make_join/{{room_id}}/{{user_id}}", rooms.make_join, "makeJoin"),
        signed("PUT", f"{v2}/send_join/{{room_id}}/{{event_id}}", rooms.send_join, "sendJoinV2"),
        signed("GET", f"{v1}/make_knock/{{room_id}}/{{user_id}}", rooms.make_knock, "makeKnock"),
        signed("PUT", f"{v1}/send_knock/{{room_id}}/{{event_id}}", rooms.send_knock, "sendKnock"),
        signed("GET", f"{v1}/make_leave/{{room_id}}/{{user_id}}", rooms.make_leave, "makeLeave"),
        signed("PUT", f"{v2}/send_leave/{{room_id}}/{{event_id}}", rooms.send_leave, "sendLeaveV2"),
        signed("PUT", f"{v2}/invite/{{room_id}}/{{event_id}}", rooms.invite, "sendInviteV2"),
        signed("PUT", f"{v1}/invite/{{room_id}}/{{event_id}}", rooms.invite_v1, "sendInviteV1"),
        signed(
            "PUT",
            f"{v1}/exchange_third_party_invite/{{room_id}}",
            rooms.exchange_third_party_invite,
            "exchangeThirdPartyInvite",
        ),
        open_to_all("PUT", f"{v1}/3pid/onbind", rooms.on_bind, "onBindThirdPartyIdentifier"),
        signed("GET", f"{v1}/hierarchy/{{room_id}}", rooms.get_hierarchy, "getSpaceHierarchy"),
        signed("GET", f"{v1}/timestamp_to_event/{{room_id}}", rooms.get_event_by_timestamp, "getEventByTimestamp"),
        signed("GET", f"{v1}/event/{{event_id}}", rooms.get_event, "getEvent"),
        signed("GET", f"{v1}/state_ids/{{room_id}}", rooms.get_state_ids, "getRoomStateIds"),
        signed("GET", f"{v1}/state/{{room_id}}", rooms.get_state, "getRoomState"),
        signed("GET", f"{v1}/event_auth/{{room_id}}/{{event_id}}", rooms.get_event_auth, "getEventAuth"),
        signed("GET", f"{v1}/backfill/{{room_id}}", rooms.backfill, "backfillRoom"),
        signed("POST", f"{v1}/get_missing_events/{{room_id}}", rooms.get_missing_events, "getMissingPreviousEvents"),
        signed("GET", f"{v1}/media/download/{{media_id}}", media.download, "getContent"),
        signed("GET", f"{v1}/media/thumbnail/{{media_id}}", media.thumbnail, "getContentThumbnail"),
        signed("GET", f"{v1}/publicRooms", queries.get_public_rooms, "getPublicRooms"),
        signed("POST", f"{v1}/publicRooms", queries.query_public_rooms, "queryPublicRooms"),
        signed("GET", f"{v1}/query/directory", queries.query_directory, "queryRoomDirectory"),
        signed("GET", f"{v1}/query/profile", queries.query_profile, "queryProfile"),
        signed("GET", f"{v1}/query/{{query_type}}", queries.query_other, "queryInfo"),
        signed("POST", f"{v1}/user/keys/query", queries.query_keys, "queryUserEncryptionKeys"),
        signed("POST", f"{v1}/user/keys/claim", queries.claim_keys, "claimUserEncryptionKeys"),
        signed("GET", f"{v1}/user/devices/{{user_id}}", queries.get_devices, "getUserDevices"),
    ]
