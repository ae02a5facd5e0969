"""What erased users said is for those alone who were there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.server import PASSWORD, Server, User, open_server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    opened = open_server()
    yield opened
    await opened.close()


async def end(user: User, *, erase: bool) -> None:
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": PASSWORD,
    }
    first = await user.request("POST", "/account/deactivate", {"erase": erase})
    assert first.status == 401
    await user.post("/account/deactivate", {"erase": erase, "auth": {**auth, "session": first.json["session"]}})


@pytest.mark.parametrize("erase", [True, False])
async def test_late_comers_get_an_erased_users_messages_empty(server: Server, erase: bool) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    root = await bob.say(room_id, "I am bob")
    await end(bob, erase=erase)
    await carol.join(room_id)
    hidden = {} if erase else {"body": "I am bob", "msgtype": "m.text"}
    seen = {"body": "I am bob", "msgtype": "m.text"}
    for user, expected in ((alice, seen), (carol, hidden)):
        assert (await user.get(f"/rooms/{room_id}/event/{root}"))["content"] == expected
        chunk = (await user.get(f"/rooms/{room_id}/messages", dir="b", limit=50))["chunk"]
        assert [event["content"] for event in chunk if event["event_id"] == root] == [expected]
        context = await user.get(f"/rooms/{room_id}/context/{root}")
        assert context["event"]["content"] == expected
        timeline = (await user.sync(filter='{"room":{"timeline":{"limit":50}}}'))["rooms"]["join"][room_id]["timeline"]
        assert [event["content"] for event in timeline["events"] if event["event_id"] == root] == [expected]
    search = {"search_categories": {"room_events": {"search_term": "bob"}}}
    found = (await carol.post("/search", search))["search_categories"]["room_events"]["count"]
    assert found == (0 if erase else 1)


async def test_erasure_is_known_after_a_restart(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    said = await bob.say(room_id, "private")
    await end(bob, erase=True)
    await carol.join(room_id)
    erasure = server.homeserver.admin.rooms.erasure
    erasure._erased.clear()
    erasure.forget_all()
    assert (await carol.get(f"/rooms/{room_id}/event/{said}"))["content"] == {}


async def test_threads_and_edits_of_erased_users_say_nothing_either(server: Server) -> None:
    alice, bob, carol = [await server.register(name) for name in ("alice", "bob", "carol")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    root = await alice.say(room_id, "root")
    await bob.say(room_id, "in the thread", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    await end(bob, erase=True)
    await carol.join(room_id)
    answer = await carol.request("GET", f"/rooms/{room_id}/event/{root}")
    assert b"in the thread" not in answer.body
    listed = await carol.request("GET", f"/_matrix/client/v1/rooms/{room_id}/threads")
    assert b"in the thread" not in listed.body
    children = await carol.request("GET", f"/_matrix/client/v1/rooms/{room_id}/relations/{root}")
    assert b"in the thread" not in children.body
