"""Rooms that are hosted elsewhere: real events, hashed and signed by the servers of their senders."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from signedjson.types import SigningKey

from homeserver.protocol.authorization import auth_keys
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS
from homeserver.protocol.signatures import seal_event

State = dict[StateKey, Event]
encode = msgspec.json.Encoder().encode


class Place(NamedTuple):
    """A place in a room's graph: the events that the next one stands on, and the state after them."""

    tips: list[Event]
    state: State


class FarRoom:
    """A room as the servers of the load generator know it. `tips` are its newest events; `state` is that after them.

    `may_omit_members`: whether joining servers that ask for it (`omit_members`) are told the state without members.
    """

    def __init__(self, host: str, keys: Mapping[str, SigningKey], version: str = DEFAULT_ROOM_VERSION) -> None:
        self.version = ROOM_VERSIONS[version]
        self.host = host
        self.creator = f"@creator:{host}"
        self.may_omit_members = True
        self.events: dict[str, Event] = {}
        self.state: State = {}
        self.tips: list[Event] = []
        self._keys = keys
        self._states: dict[str, State] = {}
        self._now = int(time.time() * 1000) - 3_600_000
        self._encoded: dict[str, bytes] = {}
        create = self.add(self.creator, "m.room.create", {"room_version": version}, state_key="")
        self.room_id: str = create.room_id
        self.join(self.creator)
        self.add(self.creator, "m.room.power_levels", {"users": {}}, state_key="")
        self.add(self.creator, "m.room.join_rules", {"join_rule": "public"}, state_key="")
        self.add(self.creator, "m.room.history_visibility", {"history_visibility": "shared"}, state_key="")

    # ---- events

    def draft(self, sender: str, event_type: str, content: Any, state_key: str | None) -> dict[str, Any]:
        """An event on the tips that is neither hashed nor signed."""
        keys = auth_keys(event_type, sender, state_key, content, self.version)
        self._now += 10
        pdu: dict[str, Any] = {
            "type": event_type,
            "sender": sender,
            "content": content,
            "origin_server_ts": self._now,
            "depth": max((tip.depth for tip in self.tips), default=0) + 1,
            "prev_events": [tip.event_id for tip in self.tips],
            "auth_events": [self.state[key].event_id for key in keys if key in self.state],
        }
        if event_type != "m.room.create":
            pdu["room_id"] = self.room_id
        if state_key is not None:
            pdu["state_key"] = state_key
        return pdu

    def add(self, sender: str, event_type: str, content: Any, *, state_key: str | None = None) -> Event:
        """An event on the tips, which becomes the tip."""
        server = domain_of(sender)
        draft = self.draft(sender, event_type, content, state_key)
        return self.accept(seal_event(draft, self.version, server, self._keys[server]))

    def accept(self, event: Event) -> Event:
        """Take an event that stands on the tips."""
        self.events[event.event_id] = event
        self.tips = [event]
        if event.state_key is not None:
            self.state[event.key] = event
        return event

    def say(self, text: str, sender: str = "") -> Event:
        return self.add(sender or self.creator, "m.room.message", {"msgtype": "m.text", "body": text})

    def join(self, user_id: str, **content: Any) -> Event:
        return self.add(user_id, "m.room.member", {"membership": "join", **content}, state_key=user_id)

    def encode_all(self) -> None:
        """Make the JSON of what a joining server is told."""
        for event in self.state.values():
            self.encoded(event)

    def fork(self) -> Place:
        """Where another branch can begin, for `go_to`."""
        return Place(list(self.tips), dict(self.state))

    def go_to(self, place: Place) -> None:
        self.tips, self.state = list(place.tips), dict(place.state)

    # ---- what is asked

    def template(self, user_id: str) -> dict[str, Any]:
        """The event of `/make_join`."""
        return {**self.draft(user_id, "m.room.member", {"membership": "join"}, user_id), "state_key": user_id}

    def joined(self, join: Event, server_name: str, *, omit: bool) -> list[bytes]:
        """The body of an answer to `/send_join`, in pieces; the join becomes the newest event."""
        told = [event for key, event in self.state.items() if not omit or key[0] != "m.room.member"]
        if omit and join.key in self.state:
            told.append(self.state[join.key])
        chain = self.auth_chain([*told, join])
        told_ids = {event.event_id for event in told}
        said: dict[str, Any] = {"origin": server_name, "members_omitted": omit, "event": join.pdu}
        servers = {domain_of(key[1]) for key in self.state if key[0] == "m.room.member"}
        said["servers_in_room"] = sorted(servers)
        pieces = [encode(said)[:-1]]
        pieces += [b',"state":[', self.listed(told)]
        # What is in both lists is told once where the state is partial (MSC3706).
        rest = [event for event in chain if not (omit and event.event_id in told_ids)]
        pieces += [b'],"auth_chain":[', self.listed(rest), b"]}"]
        self._states[join.prev_events[0]] = dict(self.state)
        self.accept(join)
        return pieces

    def encoded(self, event: Event) -> bytes:
        """The JSON of an event, made once."""
        data = self._encoded.get(event.event_id)
        if data is None:
            data = self._encoded[event.event_id] = encode(event.pdu)
        return data

    def listed(self, events: Iterable[Event]) -> bytes:
        """The members of a JSON array of events."""
        return b",".join(map(self.encoded, events))

    def auth_chain(self, events: Iterable[Event]) -> list[Event]:
        """All that these events stand on by their auth events; the create event is part of it."""
        found: dict[str, Event] = {}
        create = self.state[("m.room.create", "")]
        waiting = [create.event_id, *(one for event in events for one in event.auth_events)]
        while waiting:
            event_id = waiting.pop()
            if event_id not in found:
                found[event_id] = self.events[event_id]
                waiting += found[event_id].auth_events
        return list(found.values())

    def state_before(self, event_id: str) -> tuple[list[Event], list[Event]]:
        """The state before an event, and its auth chain."""
        state = self._states.get(self.events[event_id].prev_events[0], self.state)
        found = list(state.values())
        return found, self.auth_chain(found)

    def before(self, event_ids: Sequence[str], limit: int) -> list[Event]:
        """These events and what is before them, newest first."""
        found: dict[str, Event] = {}
        waiting = deque(event_ids)
        while waiting and len(found) < limit:
            event_id = waiting.popleft()
            if event_id in self.events and event_id not in found:
                found[event_id] = self.events[event_id]
                waiting.extend(found[event_id].prev_events)
        return list(found.values())

    def missing(self, latest: Sequence[str], earliest: Sequence[str], limit: int) -> list[Event]:
        """What is between, at most `limit`, newest first walked, oldest first told."""
        known = set(earliest)
        found: dict[str, Event] = {}
        newest = [self.events[event_id] for event_id in latest if event_id in self.events]
        waiting = deque(one for event in newest for one in event.prev_events)
        while waiting and len(found) < limit:
            event_id = waiting.popleft()
            if event_id in self.events and event_id not in found and event_id not in known:
                found[event_id] = self.events[event_id]
                waiting.extend(found[event_id].prev_events)
        return sorted(found.values(), key=lambda event: event.depth)
