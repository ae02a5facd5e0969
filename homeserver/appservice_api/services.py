"""Everything of appservice_api/, built in order."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from homeserver.appservice_api.client import AppserviceCalls
from homeserver.appservice_api.registry import Registry
from homeserver.appservice_api.sender import AppserviceSender
from homeserver.clock import Clock
from homeserver.hooks import InviteToCheck
from homeserver.protocol.identifiers import parse_user_id
from homeserver.rooms.services import RoomServices
from homeserver.storage.appservices import AppserviceStore
from homeserver.storage.database import Database
from homeserver.stream import Stream
from homeserver.users.services import UserServices

_log = logging.getLogger("homeserver.appservice_api")


class AskingNamespaces:
    """Implements `rooms.aliases.AliasNamespaces`: names that services keep, and asking them to make rooms or users."""

    def __init__(self, registry: Registry, client: AppserviceCalls, exists: Callable[[str], Awaitable[bool]]) -> None:
        self._registry = registry
        self._client = client
        self._exists = exists

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

    async def ask_for_user(self, invite: InviteToCheck) -> None:
        """A hook: an invite is about to reach somebody whom a service may want to make first.

        "The homeserver will send this request when it receives an event for an unknown user ID in the application
        service's namespace, such as a room invite." The invite is made whatever the service says.
        """
        if not invite.room_id:
            return  # asked when the room is there
        for appservice in self._registry.appservices:
            if appservice.url is None or not appservice.users.matches(invite.target):
                continue
            if await self._exists(invite.target):
                return
            if (await self._client.ask_user(appservice, invite.target)).status == 200:
                return


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
