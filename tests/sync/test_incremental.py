"""The key promise of /sync: from any old token, an incremental sync gives what a fresh one would give."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.server import Server, User, open_server
from tests.support.synced_client import RoomView, SyncedClient

NAMES = ("alice", "bob", "carol")
PEOPLE = st.integers(0, 2)
ACTIONS = st.one_of(
    st.tuples(st.just("say"), PEOPLE, st.integers(1, 6)),
    st.tuples(st.just("thread"), PEOPLE, st.just(0)),
    st.tuples(st.just("mention"), PEOPLE, PEOPLE),
    st.tuples(st.just("name"), PEOPLE, st.integers(0, 2)),
    st.tuples(st.just("visibility"), st.just(0), st.sampled_from(["joined", "invited", "shared", "world_readable"])),
    st.tuples(st.sampled_from(["join", "leave", "read", "read_private", "read_thread"]), PEOPLE, st.just(0)),
    st.tuples(st.sampled_from(["invite", "kick", "ban", "unban"]), st.just(0), st.integers(1, 2)),
    st.tuples(st.just("redact"), st.just(0), st.just(0)),
    st.tuples(st.just("profile"), PEOPLE, st.integers(0, 2)),
    st.tuples(st.just("tag"), PEOPLE, st.integers(0, 1)),
    st.tuples(st.just("sync"), st.just(0), st.just(0)),
)


class Play:
    """One room, three people, and every view that each of them ever had of it."""

    def __init__(self, server: Server, people: list[User], room_id: str, query: dict[str, Any]) -> None:
        self.server, self.people, self.room_id = server, people, room_id
        self.clients = [SyncedClient(user, query) for user in people]
        self.earlier: list[SyncedClient] = []
        self.sent: list[str] = []

    async def act(self, action: str, who: int, what: Any) -> None:
        user, room, path = self.people[who], self.room_id, f"/rooms/{self.room_id}"
        other = self.people[what].user_id if isinstance(what, int) and what < 3 else ""
        if action in ("say", "thread", "mention"):
            content: dict[str, Any] = {"msgtype": "m.text", "body": f"words {len(self.sent)}"}
            if action == "thread" and self.sent:
                content["m.relates_to"] = {"rel_type": "m.thread", "event_id": self.sent[0]}
            if action == "mention":
                content["m.mentions"] = {"user_ids": [other]}
            for _ in range(what if action == "say" else 1):
                user.transactions += 1
                answer = await user.request("PUT", f"{path}/send/m.room.message/t{user.transactions}", content)
                if answer.status == 200:
                    self.sent.append(answer.json["event_id"])
        elif action == "name":
            await user.request("PUT", f"{path}/state/m.room.name/", {"name": f"Room {what}" if what else ""})
        elif action == "visibility":
            await user.request("PUT", f"{path}/state/m.room.history_visibility/", {"history_visibility": what})
        elif action in ("join", "leave"):
            await user.request("POST", f"{path}/{action}", {})
        elif action in ("invite", "kick", "ban", "unban"):
            await user.request("POST", f"{path}/{action}", {"user_id": other})
        elif action.startswith("read") and self.sent:
            receipt = "m.read.private" if action == "read_private" else "m.read"
            body = {"thread_id": "main"} if action == "read_thread" else {}
            await user.request("POST", f"{path}/receipt/{receipt}/{self.sent[-1]}", body)
        elif action == "redact" and self.sent:
            await user.request("PUT", f"{path}/redact/{self.sent[-1]}/r{len(self.sent)}", {})
        elif action == "profile":
            await user.put(f"/profile/{user.user_id}/displayname", {"displayname": f"{NAMES[who]} {what}"})
        elif action == "tag":
            tag = f"/user/{user.user_id}{path}/tags/u.tag"
            await user.request("PUT", tag, {"order": what / 2})
        elif action == "sync":
            await self.sync()
        assert room == self.room_id

    async def sync(self) -> None:
        for client in self.clients:
            await client.sync()
            self.earlier.append(client.copy())

    async def compare(self, fresh_query: dict[str, Any]) -> None:
        """Every client that there ever was syncs once, and is held against one who begins anew."""
        anew: dict[str, SyncedClient] = {}
        for user in self.people:
            anew[user.user_id] = SyncedClient(user, fresh_query)
            await anew[user.user_id].sync()
        for client in self.earlier:
            await client.sync()
            fresh = anew[client.user.user_id]
            assert client.joined.keys() == fresh.joined.keys(), client.user.user_id
            # The rest of an invite shows the room as it is when the invite is handed out.
            assert {room_id: events[-1] for room_id, events in client.invited.items()} == {
                room_id: events[-1] for room_id, events in fresh.invited.items()
            }
            assert client.account_data == fresh.account_data
            for room_id, view in client.joined.items():
                self._compare(view, fresh.joined[room_id])
                seen = await client.whole_timeline(room_id)
                assert seen == await fresh.whole_timeline(room_id)
                assert len(seen) == len(set(seen))

    def _compare(self, view: RoomView, fresh: RoomView) -> None:
        assert view.state == fresh.state
        assert view.counts == fresh.counts
        assert view.threads == fresh.threads
        assert view.account_data == fresh.account_data
        assert view.receipts == fresh.receipts
        for name in ("m.joined_member_count", "m.invited_member_count"):
            assert view.summary[name] == fresh.summary[name]


async def play(actions: list[tuple[str, int, Any]], query: dict[str, Any], *, server: Server | None = None) -> None:
    opened = server or open_server()
    people = [await opened.register(name) for name in NAMES]
    room_id = await people[0].create_room(preset="public_chat")
    game = Play(opened, people, room_id, query)
    await game.sync()
    for action in actions:
        await game.act(*action)
    await game.compare(query)
    if server is None:
        await opened.close()


def as_filter(**timeline: Any) -> dict[str, Any]:
    return {"filter": json.dumps({"room": {"timeline": timeline}})}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTIONS, max_size=25))
async def test_incremental_sync_from_any_token_equals_a_fresh_one(actions: list[tuple[str, int, Any]]) -> None:
    await play(actions, as_filter(limit=3, unread_thread_notifications=True))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTIONS, max_size=25))
async def test_incremental_sync_with_state_after_equals_a_fresh_one(actions: list[tuple[str, int, Any]]) -> None:
    await play(actions, {**as_filter(limit=2), "use_state_after": "true"})


SCRIPT: list[tuple[str, int, Any]] = [
    ("say", 0, 5),
    ("join", 1, 0),
    ("sync", 0, 0),
    ("say", 1, 4),
    ("thread", 1, 0),
    ("mention", 1, 0),
    ("sync", 0, 0),
    ("visibility", 0, "joined"),
    ("name", 0, 1),
    ("profile", 1, 1),
    ("leave", 1, 0),
    ("say", 0, 4),
    ("invite", 0, 2),
    ("sync", 0, 0),
    ("join", 1, 0),
    ("read", 0, 0),
    ("redact", 0, 0),
    ("join", 2, 0),
    ("ban", 0, 2),
    ("tag", 1, 1),
    ("sync", 0, 0),
    ("say", 1, 3),
]


async def test_incremental_sync_equals_a_fresh_one_on_each_engine(stored_server: Server) -> None:
    await play(SCRIPT, as_filter(limit=3), server=stored_server)


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_incremental_sync_equals_a_fresh_one_for_each_limit(limit: int) -> None:
    await play(SCRIPT, as_filter(limit=limit))
