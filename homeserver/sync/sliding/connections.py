"""What each sliding sync connection was sent, so that an answer holds what is new and nothing is lost.

Theory of operation. A `pos` names an answer: its number, and the place in the stream that it tells of. The server knows
what the client has by the `pos` that it comes back with. `confirmed` is that: whatever the client is known to have.
`pending` is what the newest answer adds to it, of which nobody knows whether it arrived. Comes the client with the
pending number, the two are put together; comes it with the confirmed one again, the answer was lost, what it added
never was, and the same is told again. Any other number is not known (`M_UNKNOWN_POS`).

An answer that adds nothing but a later place writes nothing: the place is in the `pos`. What is added is stored before
the answer goes out, as a row of its own, and now and then as a whole. Members that were sent lazily are in memory only;
after a restart a client may be sent some again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from homeserver.clock import Clock
from homeserver.protocol.errors import UnknownPos
from homeserver.rooms.tokens import StreamToken
from homeserver.storage.database import Database, Transaction
from homeserver.storage.sliding_sync import ConnectionKey, SlidingSyncStore, StoredPosition
from homeserver.sync.sliding.required_state import RequiredState

LIVE: Final = -1
"""As a place: as new as the `pos` that the client comes with."""
GLOBAL: Final = ""
"""Among the rooms whose account data was sent: what belongs to no room."""
WHOLE_TIMELINE: Final = 1_000_000
"""As a number of events: all there are."""

OF_DEVICE: Final = 16
IDLE_MS: Final = 30 * 24 * 3_600_000
TOUCH_MS: Final = 24 * 3_600_000
IN_MEMORY: Final = 400_000
"""Rooms and members of all connections together; those that were used last stay, the others are read again."""
ROWS: Final = 40
ROW_BYTES: Final = 100_000
"""After so many rows, or so many bytes of them (and more than the last whole has), the next is a whole."""
MEMBERS: Final = 10_000

_FORM = re.compile(r"s(\d{1,18})_(\d{1,18})_(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class SentRoom:
    """What the client has of a room: all up to `place`, the newest `events` of its timeline, the `state` it asked for,
    and whether it was told that this is a conversation with somebody (`is_direct`)."""

    place: int
    events: int
    state: RequiredState
    is_direct: bool = False


@dataclass(slots=True)
class Sent:
    """What was sent, in all or by one answer. `account_data` and `receipts`: places by room. A room without a value
    is to be forgotten. `members`: the lazily loaded member events by room and user; of the rooms that are `flushed`,
    those of before do not count any more."""

    rooms: dict[str, SentRoom | None] = field(default_factory=dict)
    account_data: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, int] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    flushed: set[str] = field(default_factory=set)
    member_count: int = 0

    @property
    def weight(self) -> int:
        """Roughly how much there is to remember."""
        return len(self.rooms) + self.member_count + 10

    @property
    def is_stored(self) -> bool:
        """Whether there is anything that a restart must not lose."""
        return bool(self.rooms or self.account_data or self.receipts)

    def room(self, room_id: str) -> SentRoom | None:
        return self.rooms.get(room_id)

    def add(self, later: Sent) -> None:
        """What a later answer added."""
        for room_id, sent in later.rooms.items():
            if sent is None:
                self.rooms.pop(room_id, None)
            else:
                self.rooms[room_id] = sent
        self.account_data.update(later.account_data)
        self.receipts.update(later.receipts)
        for room_id in later.flushed:
            self.member_count -= len(self.members.pop(room_id, ()))
        for room_id, members in later.members.items():
            known = self.members.setdefault(room_id, {})
            self.member_count -= len(known)
            known.update(members)
            if len(known) > MEMBERS:
                known.clear()
            self.member_count += len(known)


@dataclass(slots=True)
class Connection:
    """One connection. `turn` counts requests, so that one that waits sees that another has come after it."""

    key: ConnectionKey
    number: int
    confirmed: Sent = field(default_factory=Sent)
    pending: Sent | None = None
    pending_number: int = 0
    rows: int = 0
    whole_bytes: int = 0
    added_bytes: int = 0
    has_stray_row: bool = False
    used_ms: int = 0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A `pos`."""

    stream: StreamToken
    number: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises UnknownPos."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise UnknownPos("This position is not one of this server's; begin anew.")
        return cls(StreamToken(int(found[1]), int(found[2])), int(found[3]))

    def __str__(self) -> str:
        return f"{self.stream}_{self.number}"


