"""A bridge: one network, one homeserver, and between them the kit's queues. Built in order, on one screen."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Any

from bridges.kit.appservice import AppserviceListener, AppserviceResource
from bridges.kit.client import GaveUp, MatrixClient, NotReady, Refused
from bridges.kit.clock import Clock, SystemClock
from bridges.kit.ephemeral import Ephemeral
from bridges.kit.ghosts import Ghosts
from bridges.kit.incoming import SETUP_PAUSE, Incoming, txn_id
from bridges.kit.messages import Person, RemoteEvent
from bridges.kit.network import Network
from bridges.kit.outgoing import Outgoing
from bridges.kit.portals import Portals
from bridges.kit.reactor import installed_reactor
from bridges.kit.requests import Requests, TreqRequests
from bridges.kit.settings import BridgeSettings
from bridges.kit.store import Store, Transaction
from bridges.kit.web import listen, stop_listening

log = logging.getLogger(__name__)

REMEMBER_MS = 30 * 24 * 3600 * 1000


class Bridge:
    """What the author's network talks to, and what the homeserver talks to.

    `requests` and `clock` are given by tests; in production both are None and the installed Twisted reactor (which must
    run on asyncio) is used. `listen` False leaves the HTTP side to the caller, who serves `resource`.
    """

    def __init__(
        self,
        network: Network,
        settings: BridgeSettings,
        *,
        requests: Requests | None = None,
        clock: Clock | None = None,
        listen: bool = True,
    ) -> None:
        self.settings = settings
        self.network = network
        self.clock: Clock = clock or SystemClock()
        self.store = Store(settings.database)
        self._requests = requests or _wire(settings.homeserver_url)
        self.client = MatrixClient(self._requests, settings.as_token, self.clock)
        self.ghosts = Ghosts(settings, self.store, self.client)
        self.portals = Portals(settings, self.store, self.client, self.clock, network)
        parts = (self.store, self.client, self.ghosts, self.portals, network, self.clock)
        self.incoming = Incoming(*parts)
        self.outgoing = Outgoing(*parts)
        self.portals.adopted = self.outgoing.queues.wake
        self.ephemeral = Ephemeral(self.store, self.client, self.ghosts, self.portals, network)
        self.listener = AppserviceListener(settings.hs_token, self)
        self.resource = AppserviceResource(self.listener)
        self.port = settings.listen_port
        self._listens = listen
        self._listening: Any = None
        self._introduction: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the store, listen, connect the network and go on where the last run ended.

        The homeserver need not be there yet: the queues wait for it.
        """
        await self.store.open()
        await self.store.prune(self.clock.now_ms() - REMEMBER_MS)
        await self.network.start(self)
        if self._listens:
            self._listening = listen(self.resource, self.settings.listen_host, self.settings.listen_port)
            self.port = self._listening.getHost().port
        self._introduction = asyncio.get_running_loop().create_task(self._introduce())

    async def _introduce(self) -> None:
        while True:
            try:
                await self.ghosts.register_bot()
                break
            except (NotReady, Refused) as problem:
                log.error("the homeserver does not accept this bridge (is its registration installed?): %s", problem)
                await self.clock.sleep(SETUP_PAUSE)
        for direction in (self.incoming, self.outgoing):
            await direction.wake_all()
            direction.queues.begin()

    async def introduced(self) -> None:
        """Wait until the homeserver knows the bot and the queues work."""
        if self._introduction is not None:
            await asyncio.shield(self._introduction)

    async def stop(self) -> None:
        """Stop in good order; what is not finished goes on at the next start."""
        await stop_listening(self._listening)
        if self._introduction is not None:
            self._introduction.cancel()
            await asyncio.gather(self._introduction, return_exceptions=True)
        await self.network.stop()
        await self.incoming.queues.stop()
        await self.outgoing.queues.stop()
        await self._requests.close()
        await self.store.close()

    # What the network calls.

    async def receive(self, event: RemoteEvent, txn: Transaction | None = None) -> bool:
        """Something happened on the network. When this returns it is on disk; False: it was known already.

        With `txn` it is stored in that transaction of `store`, and `wake(chat)` has to be called after the commit.
        Raises TooLong.
        """
        return await self.incoming.add(event, txn)

    def wake(self, chat: str) -> None:
        self.incoming.queues.wake(chat)

    async def set_typing(self, chat: str, person: Person, typing: bool) -> None:
        """Somebody on the network types, or stopped. Does nothing before the chat has a room."""
        await self.ephemeral.send_typing(chat, person, typing)

    async def mark_read(self, chat: str, person: Person, remote_id: str) -> None:
        """Somebody on the network has read up to this message."""
        await self.ephemeral.send_receipt(chat, person, remote_id)

    async def invite(self, chat: str, user_id: str) -> bool:
        """Invite a Matrix user into the chat's room; False when that is impossible (or he is there already)."""
        room_id = await self.portals.find_room(chat)
        if room_id is None:
            return False
        try:
            await self.client.invite(room_id, user_id)
        except Refused as refused:
            log.info("%s was not invited: %s", user_id, refused)
            return False
        return True

    async def notice(self, chat: str, text: str, key: str) -> None:
        """The bot says something to the people in the room, once per `key`; it never goes to the network."""
        room_id = await self.portals.find_room(chat)
        if room_id is not None:
            content = {"msgtype": "m.notice", "body": text}
            await self.client.send(room_id, "m.room.message", content, txn_id("notice", chat, key))

    # What the homeserver calls, through the listener.

    async def take_transaction(
        self, transaction_id: str, events: list[dict[str, Any]], ephemeral: list[dict[str, Any]]
    ) -> None:
        if await self.outgoing.take(transaction_id, events):
            await self.ephemeral.receive(ephemeral)

    async def has_user(self, user_id: str) -> bool:
        return user_id == self.settings.bot_user_id or await self.ghosts.find_remote_id(user_id) is not None

    async def has_alias(self, alias: str) -> bool:
        """Rooms are made when the network asks for them, never because somebody guessed an alias."""
        return False

    async def ping(self) -> int:
        """Milliseconds the homeserver needed to reach us. Raises Refused or GaveUp when it cannot."""
        moment = hashlib.sha256(str(self.clock.now_ms()).encode()).hexdigest()[:16]
        try:
            return await self.client.ping(self.settings.id, moment)
        except GaveUp as error:
            raise GaveUp(f"the homeserver cannot reach this bridge: {error}") from error


def _wire(homeserver_url: str) -> Requests:
    return TreqRequests(homeserver_url, installed_reactor())
