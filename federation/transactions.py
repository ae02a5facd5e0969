"""Transactions of other servers: up to fifty events and a hundred EDUs at a time.

The handler fails for nothing that stands in a transaction (A15): each event falls by itself, and what became of it is
in the answer. It fails only when the database does, so that the transaction comes again. One that comes again gets the
answer it got; one origin has one transaction under way at a time (B26).

Spec: Server-Server API, "Transactions", "PDUs", "EDUs".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from federation.client import is_for_now
from federation.events import EventChecks
from federation.joins_under_way import JoinsUnderWay
from federation.missing_events import MissingEvents
from homeserver.clock import Clock
from homeserver.protocol.errors import BadJson, Forbidden, MatrixError, NotInRoom, Unavailable
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.protocol.server_acl import ServerAcl
from homeserver.rooms.branches import UnknownEvents
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.receiving import Known, Rejected
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import DestinationStore
from homeserver.storage.events import REJECTED

PDUS_MAX: Final = 50
EDUS_MAX: Final = 100
ANSWERS_KEPT_MS: Final = 24 * 3600 * 1000
TRIES_MAX: Final = 8
TRIES_KEPT: Final = 10_000

NAMES: Final = ("room_id", "event_id", "sender", "type", "state_key")

EduHandler = Callable[[str, Any], Awaitable[None]]
"""Takes the origin and the content of an EDU. Whatever it raises as MatrixError drops the EDU."""

_log = logging.getLogger("federation.transactions")


class Transactions:
    """Takes them."""

    def __init__(
        self,
        *,
        db: Database,
        store: DestinationStore,
        clock: Clock,
        rooms: RoomServices,
        checks: EventChecks,
        missing: MissingEvents,
        under_way: JoinsUnderWay,
        take_removal: Callable[[str, Any], Awaitable[bool]],
        own_name: str,
        edus: Mapping[str, EduHandler],
    ) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self._rooms = rooms
        self._checks = checks
        self._missing = missing
        self._under_way = under_way
        self._take_removal = take_removal
        self._own_name = own_name
        self._edus = edus
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._swept = 0
        self._tries: dict[str, int] = {}

    async def receive(self, origin: str, txn_id: str, body: Any) -> dict[str, Any]:
        """The answer to a transaction. Raises BadJson when it is none, or too big; Unavailable when it is to be sent
        again, since the database, or the network, could not take all of it."""
        if not isinstance(body, dict):
            raise BadJson("A transaction is a JSON object")
        pdus, edus = body.get("pdus", []), body.get("edus", [])
        if not isinstance(pdus, list) or not isinstance(edus, list):
            raise BadJson("A transaction has lists of pdus and edus")
        if len(pdus) > PDUS_MAX or len(edus) > EDUS_MAX:
            raise BadJson(f"A transaction has at most {PDUS_MAX} pdus and {EDUS_MAX} edus")
        lock = self._locks.setdefault(origin, asyncio.Lock())
        self._waiting[origin] = self._waiting.get(origin, 0) + 1
        try:
            async with lock:
                known = await self._store.find_answer(origin, txn_id)
                if known is not None:
                    answer: dict[str, Any] = msgspec.json.decode(known)
                    return answer
                late: list[MatrixError] = []
                answer = {"pdus": await self._receive_pdus(origin, pdus, late)}
                for edu in edus:
                    await self._receive_edu(origin, edu, late)
                if late:
                    raise late[0]
                await self._keep_answer(origin, txn_id, answer)
                return answer
        finally:
            self._waiting[origin] -= 1
            if not self._waiting[origin]:
                del self._waiting[origin], self._locks[origin]

    async def _keep_answer(self, origin: str, txn_id: str, answer: dict[str, Any]) -> None:
        now = self._clock.now_ms()
        sweep = now - self._swept > ANSWERS_KEPT_MS // 24

        async def job(txn: Transaction) -> None:
            self._store.add_answer(txn, origin, txn_id, msgspec.json.encode(answer).decode(), now)
            if sweep:
                await self._store.remove_answers(txn, now - ANSWERS_KEPT_MS)

        await self._db.write(job)
        if sweep:
            self._swept = now

    # ---- events

    async def _receive_pdus(self, origin: str, pdus: list[Any], late: list[MatrixError]) -> dict[str, dict[str, Any]]:
        outcomes: dict[str, dict[str, Any]] = {}
        checked = await asyncio.gather(*(self._check(origin, pdu) for pdu in pdus), return_exceptions=True)
        by_room: dict[str, list[Event]] = {}
        for pdu, one in zip(pdus, checked, strict=True):
            if isinstance(one, Event):
                by_room.setdefault(one.room_id, []).append(one)
            elif one is None or isinstance(one, Exception):
                name = _claimed_id(pdu)
                outcome = {} if one is None else self._dropped(origin, name or "", one, late)
                if name is not None:
                    outcomes[name] = outcome
            else:
                raise one
        for events in by_room.values():
            for event, outcome in zip(events, await self._receive_events(origin, events, late), strict=True):
                outcomes[event.event_id] = outcome
        return outcomes

    async def _check(self, origin: str, pdu: Any) -> Event | None:
        """The event, to be received; None when all that it says has been done."""
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        if not isinstance(room_id, str):
            raise BadJson("The event names no room")  # a v12 create event comes with a join, never alone
        if any("\0" in name for name in map(pdu.get, NAMES) if isinstance(name, str)):
            raise BadJson("The event has U+0000 in a name, which cannot even be looked for")
        room = await self._rooms.live.find(room_id)
        if (room is None or not takes_part(room, self._own_name)) and await self._under_way.has_ended(room_id):
            room = await self._rooms.live.find(room_id)
        if room is None or not takes_part(room, self._own_name):
            if await self._take_removal(origin, pdu):
                return None
            raise NotInRoom()
        if not acl_of(room).allows(origin):
            raise Forbidden("The room's access control list denies this server")
        event = await self._checks.check(pdu, room.version, room_id)
        if not acl_of(room).allows(domain_of(event.sender)):
            raise Forbidden("The room's access control list denies the sender's server")
        return event

    async def _receive_events(self, origin: str, events: list[Event], late: list[MatrixError]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        for event, outcome in zip(events, await self._rooms.receiver.receive_all(events), strict=True):
            if isinstance(outcome, UnknownEvents):
                try:
                    outcome = await self._missing.receive(origin, event)
                except Exception as error:  # whatever it is, the others of the transaction are not touched (A15)
                    outcome = error
            if isinstance(outcome, Rejected):
                answers.append({"error": outcome.reason[:500]})
            elif isinstance(outcome, Known) and outcome.status == REJECTED:
                answers.append({"error": "The event was rejected before"})
            elif isinstance(outcome, Exception):
                answers.append(self._dropped(origin, event.event_id, outcome, late))
            else:
                answers.append({})
        return answers

    def _dropped(self, origin: str, event_id: str, error: Exception, late: list[MatrixError]) -> dict[str, Any]:
        """What the origin is told of an event that fell. What could not be written is to be sent again; so is, a few
        times, what stands on events that the origin itself could not be asked for just now."""
        if isinstance(error, Unavailable):
            late.append(error)
        elif is_for_now(error):
            tries = self._tries.pop(event_id, 0) + 1
            if tries < TRIES_MAX:
                late.append(Unavailable("What an event stands on cannot be had just now"))
                if len(self._tries) >= TRIES_KEPT:
                    self._tries.pop(next(iter(self._tries)))
                self._tries[event_id] = tries
        return {"error": _said(origin, error)}

    # ---- EDUs

    async def _receive_edu(self, origin: str, edu: Any, late: list[MatrixError]) -> None:
        edu_type = edu.get("edu_type") if isinstance(edu, dict) else None
        handler = self._edus.get(edu_type) if isinstance(edu_type, str) else None
        if handler is None:
            return
        try:
            await handler(origin, edu.get("content"))
        except Unavailable as error:
            late.append(error)
        except MatrixError as error:
            _log.debug("An EDU %s of %s is dropped: %s", edu_type, origin, error)
        except Exception:
            _log.exception("An EDU %s of %s could not be taken", edu_type, origin)


def takes_part(room: LiveRoom, server_name: str) -> bool:
    """Whether anybody of a server is in the room (A13)."""
    return room.has_server(server_name)


def servers_to_ask(room: LiveRoom, own_name: str) -> list[str]:
    """The other servers in the room that its access control list allows, in the order in which to ask them."""
    return [name for name in room.servers_to_ask() if name != own_name and acl_of(room).allows(name)]


_acls: dict[str, tuple[str, ServerAcl]] = {}
ACLS_KEPT: Final = 1_000


def acl_of(room: LiveRoom) -> ServerAcl:
    """The room's access control list, compiled once for each of its events."""
    stored = room.state_event("m.room.server_acl")
    event_id = "" if stored is None else stored.event_id
    kept = _acls.get(room.room_id)
    if kept is None or kept[0] != event_id:
        if len(_acls) >= ACLS_KEPT:
            _acls.pop(next(iter(_acls)))
        kept = _acls[room.room_id] = (event_id, ServerAcl(None if stored is None else stored.event.content))
    return kept[1]


def _claimed_id(pdu: Any) -> str | None:
    """What the answer calls an event that was dropped: its id as its sender would compute it, if that can be had."""
    if not isinstance(pdu, dict):
        return None
    if isinstance(pdu.get("event_id"), str):
        found: str = pdu["event_id"][:255]
        return found
    try:
        return Event({key: value for key, value in pdu.items() if key != "unsigned"}, ROOM_VERSIONS["11"]).event_id
    except Exception:  # it need not be an event at all
        return None


def _said(origin: str, error: Exception) -> str:
    """Why an event fell. Whatever is no fault of the event is one of ours, and goes into the log."""
    if isinstance(error, MatrixError):
        return error.message[:500]
    if not isinstance(error, UnknownEvents):
        _log.error("An event of %s could not be received", origin, exc_info=error)
        return "The event could not be received"
    return "What the event stands on is not known"
