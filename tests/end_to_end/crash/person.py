"""One account with one device: writes into rooms, runs errands, syncs all the time and keeps what it knew when."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from tests.end_to_end.crash.ledger import Ledger, Send
from tests.end_to_end.crash.view import View, applied, position_of
from tests.end_to_end.crash.wire import Line, Refused, Weather, room_path
from tests.support.server_process import Account

CLIENT = "/_matrix/client/v3"
PLACES_KEPT = 300
LIMITS = (3, 10, 100)
"""Timeline limits of incremental syncs; the small ones make gaps, which are filled through /messages."""
FILL = 1000
"""Events that are asked for at once to fill a gap; one that takes longer than the server lives is never filled."""
TWICE = 0.04
ABANDON = 0.15
NOTE = "test.note"


def sync_path(since: str, limit: int, timeout_ms: int = 0) -> str:
    """The request for what is new since a token; everything for the empty one."""
    wanted = {"room": {"timeline": {"limit": limit}}, "presence": {"not_types": ["*"]}}
    path = f"{CLIENT}/sync?set_presence=offline&timeout={timeout_ms}&filter={quote(json.dumps(wanted))}"
    return f"{path}&since={since}" if since else path


class Person:
    """`places`: views at tokens that were current once, some of each time. `runs`: by room, the ids that came through
    incremental syncs, one list for each time in the room."""

    def __init__(self, account: Account, weather: Weather, ledger: Ledger, chance: random.Random) -> None:
        self.user_id = account.user_id
        self.weather = weather
        self.ledger = ledger
        self.view = View()
        self.places: list[View] = []
        self.runs: dict[str, list[list[str]]] = {}
        self.inbox: list[str] = []
        self.stopping = False
        self._token = account.access_token
        self._chance = chance
        self._lines: list[Line] = []

    def line(self, *, waits: bool = True) -> Line:
        """A new connection of this device."""
        line = Line(self.weather, self._token, waits=waits)
        self._lines.append(line)
        return line

    def close(self) -> None:
        for line in self._lines:
            line.close()

    async def keep_at_it(self, errand: Callable[[Line], Awaitable[None]], pause_seconds: float) -> None:
        """Do an errand again and again, with pauses of that length on average, until `stopping`."""
        line = self.line()
        while not self.stopping:
            await asyncio.sleep(self._chance.expovariate(1 / pause_seconds))
            try:
                await errand(line)
            except Refused as error:
                self.weather.problem(f"{self.user_id} was refused: {error}")
                await asyncio.sleep(0.2)

    async def until_answered(self, line: Line, method: str, path: str, body: Any, **how: Any) -> Any:
        """Ask until there is an answer, as one does whose request may be repeated."""
        while (answer := await line.ask(method, path, body, **how)) is None:  # noqa: ASYNC110 - it is no wait
            await asyncio.sleep(0.01)
        return answer

    # ---- what people write

    async def say(self, line: Line, room_id: str) -> Send:
        """Send one message; without an answer send it again with its transaction id, or give it up for good."""
        send = self.ledger.new_send(self.user_id, room_id)
        path = room_path(room_id, "send", "m.room.message", send.key)
        body = {"msgtype": "m.text", "body": send.key}
        while True:
            send.tries += 1
            if self._chance.random() < TWICE:
                other = self.line()
                answers = await asyncio.gather(line.ask("PUT", path, body), other.ask("PUT", path, body))
                given = {answer["event_id"] for answer in answers if answer is not None}
                if len(given) > 1:
                    self.weather.problem(f"{send.key} was acknowledged as two events: {given}")
                other.close()
                self._lines.remove(other)
                answer = next((answer for answer in answers if answer is not None), None)
            else:
                answer = await line.ask("PUT", path, body)
            if answer is not None:
                send.event_id = answer["event_id"]
                return send
            if self._chance.random() < ABANDON:
                return send

    async def redact(self, line: Line, send: Send) -> None:
        """Redact an own message."""
        assert send.event_id is not None
        path = room_path(send.room_id, "redact", send.event_id, f"r{send.key}")
        answer = await self.until_answered(line, "PUT", path, {})
        self.ledger.redactions[send.event_id] = answer["event_id"]

    async def set_state(self, line: Line, room_id: str) -> None:
        """Set the room's state that is this user's own to the next number. Not repeated: it has no transaction id."""
        counted = self.ledger.state[room_id, self.user_id]
        counted.tried += 1
        path = room_path(room_id, "state", "test.counter", self.user_id)
        answer = await line.ask("PUT", path, {"number": counted.tried})
        if answer is not None:
            counted.acknowledged = counted.tried
            self.ledger.state_events[answer["event_id"]] = (room_id, self.user_id, counted.tried)

    async def set_account_data(self, line: Line, room_id: str) -> None:
        """Set account data, of a room or (empty) of all."""
        counted = self.ledger.account_data[self.user_id, room_id]
        counted.tried += 1
        within = f"/rooms/{quote(room_id, safe='')}" if room_id else ""
        path = f"{CLIENT}/user/{quote(self.user_id, safe='')}{within}/account_data/test.counter"
        if await line.ask("PUT", path, {"number": counted.tried}) is not None:
            counted.acknowledged = counted.tried

    async def mark_read(self, line: Line, room_id: str) -> None:
        """A receipt for the newest event this device knows of in a room."""
        room = self.view.rooms.get(room_id)
        if room is None or not room.length:
            return
        event_id = room.timeline[room.length - 1]
        if await line.ask("POST", room_path(room_id, "receipt", "m.read", event_id), {}) is not None:
            self.ledger.receipts[room_id, self.user_id] = event_id

    async def send_note(self, line: Line, to: str) -> None:
        """A to-device message, repeated until it is acknowledged."""
        note = f"{self.user_id}-{len(self.ledger.to_device_tried)}"
        self.ledger.to_device_tried.add(note)
        body = {"messages": {to: {"*": {"id": note}}}}
        await self.until_answered(line, "PUT", f"{CLIENT}/sendToDevice/{NOTE}/{quote(note)}", body)
        self.ledger.to_device[to].add(note)

    async def create_room(self, line: Line, other: str) -> None:
        """Make a room with somebody; not repeated, since nobody knows whether it was made."""
        name = f"of {self.user_id} {self.ledger.cycle} {self._chance.random()}"
        body = {"preset": "private_chat", "name": name, "invite": [other]}
        answer = await line.ask("POST", f"{CLIENT}/createRoom", body)
        if answer is not None:
            self.ledger.created[answer["room_id"]] = (name, self.user_id)
            await self.say(line, answer["room_id"])

    async def accept_invites(self, line: Line) -> None:
        for room_id in sorted(self.view.invites):
            await self.until_answered(line, "POST", f"{CLIENT}/join/{quote(room_id, safe='')}", {})
            self.ledger.joined.add((room_id, self.user_id))
            await self.say(line, room_id)

    async def come_and_go(self, line: Line, room_id: str) -> None:
        """Leave a room and join it again; both may be repeated, the second leave then meets a room already left."""
        await self.until_answered(line, "POST", room_path(room_id, "leave"), {}, accept=(200, 403))
        await asyncio.sleep(self._chance.random() * 0.2)
        await self.until_answered(line, "POST", room_path(room_id, "join"), {})
        await self.say(line, room_id)

    # ---- what people read

    async def sync_once(self, line: Line, timeout_ms: int) -> bool:
        """Take the next answer; whether it held anything."""
        limit, before = self._chance.choice(LIMITS), self.view
        answer = await line.ask("GET", sync_path(before.token, limit, timeout_ms))
        if answer is None or not await self._fill_gaps(line, before, answer) or self.view is not before:
            return True
        view = applied(before, answer, grow=True)
        self._check_order_of_tokens(view)
        self.inbox += view.to_device
        for room_id, room in view.rooms.items():
            runs = self.runs.setdefault(room_id, [])
            if not runs or runs[-1] is not room.timeline:
                runs.append(room.timeline)
        self.view = view
        self.places.append(view)
        if len(self.places) > PLACES_KEPT:
            del self.places[self._chance.randrange(PLACES_KEPT // 2)]
        return bool(answer.get("rooms") or answer.get("to_device") or answer.get("account_data"))

    async def _fill_gaps(self, line: Line, view: View, answer: dict[str, Any]) -> bool:
        """Fetch what limited timelines left out, so that they go on where the view ends. False without an answer."""
        for room_id, section in answer.get("rooms", {}).get("join", {}).items():
            known = view.rooms.get(room_id)
            timeline = section.get("timeline", {})
            if known is None or not timeline.get("limited") or not known.length:
                continue
            last = known.timeline[known.length - 1]
            place = timeline["prev_batch"]
            ids = [event["event_id"] for event in timeline["events"]]
            while last not in ids and place is not None:
                page = await line.ask("GET", room_path(room_id, "messages") + f"?dir=b&limit={FILL}&from={place}")
                if page is None:
                    return False
                timeline["events"][:0] = reversed(page["chunk"])
                ids = [event["event_id"] for event in page["chunk"]]
                place = page.get("end")
            whole = [event["event_id"] for event in timeline["events"]]
            if last not in whole:
                self.weather.problem(f"{self.user_id}: the gap in {room_id} does not lead back to {last}")
                continue
            # Whoever joined anew is shown the room from before that place on: what was known is only state again.
            seen = timeline["events"][: whole.index(last) + 1]
            section.setdefault("state", {}).setdefault("events", []).extend(
                each for each in seen if "state_key" in each
            )
            del timeline["events"][: len(seen)]
            timeline["limited"] = False
        return True

    def _check_order_of_tokens(self, view: View) -> None:
        if self.view.token and position_of(view.token) < position_of(self.view.token):
            self.weather.problem(f"{self.user_id}: next_batch went back from {self.view.token} to {view.token}")

    async def sync_for_ever(self) -> None:
        """Long polls, one after another."""
        line = self.line()
        while not self.stopping:
            try:
                await self.sync_once(line, 1000)
            except Refused as error:
                self.weather.problem(f"{self.user_id} could not sync: {error}")
                await asyncio.sleep(0.2)

    async def sync_to_the_end(self) -> None:
        """Take answers until one holds nothing; what the loop of `sync_for_ever` asked for meanwhile is not taken."""
        line = self.line(waits=False)
        while await self.sync_once(line, 0):
            pass
