"""The ledger and the views held against what the server says, while nobody writes."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.end_to_end.crash.ledger import Ledger, Send
from tests.end_to_end.crash.person import Person, sync_path
from tests.end_to_end.crash.view import View, applied, differences, position_of
from tests.end_to_end.crash.wire import Line, room_path

PAGE = 500
FRESH_TIMELINE = 50
LONGEST_LOG_BYTES = 48 * 1024**2


class Checker:
    """Asks on connections of its own, also while everybody else waits; `compared` counts what was held against what."""

    def __init__(self, people: Sequence[Person], wanderers: int, ledger: Ledger, chance: random.Random) -> None:
        """The last `wanderers` people come and go, and do not see all of every room."""
        self._people = people
        self._settled = people[:-wanderers]
        self._away = {person.user_id for person in people[-wanderers:]}
        self._ledger = ledger
        self._chance = chance
        self._weather = people[0].weather
        self.compared: Counter[str] = Counter()

    def _problem(self, text: str) -> None:
        self._weather.problem(f"cycle {self._ledger.cycle}: {text}")

    # ---- after each cycle, a sample

    async def sample(self, rooms: Iterable[str], *, tokens: int) -> None:
        """The last cycle's messages are there once; old tokens of two people lead to what a fresh sync says."""
        for room_id in rooms:
            sends = [
                send
                for send in self._ledger.sends.values()
                if send.room_id == room_id and send.cycle == self._ledger.cycle
            ]
            newest = await self.newest_events(self._chance.choice(self._settled), room_id, PAGE + 2 * len(sends))
            self._check_sends(sends, newest)
        for person in self._chance.sample(list(self._people), 2):
            await person.sync_to_the_end()
            places = [person.view, *self._chance.choices(person.places, k=tokens)]
            await self.check_tokens(person, places)

    async def check_tokens(self, person: Person, places: Iterable[View]) -> None:
        """Each of these old places, brought up to date, is what a fresh sync gives. The person has taken everything
        that there was to take, so that there are no to-device messages any more."""
        line = person.line(waits=False)
        fresh = await self._brought_up(line, View(), FRESH_TIMELINE)
        for place in places:
            if not place.token:
                continue
            now = await self._brought_up(line, place, self._chance.choice((5, 100)))
            found = differences(now, fresh)
            for difference in found:
                self._problem(f"{person.user_id} since {place.token} (now {now.token}): {difference}")
            self.compared["old tokens"] += 1
        line.close()

    # ---- at the end, everything

    async def everything(self, rooms: Iterable[str], *, tokens: int) -> None:
        """All that `docs/durability.md` promises, for everything that the ledger has, and for that many old tokens of
        each person."""
        for room_id in [*rooms, *self._ledger.created]:
            creator = self._ledger.created.get(room_id, ("", ""))[1]
            reader = next((one for one in self._people if one.user_id == creator), self._people[0])
            backwards = await self.newest_events(reader, room_id, None)
            backwards.reverse()
            ids = [event["event_id"] for event in backwards]
            if room_id in rooms:
                forwards = await self.oldest_events(self._people[1], room_id)
                if [event["event_id"] for event in forwards] != ids:
                    self._problem(f"{room_id}: /messages forwards is not the reverse of backwards")
            self._check_sends([send for send in self._ledger.sends.values() if send.room_id == room_id], backwards)
            self._check_order(room_id, backwards)
            self._check_states(room_id, backwards)
            self._check_redactions(room_id, backwards)
            for person in self._people:
                self._check_runs(person, room_id, ids, may_go=person.user_id in self._away)
        for person in self._people:
            await self._check_person(person)
            await self.check_tokens(person, self._chance.sample(person.places, min(tokens, len(person.places))))

    def _check_sends(self, sends: Iterable[Send], events: Iterable[dict[str, Any]]) -> None:
        by_key: defaultdict[str, list[str]] = defaultdict(list)
        ids: Counter[str] = Counter()
        for event in events:
            ids[event["event_id"]] += 1
            if event["type"] == "m.room.message" and "body" in event["content"]:
                by_key[event["content"]["body"]].append(event["event_id"])
        for send in sends:
            found = by_key[send.key]
            self.compared["messages"] += 1
            if send.event_id is None:
                if len(found) > 1:
                    self._problem(f"{send.key} was not acknowledged and is there {len(found)} times")
                self.compared[f"given up, stored {len(found)} times"] += 1
                continue
            if ids[send.event_id] != 1:
                self._problem(
                    f"{send.key} was acknowledged as {send.event_id}, which is there {ids[send.event_id]} times"
                )
            if any(event_id != send.event_id for event_id in found):
                self._problem(f"{send.key} was acknowledged as {send.event_id} and is also {found}")

    def _check_order(self, room_id: str, events: Iterable[dict[str, Any]]) -> None:
        numbers = {send.event_id: send.number for send in self._ledger.acknowledged if send.room_id == room_id}
        last: dict[str, int] = {}
        for event in events:
            number = numbers.get(event["event_id"])
            if number is not None:
                if number <= last.get(event["sender"], 0):
                    self._problem(f"{room_id}: {event['sender']}'s {number} comes after {last[event['sender']]}")
                last[event["sender"]] = number

    def _check_states(self, room_id: str, events: Iterable[dict[str, Any]]) -> None:
        there = Counter(event["event_id"] for event in events)
        for event_id, (of_room, user_id, number) in self._ledger.state_events.items():
            if of_room == room_id:
                self.compared["state events"] += 1
                if there[event_id] != 1:
                    self._problem(f"state {number} of {user_id} in {room_id} is there {there[event_id]} times")

    def _check_redactions(self, room_id: str, events: Iterable[dict[str, Any]]) -> None:
        by_target: Counter[str] = Counter()
        contents: dict[str, Any] = {}
        for event in events:
            contents[event["event_id"]] = event["content"]
            if event["type"] == "m.room.redaction":
                by_target[event["content"]["redacts"]] += 1
        for target in self._ledger.redactions:
            if target in contents:
                self.compared["redactions"] += 1
                if by_target[target] != 1 or contents[target]:
                    self._problem(f"{target} was redacted {by_target[target]} times and has {contents[target]}")

    def _check_runs(self, person: Person, room_id: str, ids: list[str], *, may_go: bool) -> None:
        runs = [run for run in person.runs.get(room_id, ()) if run]
        if len(runs) > 1 and not may_go:
            self._problem(f"{person.user_id}: the timeline of {room_id} broke into {len(runs)} pieces")
        places = {event_id: index for index, event_id in enumerate(ids)}
        for run in runs:
            start = places.get(run[0], 0)
            if ids[start : start + len(run)] != run:
                wrong = next(
                    index for index, each in enumerate(run) if [each] != ids[start + index : start + index + 1]
                )
                why = "there twice" if run.count(run[wrong]) > 1 else "out of order, or one before it is missing"
                self._problem(
                    f"{person.user_id}: what syncs brought of {room_id} is not its timeline: {run[wrong]} is {why}"
                )
            self.compared["events through syncs"] += len(run)
        if runs and not may_go and runs[-1][-1] != ids[-1]:
            self._problem(f"{person.user_id}: syncs ended at {runs[-1][-1]}, but {room_id} ends at {ids[-1]}")

    async def _brought_up(self, line: Line, view: View, limit: int) -> View:
        """What a device knows in the end that goes on from `view`."""
        while True:
            answer = await self._get(line, sync_path(view.token, limit))
            before, view = view, applied(view, answer)
            if view.to_device:
                self._problem(f"to-device messages came back after they were acknowledged: {view.to_device[:3]}")
            if before.token and position_of(before.token) == position_of(view.token):
                return view

    async def _check_person(self, person: Person) -> None:
        line = person.line(waits=False)
        fresh = await self._brought_up(line, View(), FRESH_TIMELINE)
        line.close()
        me = person.user_id
        for room_id, (name, creator) in self._ledger.created.items():
            if creator == me and name not in _name_of(fresh, room_id):
                self._problem(f"{me} created {room_id}, which is not there")
        for room_id in (room_id for room_id, user_id in self._ledger.joined if user_id == me):
            if room_id not in fresh.rooms:
                self._problem(f"{me} joined {room_id} and is not in it")
        names = Counter(_name_of(fresh, room_id) for room_id in fresh.rooms)
        if any(count > 1 for name, count in names.items() if f"of {me} " in name):
            self._problem(f"{me}: one creation made two rooms")
        for (room_id, user_id), counted in self._ledger.state.items():
            if user_id == me and room_id in fresh.rooms:
                _, content = fresh.rooms[room_id].state.get(("test.counter", me), ("", "{}"))
                self._check_number(f"state of {me} in {room_id}", content, counted.acknowledged, counted.tried)
        for (user_id, room_id), counted in self._ledger.account_data.items():
            if user_id == me:
                data = fresh.rooms[room_id].account_data if room_id else fresh.account_data
                content = data.get("test.counter", "{}")
                self._check_number(f"account data of {me} {room_id}", content, counted.acknowledged, counted.tried)
        for (room_id, user_id), event_id in self._ledger.receipts.items():
            if user_id == me and room_id in fresh.rooms:
                order = {each: index for index, each in enumerate(person.runs[room_id][-1])}
                kept = fresh.rooms[room_id].receipts.get((me, "m.read", ""))
                if kept != event_id and order.get(kept or "", -1) < order.get(event_id, -1):
                    self._problem(f"receipt of {me} in {room_id}: {event_id} was acknowledged, {kept} is there")
        self._check_inbox(person)

    def _check_number(self, what: str, content: str, acknowledged: int, tried: int) -> None:
        number = json.loads(content).get("number", 0)
        self.compared["counters"] += 1
        if not acknowledged <= number <= tried:
            self._problem(f"{what}: {number} is there, {acknowledged} was acknowledged and {tried} tried")

    def _check_inbox(self, person: Person) -> None:
        got = Counter(person.inbox)
        for note, times in got.items():
            if times > 1:
                self._problem(f"{person.user_id} got to-device message {note} {times} times")
        lost = self._ledger.to_device[person.user_id] - set(got)
        if lost:
            self._problem(f"{person.user_id} never got {len(lost)} to-device messages, such as {min(lost)}")
        self.compared["to-device messages"] += len(got)

    # ---- reading

    async def newest_events(self, person: Person, room_id: str, count: int | None) -> list[dict[str, Any]]:
        """Through /messages backwards, the newest first; all of them for None."""
        return await self._pages(person, room_id, "b", count)

    async def oldest_events(self, person: Person, room_id: str) -> list[dict[str, Any]]:
        """Through /messages forwards, all of them."""
        return await self._pages(person, room_id, "f", None)

    async def _pages(self, person: Person, room_id: str, direction: str, count: int | None) -> list[dict[str, Any]]:
        line = person.line(waits=False)
        events: list[dict[str, Any]] = []
        place = ""
        while count is None or len(events) < count:
            start = f"&from={place}" if place else ""
            page = await self._get(line, room_path(room_id, "messages") + f"?dir={direction}&limit={PAGE}{start}")
            events += page["chunk"]
            place = page.get("end", "")
            if not place:
                break
        line.close()
        return events

    async def _get(self, line: Line, path: str) -> dict[str, Any]:
        answer: dict[str, Any] | None = await line.ask("GET", path)
        assert answer is not None, f"the server is up and gave no answer to {path}"
        return answer


