"""Everything of appservice_api/, built in order."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from homeserver.appservice_api.client import AppserviceCalls
from homeserver.appservice_api.registry import Registry
from homeserver.appservice_api.sender import AppserviceSender
from homeserver.clock import Clock
from homeserver.protocol.identifiers import parse_user_id
from homeserver.rooms.services import RoomServices
from homeserver.storage.appservices import AppserviceStore
from homeserver.storage.database import Database
from homeserver.stream import Stream
from homeserver.users.services import UserServices

_log = logging.getLogger("homeserver.appservice_api")


class AskingNamespaces:
    """Implements `rooms.aliases.AliasNamespaces`: names that services keep, and asking them to make rooms."""

    def __init__(self, registry: Registry, client: AppserviceCalls) -> None:
        self._registry = registry
        self._client = client

    def alias_is_reserved(self, alias: str, user_id: str) -> bool:
        return self._registry.alias_is_reserved(alias, user_id)

    async def ask_for_alias(self, alias: str) -> bool:
        """Ask the services whose namespace it is whether they make the room now."""
        for appservice in self._registry.appservices:
            if appservice.url is not None and appservice.aliases.matches(alias):
                answer = await self._client.ask_alias(appservice, alias)
                if answer.status == 200:
                    return True
        return False


@dataclass(slots=True)
class AppserviceServices:
    """The services of appservice_api/."""

    registry: Registry
    client: AppserviceCalls
    senders: list[AppserviceSender]
    users: UserServices

    async def start(self) -> None:
        """Make the services' own accounts and begin to tell them."""
        for appservice in self.registry.appservices:
            await self.users.accounts.ensure_appservice_user(parse_user_id(appservice.sender), appservice.id)
            _log.info("application service %s is registered as %s", appservice.id, appservice.sender)
        for sender in self.senders:
            sender.start()

    async def stop(self) -> None:
        for sender in self.senders:
            await sender.stop()


def build_appservice_services(
    db: Database,
    clock: Clock,
    stream: Stream,
    registry: Registry,
    client: AppserviceCalls,
    users: UserServices,
    rooms: RoomServices,
) -> AppserviceServices:
    """One sender for each registered service that has an address."""
    store = AppserviceStore(db)
    senders = [
        AppserviceSender(appservice, db=db, store=store, rooms=rooms, stream=stream, client=client, clock=clock)
        for appservice in registry.appservices
        if appservice.url is not None
    ]
    return AppserviceServices(registry, client, senders, users)
