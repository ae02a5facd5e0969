"""The index of the Client-Server API, continued: keys of devices and users, and backups of room keys."""

from __future__ import annotations

from homeserver.client_api.cross_signing import CrossSigningApi
from homeserver.client_api.dehydrated_devices import DehydratedDeviceApi
from homeserver.client_api.device_keys import DeviceKeyApi
from homeserver.client_api.key_backups import KeyBackupApi
from homeserver.client_api.services import Services
from homeserver.client_api.versioned_paths import v3
from homeserver.encryption.services import EncryptionServices
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.sync.services import SyncServices

USER, GUEST = Auth.USER, Auth.GUEST
UNLIMITED, READ = RateClass.NONE, RateClass.READ


def encryption_routes(services: Services, encryption: EncryptionServices, sync: SyncServices) -> list[Route]:
    """What stands on encryption/."""
    return [
        *device_key_routes(encryption, sync),
        *cross_signing_routes(services, encryption),
        *key_backup_routes(encryption),
        *dehydrated_device_routes(encryption),
    ]


def device_key_routes(encryption: EncryptionServices, sync: SyncServices) -> list[Route]:
    api = DeviceKeyApi(encryption.device_keys, encryption.key_queries, encryption.one_time_keys, sync.sync)
    return [
        v3("POST", "/keys/upload", api.upload_keys, GUEST, UNLIMITED, "uploadKeys"),
        v3("POST", "/keys/query", api.query_keys, GUEST, READ, "queryKeys"),
        v3("POST", "/keys/claim", api.claim_keys, GUEST, READ, "claimKeys"),
        v3("GET", "/keys/changes", api.get_key_changes, USER, READ, "getKeysChanges"),
    ]


def cross_signing_routes(services: Services, encryption: EncryptionServices) -> list[Route]:
    api = CrossSigningApi(encryption.cross_signing, encryption.key_signatures, services.users.interactive_auth)
    keys, signatures = "/keys/device_signing/upload", "/keys/signatures/upload"
    unstable = "/_matrix/client/unstable"
    return [
        v3("POST", keys, api.upload_keys, USER, UNLIMITED, "uploadCrossSigningKeys", unstable + keys),
        v3("POST", signatures, api.upload_signatures, USER, UNLIMITED, "uploadCrossSigningSignatures"),
    ]


def key_backup_routes(encryption: EncryptionServices) -> list[Route]:
    api = KeyBackupApi(encryption.key_backups)
    version, everything = "/room_keys/version", "/room_keys/keys"
    one_version, room = version + "/{version}", everything + "/{room_id}"
    session = room + "/{session_id}"
    return [
        v3("POST", version, api.create_version, USER, UNLIMITED, "postRoomKeysVersion"),
        v3("GET", version, api.get_current_version, USER, READ, "getRoomKeysVersionCurrent"),
        v3("GET", one_version, api.get_version, USER, READ, "getRoomKeysVersion"),
        v3("PUT", one_version, api.update_version, USER, UNLIMITED, "putRoomKeysVersion"),
        v3("DELETE", one_version, api.delete_version, USER, UNLIMITED, "deleteRoomKeysVersion"),
        v3("PUT", session, api.put_key, USER, UNLIMITED, "putRoomKeyBySessionId"),
        v3("GET", session, api.get_key, USER, READ, "getRoomKeyBySessionId"),
        v3("DELETE", session, api.delete_keys, USER, UNLIMITED, "deleteRoomKeyBySessionId"),
        v3("PUT", room, api.put_room_keys, USER, UNLIMITED, "putRoomKeysByRoomId"),
        v3("GET", room, api.get_room_keys, USER, READ, "getRoomKeysByRoomId"),
        v3("DELETE", room, api.delete_keys, USER, UNLIMITED, "deleteRoomKeysByRoomId"),
        v3("PUT", everything, api.put_keys, USER, UNLIMITED, "putRoomKeys"),
        v3("GET", everything, api.get_keys, USER, READ, "getRoomKeys"),
        v3("DELETE", everything, api.delete_keys, USER, UNLIMITED, "deleteRoomKeys"),
    ]


def dehydrated_device_routes(encryption: EncryptionServices) -> list[Route]:
    """MSC3814."""
    api = DehydratedDeviceApi(encryption.dehydrated_devices)
    path = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
    return [
        Route("PUT", path, api.set_dehydrated_device, USER, UNLIMITED),
        Route("GET", path, api.get_dehydrated_device, USER, READ),
        Route("DELETE", path, api.delete_dehydrated_device, USER, UNLIMITED),
        Route("GET", path + "/{device_id}/events", api.get_events, USER, READ),
        Route("POST", path + "/{device_id}/events", api.list_events, USER, READ),
    ]
