"""A room of a liar with a past, which it tells of as a server that is asked for history does, with what lies a test
wants."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from homeserver.protocol.events import Event
from tests.support.liar import Asked, Liar, LiarsRoom
from tests.support.server import User


class Past:
    """Events oldest first, each with the ids of the state before it. `extra`: PDUs that every page has beside;
    `page`: how many events a page has."""

    def __init__(self, liar: Liar, version: str = "11") -> None:
        self.liar = liar
        self.room: LiarsRoom = liar.make_room(version, "!past:liar.test")
        self.events: list[Event] = list(self.room.state.values())
        ids = [event.event_id for event in self.events]
        self.states: dict[str, list[str]] = {event_id: [*ids[:number]] for number, event_id in enumerate(ids)}
        self.extra: list[Any] = []
        self.page = 4

    @property
    def room_id(self) -> str:
        return self.room.room_id

    def add(self, event_type: str = "m.room.message", content: Any = None, **changes: Any) -> Event:
        """The next event of the room. `counts=False`: its state is none, as the liar tells the state."""
        counts = changes.pop("counts", True)
        before = dict(self.room.state)
        event = self.liar.event(self.room, event_type, content, advance=True, **changes)
        if not counts:
            self.room.state = before
        self.states[event.event_id] = [one.event_id for one in before.values()]
        self.events.append(event)
        return event

    def visibility(self, value: str) -> Event:
        return self.add("m.room.history_visibility", {"history_visibility": value}, state_key="")

    def member(self, user: str, membership: str, **changes: Any) -> Event:
        return self.add("m.room.member", {"membership": membership}, state_key=user, **changes)

    async def joined_by(self, user: User) -> None:
        """Let a user of ours in, and answer their server from then on."""
        self.liar.answers = {
            "/make_join/": (200, self.liar.template(self.room, user.user_id)),
            "/send_join/": (200, self.liar.told_state(self.room)),
            "/backfill/": self._backfill,
            "/state_ids/": self._state_ids,
            "/event/": self._event,
            "/event_auth/": (200, {"auth_chain": [event.pdu for event in self.events if event.state_key is not None]}),
            **self.liar.answers,
        }
        await user.post(f"/join/{self.room_id}", {}, via=self.liar.name)

    def _backfill(self, asked: Asked) -> tuple[int, Any]:
        wanted = parse_qs(urlsplit(asked.target).query).get("v", [])
        newest = max((n for n, event in enumerate(self.events) if event.event_id in wanted), default=-1)
        page = self.events[max(0, newest + 1 - self.page) : newest + 1]
        return 200, {"pdus": [*self.extra, *(event.pdu for event in reversed(page))]}

    def _state_ids(self, asked: Asked) -> tuple[int, Any]:
        (event_id,) = parse_qs(urlsplit(asked.target).query)["event_id"]
        ids = self.states.get(event_id, [])
        return 200, {"pdu_ids": ids, "auth_chain_ids": ids}

    def _event(self, asked: Asked) -> tuple[int, Any]:
        event_id = unquote(urlsplit(asked.target).path.rpartition("/")[2])
        return 200, {"pdus": [event.pdu for event in self.events if event.event_id == event_id]}


async def scrolled(user: User, room_id: str, limit: int = 5) -> list[str]:
    """The ids of all that a user sees on the way back to the beginning, newest first."""
    seen: list[str] = []
    query: dict[str, str] = {}
    for _ in range(60):
        page = await user.get(f"/rooms/{room_id}/messages", dir="b", limit=limit, **query)
        seen += [event["event_id"] for event in page["chunk"]]
        if "end" not in page:
            return seen
        query = {"from": page["end"]}
    raise AssertionError("the history has no end")
