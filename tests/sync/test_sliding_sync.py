"""The key promise of sliding sync: whatever a client looked at, lost and changed its mind about, it ends up with what
/sync says."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.sync.sliding import connections
from tests.support.server import Server, User, open_server
from tests.support.sliding_client import EXTENSIONS, SlidingClient
from tests.support.synced_client import SyncedClient
from tests.sync.test_incremental import ACTIONS, NAMES, Play

EVERYTHING = [["*", "*"]]
LAZY = [["*", "*"], ["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]
STATES = ([["m.room.name", ""]], EVERYTHING, LAZY, [["m.room.member", "*"], ["m.room.create", ""]], [["*", ""]])
FILTER = {"filter": json.dumps({"room": {"timeline": {"limit": 3}}})}

CLIENT_ACTIONS = st.one_of(
    st.tuples(st.just("window"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("limit"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("state"), st.integers(0, len(STATES) - 1), st.just(0)),
    st.tuples(st.just("subscribe"), st.integers(0, 2), st.integers(0, 5)),
    st.tuples(st.just("extensions"), st.integers(0, 1), st.just(0)),
    st.tuples(st.sampled_from(["slide", "slide", "lose", "restart", "begin"]), st.just(0), st.just(0)),
)
SLIDE = st.tuples(st.just("slide"), st.just(0), st.just(0))
Script = list[tuple[int, tuple[str, int, Any]]]


class Game:
    """Three rooms, three people, and one of them who slides."""

    def __init__(self, server: Server, people: list[User], plays: list[Play]) -> None:
        self.server, self.people, self.plays = server, people, plays
        self.sliding = SlidingClient(people[1])
        self.config: dict[str, Any] = {"ranges": [[0, 0]], "timeline_limit": 3, "required_state": EVERYTHING}
        self.subscriptions: dict[str, Any] = {}
        self.extensions: dict[str, Any] = EXTENSIONS

    async def act(self, room: int, action: tuple[str, int, Any]) -> None:
        name, first, second = action
        if name == "window":
            self.config["ranges"] = [[first, first + second]]
        elif name == "limit":
            self.config["timeline_limit"] = first
        elif name == "state":
            self.config["required_state"] = STATES[first]
        elif name == "subscribe":
            self.subscriptions = {
                self.plays[first].room_id: {"timeline_limit": second, "required_state": self.config["required_state"]}
            }
        elif name == "extensions":
            self.extensions = EXTENSIONS if first else {}
        elif name == "restart":
            self.server.homeserver.sync.sliding.forget_all()
        elif name == "begin":
            self.sliding.pos = None
        elif name in ("slide", "lose"):
            self._ask_for()
            if name == "slide":
                await self.sliding.sync()
            else:
                await self.sliding.ask()
        elif name != "sync":
            await self.plays[room].act(*action)

    def _ask_for(self) -> None:
        self.sliding.body = {
            "lists": {"all": dict(self.config)},
            "room_subscriptions": self.subscriptions,
            "extensions": self.extensions,
        }

    async def compare(self) -> None:
        """The client looks at everything at last, and is held against one who asks /sync."""
        self.config = {"ranges": [[0, 99]], "timeline_limit": 3, "required_state": EVERYTHING}
        self.subscriptions, self.extensions = {}, EXTENSIONS
        self._ask_for()
        await self.sliding.sync()
        again = await self.sliding.sync()
        assert not again["rooms"]
        fresh = SyncedClient(self.people[1], FILTER)
        await fresh.sync()
        me = ("m.room.member", self.people[1].user_id)
        for room_id, view in fresh.joined.items():
            mine = self.sliding.rooms[room_id]
            assert mine.state == view.state
            assert mine.counts == view.counts
            assert mine.account_data == view.account_data
            assert {k: v for k, v in mine.receipts.items() if k[0] == me[1]} == {
                k: v for k, v in view.receipts.items() if k[0] == me[1]
            }
            assert mine.summary["joined_count"] == view.summary["m.joined_member_count"]
            assert mine.summary["invited_count"] == view.summary["m.invited_member_count"]
            heroes = [hero["user_id"] for hero in mine.summary.get("heroes", ())]
            if "m.heroes" in view.summary and ("m.room.canonical_alias", "") not in view.state:
                assert heroes == view.summary["m.heroes"]
            assert await self.sliding.whole_timeline(room_id) == await fresh.whole_timeline(room_id)
        assert self.sliding.invited.keys() == fresh.invited.keys()
        assert self.sliding.account_data == fresh.account_data
        for room_id, mine in self.sliding.rooms.items():
            if room_id not in fresh.joined:  # left: it knows that, and nothing of what came after
                assert me in mine.state


async def play(script: Script, *, server: Server | None = None) -> None:
    opened = server or open_server()
    people = [await opened.register(name) for name in NAMES]
    plays: list[Play] = []
    for _ in range(3):
        room_id = await people[0].create_room(preset="public_chat")
        await people[1].join(room_id)
        plays.append(Play(opened, people, room_id, {}))
    game = Game(opened, people, plays)
    with patch.object(connections, "ROWS", 3):  # what is stored is put together often
        for room, action in script:
            await game.act(room, action)
        await game.compare()
    if server is None:
        await opened.close()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(ACTIONS, CLIENT_ACTIONS, SLIDE)), max_size=25))
async def test_whoever_slides_ends_up_with_what_sync_says(script: Script) -> None:
    await play(script)


SCRIPT: Script = [
    (0, ("slide", 0, 0)),
    (1, ("say", 0, 3)),
    (0, ("lose", 0, 0)),
    (0, ("restart", 0, 0)),
    (0, ("slide", 0, 0)),
    (0, ("extensions", 1, 0)),
    (0, ("window", 0, 2)),
    (2, ("name", 0, 1)),
    (0, ("slide", 0, 0)),
    (2, ("say", 0, 6)),
    (0, ("read", 1, 0)),
    (1, ("leave", 1, 0)),
    (1, ("say", 0, 1)),
    (0, ("state", 2, 0)),
    (0, ("limit", 4, 0)),
    (0, ("slide", 0, 0)),
    (0, ("window", 0, 0)),
    (2, ("tag", 1, 1)),
    (2, ("profile", 0, 1)),
    (0, ("slide", 0, 0)),
    (1, ("join", 1, 0)),
    (0, ("subscribe", 2, 5)),
    (0, ("lose", 0, 0)),
    (0, ("slide", 0, 0)),
    (0, ("restart", 0, 0)),
    (0, ("ban", 0, 1)),
]


async def test_whoever_slides_ends_up_with_what_sync_says_on_each_engine(stored_server: Server) -> None:
    await play(SCRIPT, server=stored_server)


@pytest.mark.parametrize("length", range(6, len(SCRIPT), 5))
async def test_whoever_slides_ends_up_with_what_sync_says_at_every_stage(length: int) -> None:
    await play(SCRIPT[:length])
