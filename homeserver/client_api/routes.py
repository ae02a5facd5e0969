"""The index of the Client-Server API: one row an operation, one section a noun.

A section is a function of the services of its part; `routes` puts all of them together. `v3` and `v1` complete a path
and add its aliases. The sections are in `user_routes.py`, `room_routes.py`, `encryption_routes.py` and
`media_routes.py`.
"""

from __future__ import annotations

from homeserver.client_api.encryption_routes import encryption_routes
from homeserver.client_api.media_routes import media_routes
from homeserver.client_api.room_routes import (
    alias_routes,
    delayed_event_routes,
    event_routes,
    hierarchy_routes,
    membership_routes,
    old_sync_routes,
    public_room_routes,
    receipt_routes,
    relation_routes,
    report_routes,
    room_routes,
    search_routes,
    sync_routes,
    third_party_routes,
    thread_subscription_routes,
    upgrade_routes,
)
from homeserver.client_api.services import Services
from homeserver.client_api.user_routes import user_routes
from homeserver.encryption.services import EncryptionServices
from homeserver.http.routing import Route
from homeserver.media.services import MediaServices
from homeserver.rooms.services import RoomServices
from homeserver.sync.services import SyncServices


def routes(
    services: Services, rooms: RoomServices, sync: SyncServices, encryption: EncryptionServices, media: MediaServices
) -> list[Route]:
    """Every row of the Client-Server API."""
    return [
        *user_routes(services),
        *room_routes(rooms),
        *membership_routes(rooms),
        *event_routes(rooms),
        *delayed_event_routes(rooms),
        *alias_routes(rooms),
        *receipt_routes(services, rooms),
        *relation_routes(services, rooms),
        *thread_subscription_routes(rooms),
        *search_routes(services, rooms),
        *public_room_routes(rooms),
        *hierarchy_routes(rooms),
        *upgrade_routes(rooms),
        *report_routes(rooms),
        *old_sync_routes(services, sync),
        *third_party_routes(services),
        *sync_routes(services, sync),
        *encryption_routes(services, encryption, sync),
        *media_routes(media),
    ]