class Connections:
    """All connections, those in use in memory."""

    def __init__(self, db: Database, store: SlidingSyncStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self._known: OrderedDict[ConnectionKey, Connection] = OrderedDict()
        self._number = 0
        self.begun = 0
        self.unknown = 0

    def begin(self, key: ConnectionKey) -> Connection:
        """A connection that the client begins, whatever there was of this name."""
        self.begun += 1
        return Connection(key, 0)

    async def resume(self, key: ConnectionKey, place: Place) -> Connection:
        """The connection as the client has it that comes with a place. Raises UnknownPos."""
        connection = self._known.get(key)
        if connection is None:
            connection = await self._load(key, place)
            self._keep(connection)
        if place.number == connection.pending_number and connection.pending is not None:
            connection.confirmed.add(connection.pending)
            connection.number, connection.pending = place.number, None
            connection.has_stray_row = False
        elif place.number != connection.number:
            self.unknown += 1
            raise UnknownPos("This position is not the last one of its connection; begin anew.")
        self._known.move_to_end(key)
        return connection

    async def answer(self, connection: Connection, added: Sent, *, is_new: bool) -> int:
        """The number of an answer that adds `added`, when it is stored."""
        now = self._clock.now_ms()
        # Never one that the connection had before, not even if the clock was put back while the server was down.
        number = max(self._number + 1, now, connection.number + 1, connection.pending_number + 1)
        self._number = number
        touches = now - connection.used_ms > TOUCH_MS
        if is_new or added.is_stored or connection.has_stray_row or touches:
            await self._db.write(lambda txn: self._write(txn, connection, added, number, now, is_new))
        if number > connection.pending_number:
            connection.pending, connection.pending_number = added, number
        if is_new:
            connection.confirmed.add(added)
            connection.pending, connection.number = None, number
            self._keep(connection)
        return number

    async def _write(
        self, txn: Transaction, connection: Connection, added: Sent, number: int, now: int, is_new: bool
    ) -> None:
        key = connection.key
        rows, whole, more, stray = connection.rows, connection.whole_bytes, connection.added_bytes, False
        if is_new:
            await self._store.remove_positions(txn, key)
            whole, more, rows = await self._add(txn, key, number, added, is_whole=True), 0, 1
        else:
            await self._store.remove_positions(txn, key, after=connection.number)  # of an answer that was lost
            if rows >= ROWS or more > max(ROW_BYTES, whole):
                await self._store.remove_positions(txn, key, up_to=connection.number)
                whole = await self._add(txn, key, connection.number, connection.confirmed, is_whole=True)
                more, rows = 0, 1
            if added.is_stored:
                more += await self._add(txn, key, number, added, is_whole=False)
                rows, stray = rows + 1, True
        touches = is_new or now - connection.used_ms > TOUCH_MS
        if touches:
            await self._store.set_used(txn, key, now)
        gone = await self._tidy(txn, key, now) if is_new else []

        def committed() -> None:
            connection.rows, connection.has_stray_row = rows, stray
            connection.whole_bytes, connection.added_bytes = whole, more
            if touches:
                connection.used_ms = now
            for each in gone:
                self._known.pop(each, None)

        txn.on_commit(committed)

    async def _add(self, txn: Transaction, key: ConnectionKey, number: int, sent: Sent, *, is_whole: bool) -> int:
        """Store a row; its length."""
        text = to_text(sent)
        await self._store.add_position(txn, key, StoredPosition(number, is_whole, text))
        return len(text)

    async def _tidy(self, txn: Transaction, key: ConnectionKey, now: int) -> list[ConnectionKey]:
        gone = await self._store.list_surplus(txn, key, OF_DEVICE)
        gone += await self._store.list_unused(txn, now - IDLE_MS, 100)
        for each in gone:
            await self._store.remove_connection(txn, each)
        return gone

    async def remove_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """A device goes (`UserHooks.device_removed`)."""
        await self._store.remove_device(txn, user_id, device_id)

        def forget() -> None:
            for key in [key for key in self._known if key.user_id == user_id and key.device_id == device_id]:
                del self._known[key]

        txn.on_commit(forget)

    def forget_all(self) -> None:
        """Another process may have answered."""
        self._known.clear()

    @property
    def in_memory(self) -> int:
        return len(self._known)

    def _keep(self, connection: Connection) -> None:
        self._known[connection.key] = connection
        self._known.move_to_end(connection.key)
        weight = sum(each.confirmed.weight for each in self._known.values())
        while weight > IN_MEMORY and len(self._known) > 1:
            weight -= self._known.popitem(last=False)[1].confirmed.weight

    async def _load(self, key: ConnectionKey, place: Place) -> Connection:
        rows = await self._store.list_positions(key)
        wholes = [index for index, row in enumerate(rows) if row.is_whole and row.number <= place.number]
        if not wholes:
            self.unknown += 1
            raise UnknownPos("This connection has expired; begin anew.")
        connection = Connection(key, place.number)
        used = [row for row in rows[wholes[-1] :] if row.number <= place.number]
        for row in used:
            connection.confirmed.add(from_text(row.content))
        connection.rows, connection.pending_number = len(used), rows[-1].number
        connection.whole_bytes = len(used[0].content)
        connection.added_bytes = sum(len(row.content) for row in used[1:])
        connection.has_stray_row = len(used) < len(rows) - wholes[-1]
        return connection


def to_text(sent: Sent) -> str:
    """JSON of what was sent, each `required_state` once."""
    states: dict[RequiredState, int] = {}
    rooms: dict[str, Any] = {}
    for room_id, one in sent.rooms.items():
        rooms[room_id] = one and [one.place, one.events, states.setdefault(one.state, len(states)), one.is_direct]
    body = {
        "states": [[sorted(pairs) for pairs in state.pairs] for state in states],
        "rooms": rooms,
        "account_data": sent.account_data,
        "receipts": sent.receipts,
    }
    return msgspec.json.encode(body).decode()


def from_text(text: str) -> Sent:
    """What `to_text` wrote."""
    body = msgspec.json.decode(text)
    states = [RequiredState(frozenset((t, k) for t, k in pairs) for pairs in state) for state in body["states"]]
    rooms: dict[str, SentRoom | None] = {
        room_id: None if one is None else SentRoom(one[0], one[1], states[one[2]], one[3])
        for room_id, one in body["rooms"].items()
    }
    return Sent(rooms, body["account_data"], body["receipts"])