def _name_of(view: View, room_id: str) -> str:
    room = view.rooms.get(room_id)
    return "" if room is None else room.state.get(("m.room.name", ""), ("", ""))[1]


def check_sqlite(file: Path, *, thorough: bool, has_stream: bool = True) -> list[str]:
    """What SQLite finds wrong with its file while the server has it open; and what hangs in the air."""
    found: list[str] = []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        check = "integrity_check" if thorough else "quick_check"
        found += [row[0] for row in connection.execute(f"PRAGMA {check}") if row[0] != "ok"]
        found += [f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        log = Path(f"{file}-wal")
        if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
            found.append(f"the write-ahead log has grown to {log.stat().st_size} bytes")
        if not has_stream:
            return found
        counter = connection.execute("SELECT position FROM stream").fetchone()[0]
        newest = connection.execute("SELECT MAX(position) FROM events").fetchone()[0]
        if newest is not None and newest > counter:
            found.append(f"the stream stands at {counter}, and an event at {newest}")
    return found


def check_log(text: str) -> list[str]:
    """Lines of the server's log that nobody should ever see, each with the line before it."""
    wrong = ("Traceback", "CRITICAL", "Unhandled", "never retrieved", "was never awaited")
    lines = text.splitlines()
    before = ["", *lines]
    return [
        f"{above} / {line}" for above, line in zip(before, lines, strict=False) if any(word in line for word in wrong)
    ]
