"""Events of other servers at the door: form, signatures, hashes. The one place where they are made from what was sent
(B05), whatever endpoint brought them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from federation.keyring import Keyring
from homeserver.protocol.errors import BadJson, MatrixError
from homeserver.protocol.event_format import parse_signed_event
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of, is_server_name
from homeserver.protocol.room_versions import RoomVersion

KEYS_AT_ONCE: Final = 50
CHECKED_AT_ONCE: Final = 100


class _Signed(msgspec.Struct):
    """Who sent an event, and with which keys it is signed. Only the sender's server is believed to have to do with it:
    else whoever tells of an event would make us ask any number of servers for their keys."""

    sender: str = ""
    signatures: dict[str, dict[str, msgspec.Raw]] = {}


_read_signatures = msgspec.json.Decoder(_Signed).decode
_log = logging.getLogger("federation.events")


class EventChecks:
    """The first three of the "checks performed on receipt of a PDU"."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def check(self, pdu: Any, version: RoomVersion, room_id: str) -> Event:
        """The event of a PDU. Raises MatrixError when it is none, of another room, or not signed as it must be.

        1. "Is a valid event, otherwise it is dropped." 2. "Passes signature checks, otherwise it is dropped."
        3. "Passes hash checks, otherwise it is redacted before being processed further."
        """
        event, reference = parse_signed_event(pdu, version)
        if event.room_id != room_id:
            raise BadJson("The event is of another room")
        if "\0" in event.type or "\0" in (event.state_key or "") or "\0" in event.sender:
            raise BadJson("The event has U+0000 in a name, which cannot be kept")
        await self._keyring.check_event(event, reference)
        return event

    async def prepare_keys(self, pdus: Iterable[msgspec.Raw]) -> list[str]:
        """Fetch the keys that many events are signed with, each server's once and some servers at a time; the servers
        that have none."""
        signed: dict[str, set[str]] = {}
        for index, raw in enumerate(pdus):
            try:
                said = _read_signatures(raw)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            name = domain_of(said.sender)
            signed.setdefault(name, set()).update(list(said.signatures.get(name, ()))[:10])
            if index % 500 == 0:
                await asyncio.sleep(0)
        return await self._prepare(signed)

    async def _prepare(self, signed: dict[str, set[str]]) -> list[str]:
        """`signed`: by server, the ids of the keys."""
        turns = asyncio.Semaphore(KEYS_AT_ONCE)
        without: list[str] = []

        async def fetch(name: str, key_ids: set[str]) -> None:
            async with turns:
                if not await self._keyring.prepare(name, key_ids):
                    without.append(name)

        await asyncio.gather(*(fetch(name, key_ids) for name, key_ids in signed.items() if is_server_name(name)))
        return without

    async def check_all(self, pdus: Iterable[Any], version: RoomVersion, room_id: str) -> list[Event]:
        """Those of the PDUs that pass; each falls by itself (A20). Of many, others have their turn now and then."""
        waiting = list(pdus)
        if len(waiting) > CHECKED_AT_ONCE:
            await self._prepare(_signers(waiting))
        answers: list[Event | BaseException] = []
        for start in range(0, len(waiting), CHECKED_AT_ONCE):
            part = waiting[start : start + CHECKED_AT_ONCE]
            answers += await asyncio.gather(
                *(self.check(pdu, version, room_id) for pdu in part), return_exceptions=True
            )
            await asyncio.sleep(0)
        found: list[Event] = []
        for answer in answers:
            if isinstance(answer, Event):
                found.append(answer)
            elif isinstance(answer, MatrixError):
                _log.debug("An event of %s is dropped: %s", room_id, answer)
            else:
                raise answer
        return found


def _signers(pdus: Iterable[Any]) -> dict[str, set[str]]:
    """The servers of the senders, with the keys by which they signed, as the events say."""
    found: dict[str, set[str]] = {}
    for pdu in pdus:
        sender, signatures = (pdu.get("sender"), pdu.get("signatures")) if isinstance(pdu, dict) else (None, None)
        name = domain_of(sender) if isinstance(sender, str) else ""
        by_key = signatures.get(name) if isinstance(signatures, dict) else None
        if isinstance(by_key, dict):
            found.setdefault(name, set()).update(key for key in list(by_key)[:10] if isinstance(key, str))
    return found


def in_order(events: Sequence[Event]) -> list[Event]:
    """Events such that what another one of them follows comes first; by depth as far as that leaves it open."""
    by_id = {event.event_id: event for event in events}
    ordered: list[Event] = []
    done: set[str] = set()
    for root in sorted(by_id.values(), key=lambda event: (event.depth, event.origin_server_ts, event.event_id)):
        path = [root]
        while path:
            event = path[-1]
            before = next((one for one in event.prev_events if one in by_id and one not in done), None)
            if event.event_id in done or before is None or len(path) > len(by_id):
                path.pop()
                if event.event_id not in done:
                    done.add(event.event_id)
                    ordered.append(event)
            else:
                path.append(by_id[before])
    return ordered
