"""Fetches the rest of a room that was joined with a part of its state: the members, mostly.

One task a room, a few at a time. The server that let us in is asked for the state before the join, then the others in
the room; who does not know our join is told of it. All that comes is checked as in any join and kept, so that a restart
does not begin anew; then the room is made whole (`homeserver/rooms/partial_state.py`), and what could not be judged
until then is received at last. It goes on until it is done, or until nobody of ours is left in the room.

Spec: Server-Server API, "Joining Rooms" (`omit_members`), "Retrieving room state"; MSC3902.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from federation.backfill import Backfill
from federation.client import STATE_BYTES, FederationClient, RemoteFailed, RemoteRefused, RemoteUnreachable, encoded
from federation.events import EventChecks
from federation.missing_events import MissingEvents
from federation.sender import FederationSender
from homeserver.clock import Clock
from homeserver.metrics import Metrics
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.branches import UnknownEvents
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.storage.partial_state import PartialState
from homeserver.storage.rooms import StateKey

AT_ONCE: Final = 4
"""So many rooms are completed at a time."""
CHECKED_AT_ONCE: Final = 10
"""After so many events, others have their turn."""
SERVERS_A_ROUND: Final = 10
UNATTACHED_MAX: Final = 20
"""The state before so many events of a room is asked for; for others, what is known is taken for it."""
TELLERS_MAX: Final = 5
GUESS_AFTER: Final = 4
"""After so many rounds that nobody has told such a state in, what is known is taken for it."""
STATE_SECONDS: Final = 600.0
PAUSE_SECONDS: Final = 2.0
PAUSE_MAX_SECONDS: Final = 600.0
TELL_SECONDS: Final = 10.0

_log = logging.getLogger("federation.partial_state")


class _State(msgspec.Struct):
    """The answer to `/state`, its events not yet decoded: of a big room that takes long."""

    pdus: list[msgspec.Raw] = []
    auth_chain: list[msgspec.Raw] = []


_decode_state = msgspec.json.Decoder(_State).decode


@dataclass(slots=True)
class CompletionCounts:
    """For the metrics."""

    completed: int = 0
    failed: int = 0
    events: int = 0
    otherwise: int = 0
    seconds: float = 0.0


class Progress:
    """Tells the log how far one room is, every few seconds."""

    def __init__(self, room_id: str, clock: Clock, counts: CompletionCounts) -> None:
        self._room_id = room_id
        self._clock = clock
        self._counts = counts
        self._told = clock.monotonic()
        self._step = ""
        self._done = self._all = 0

    def begin(self, step: str, number: int) -> None:
        """From now on `number` events are `step`."""
        self._step, self._done, self._all = step, 0, number

    def more(self, number: int) -> None:
        """So many more."""
        self._done += number
        now = self._clock.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            _log.info("%s: %d of %d events of its state are %s", self._room_id, self._done, self._all, self._step)


class StateCompletion:
    """The tasks."""

    def __init__(
        self,
        *,
        client: FederationClient,
        checks: EventChecks,
        missing: MissingEvents,
        sender: FederationSender,
        backfill: Backfill,
        rooms: RoomServices,
        clock: Clock,
        own_name: str,
    ) -> None:
        self._client = client
        self._checks = checks
        self._missing = missing
        self._sender = sender
        self._backfill = backfill
        self._rooms = rooms
        self._clock = clock
        self._own_name = own_name
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Event] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.grace_seconds = 0.0
        """So long after a join the user's own first requests have the server for themselves."""
        self.counts = CompletionCounts()

    async def start(self) -> None:
        """Go on where the last run ended; `PartialRooms` is loaded."""
        for partial in self._rooms.live.partial.list_partial():
            self._rooms.live.forget(partial.room_id)
            self.begin(partial.room_id)
        for room_id in await self._rooms.partial_states.store.list_rooms_with_waiting():
            self.begin(room_id)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add_metrics(self, metrics: Metrics) -> None:
        counts, name = self.counts, "halfdoor_partial_state"
        partial = self._rooms.live.partial
        metrics.add_gauge(f"{name}_rooms", "Rooms whose members are on their way", lambda: len(partial))
        metrics.add_counter(f"{name}_completed", "Rooms that were made whole", lambda: counts.completed)
        metrics.add_counter(f"{name}_seconds", "Time from their joins until they were whole", lambda: counts.seconds)
        metrics.add_counter(f"{name}_failed", "Servers that did not tell the state of a room", lambda: counts.failed)
        metrics.add_counter(f"{name}_events", "Events of states that were checked", lambda: counts.events)
        metrics.add_counter(f"{name}_corrected", "Events that were judged otherwise later", lambda: counts.otherwise)

    def begin(self, room_id: str) -> None:
        """Complete a room that was just joined, or was being completed before."""
        woken = self._woken.get(room_id)
        if woken is not None:
            woken.set()
            return
        self._woken[room_id] = asyncio.Event()
        task = self._tasks[room_id] = asyncio.create_task(self._run(room_id), name=f"state of {room_id}")
        task.add_done_callback(lambda _: self._ended(room_id))

    def _ended(self, room_id: str) -> None:
        self._tasks.pop(room_id, None)
        self._woken.pop(room_id, None)

    # ---- one room

    async def _run(self, room_id: str) -> None:
        pause, attempt = PAUSE_SECONDS, 0
        if self.grace_seconds:
            await self._clock.sleep(self.grace_seconds)
        while True:
            self._woken[room_id].clear()
            try:
                async with self._turns:
                    if await self._try_servers(room_id, attempt):
                        return
            except Exception:
                _log.exception("%s could not be completed; it is tried again", room_id)
            attempt += 1
            _log.info("%s: nobody has told the whole state yet; it is tried again in %d s", room_id, pause)
            await self._sleep(room_id, pause)
            pause = min(pause * 2, PAUSE_MAX_SECONDS)

    async def _sleep(self, room_id: str, seconds: float) -> None:
        waiting = {
            asyncio.ensure_future(self._woken[room_id].wait()),
            asyncio.ensure_future(self._clock.sleep(seconds)),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    async def _try_servers(self, room_id: str, attempt: int) -> bool:
        """Whether there is nothing more to do for the room."""
        tried: set[str] = set()
        while True:
            room = await self._rooms.live.find(room_id)
            if room is None or self._own_name not in room.servers:
                _log.info("%s: nobody here is in the room any more", room_id)
                partial = self._rooms.live.partial.find(room_id)
                if partial is not None:
                    await self._rooms.partial_states.abandon(partial)
                return True
            if room.partial is None:
                await self._receive_waiting(room)
                return True
            server = next((one for one in self._servers(room, room.partial, attempt) if one not in tried), None)
            if server is None:
                return False
            tried.add(server)
            try:
                await self._complete(server, room, room.partial, attempt, is_first=attempt == 0 and len(tried) == 1)
            except (MatrixError, UnknownEvents) as error:
                self.counts.failed += 1
                _log.info("%s: %s does not tell the state: %s", room_id, server, error)

    def _servers(self, room: LiveRoom, partial: PartialState, attempt: int) -> list[str]:
        """Whom to ask in this round: who let us in, then some of the others, later some more."""
        others = [name for name in room.servers_to_ask() if name not in (self._own_name, partial.resident)]
        start = attempt * SERVERS_A_ROUND % max(len(others), 1)
        return [partial.resident, *(others[start:] + others[:start])[:SERVERS_A_ROUND]]

    async def _complete(
        self, server: str, room: LiveRoom, partial: PartialState, attempt: int, *, is_first: bool
    ) -> None:
        begun = self._clock.monotonic()
        _log.info("%s: asking %s for its members", room.room_id, server)
        progress = Progress(room.room_id, self._clock, self.counts)
        answer = await self._ask(server, room, partial)
        progress.begin("checked", len(answer.pdus) + len(answer.auth_chain))
        without_keys = await self._checks.prepare_keys([*answer.pdus, *answer.auth_chain])
        if without_keys:
            _log.info("%s: the members of %d servers without keys are left out", room.room_id, len(without_keys))
        chain = await self._checked(room, answer.auth_chain, progress, look_first=not is_first)
        state = await self._checked(room, answer.pdus, progress, look_first=not is_first)
        progress.begin("kept", len(state) + len(chain))
        told = await self._rooms.room_import.keep_state(room, state, chain, progress.more)
        before = await self._states_before(room, partial, may_guess=attempt >= GUESS_AFTER)
        done = await self._rooms.partial_states.complete(room.room_id, partial.join_event_id, told, before)
        self.counts.completed += 1
        self.counts.otherwise += done.otherwise
        seconds = (self._clock.now_ms() - partial.begun_ms) / 1000
        self.counts.seconds += seconds
        _log.info(
            "%s is whole %.1f s after the join: %d entries of state from %s in %.1f s; %d events were judged again, %d"
            " of them otherwise",
            room.room_id,
            seconds,
            done.state,
            server,
            self._clock.monotonic() - begun,
            done.judged,
            done.otherwise,
        )
        await self._tell_others(partial)
        try:
            await self._backfill.judge_again(room.room_id, server)
        except MatrixError as error:
            _log.info("%s: the states before its history cannot be had: %s", room.room_id, error)

    async def _ask(self, server: str, room: LiveRoom, partial: PartialState) -> _State:
        """The state before our join."""
        path = encoded("/_matrix/federation/v1/state/{}", room.room_id)
        query = {"event_id": partial.join_event_id}
        try:
            answer = await self._client.get(
                server, path, query, timeout=STATE_SECONDS, max_bytes=STATE_BYTES, decode=_decode_state
            )
        except RemoteRefused as refusal:
            if refusal.status in (403, 404) and server != partial.resident:
                await self._tell_join(server, room, partial)
            raise
        assert isinstance(answer, _State)
        return answer

    async def _tell_join(self, server: str, room: LiveRoom, partial: PartialState) -> None:
        """The server does not know of our join, perhaps since who let us in is gone. So that it does the next time."""
        found = await self._rooms.events.find_events(room.room_id, room.version, [partial.join_event_id])
        body = {
            "origin": self._own_name,
            "origin_server_ts": self._clock.now_ms(),
            "pdus": [stored.event.pdu for stored in found],
            "edus": [],
        }
        path = encoded("/_matrix/federation/v1/send/{}", f"join{self._clock.now_ms()}")
        try:
            await self._client.request(server, "PUT", path, body=body)
        except RemoteFailed as error:
            _log.info("%s cannot be told of our join: %s", server, error)

    async def _checked(
        self, room: LiveRoom, raws: Sequence[msgspec.Raw], progress: Progress, *, look_first: bool
    ) -> list[Event]:
        """Those that pass their checks. `look_first`: some may be here already, from an earlier attempt."""
        found: list[Event] = []
        for start in range(0, len(raws), CHECKED_AT_ONCE):
            part = raws[start : start + CHECKED_AT_ONCE]
            pdus: list[Any] = [msgspec.json.decode(raw) for raw in part]
            if look_first:
                kept, pdus = await self._known(room, pdus)
                found += kept
            found += await self._checks.check_all(pdus, room.version, room.room_id)
            self.counts.events += len(part)
            progress.more(len(part))
            await asyncio.sleep(0)
        return found

    async def _known(self, room: LiveRoom, pdus: Sequence[Any]) -> tuple[list[Event], list[Any]]:
        """(the events that are here already, the others)."""
        ids: list[str | None] = []
        for pdu in pdus:
            try:
                pdu.pop("unsigned", None)
                ids.append(Event(pdu, room.version).event_id)
            except Exception:  # it need not be an event at all; then its checks will say so
                ids.append(None)
        wanted = [one for one in ids if one is not None]
        stored = await self._rooms.events.find_events(room.room_id, room.version, wanted)
        here = {one.event_id: one.event for one in stored}
        new = [pdu for pdu, event_id in zip(pdus, ids, strict=True) if event_id not in here]
        return list(here.values()), new

    async def _states_before(
        self, room: LiveRoom, partial: PartialState, *, may_guess: bool
    ) -> dict[str, Mapping[StateKey, str]]:
        """The states before events whose predecessors cannot be had, as their senders tell them, or others. Raises
        RemoteUnreachable when nobody does, unless what is known may be taken for it."""
        states: dict[str, Mapping[StateKey, str]] = {}
        unattached = await self._rooms.partial_states.list_unattached(room, partial)
        for event in unattached[:UNATTACHED_MAX]:
            asked = dict.fromkeys((domain_of(event.sender), partial.resident, *room.servers_to_ask()))
            for server in [name for name in asked if name != self._own_name][:TELLERS_MAX]:
                try:
                    states[event.event_id] = await self._missing.state_before(server, room, event)
                    break
                except (MatrixError, UnknownEvents) as error:
                    _log.info("%s does not tell the state before %s: %s", server, event.event_id, error)
            else:
                if not may_guess:
                    raise RemoteUnreachable(f"nobody tells the state before {event.event_id}")
        return states

    async def _tell_others(self, partial: PartialState) -> None:
        """Servers in the room that we were not told of have missed what we sent."""
        room = await self._rooms.live.find(partial.room_id)
        if room is not None:
            self._sender.catch_up(room.server_names - partial.servers - {self._own_name}, partial.base)

    async def _receive_waiting(self, room: LiveRoom) -> None:
        """Events that could not be judged by a part of the state."""
        store = self._rooms.partial_states.store
        for event_id in await store.list_waiting(room.room_id):
            for stored in await self._rooms.events.find_events(room.room_id, room.version, [event_id]):
                try:
                    await self._missing.receive(domain_of(stored.event.sender), stored.event)
                except (MatrixError, UnknownEvents) as error:
                    _log.info("%s that waited in %s is left out: %s", event_id, room.room_id, error)
            await self._rooms.partial_states.forget_waiting(room.room_id, event_id)
