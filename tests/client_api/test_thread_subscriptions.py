"""Following threads (MSC4306, MSC4308), over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.storage.database import Database
from tests.support.server import Server, User, open_server

UNSTABLE = "/_matrix/client/unstable/io.element"
LIST = f"{UNSTABLE}.msc4308/thread_subscriptions"


@pytest.fixture
async def server(database: Database) -> AsyncIterator[Server]:
    running = open_server(database)
    yield running
    await running.homeserver.close()


def path(room_id: str, root_id: str) -> str:
    return f"{UNSTABLE}.msc4306/rooms/{room_id}/thread/{root_id}/subscription"


async def reply(user: User, room_id: str, root_id: str, body: str = "in the thread", **content: Any) -> str:
    relation = {"rel_type": "m.thread", "event_id": root_id}
    return await user.say(room_id, body, **{"m.relates_to": relation}, **content)


async def error(user: User, method: str, room_id: str, root_id: str, json: Any = ...) -> tuple[int, str]:
    answer = await user.request(method, path(room_id, root_id), json)
    return answer.status, answer.json.get("errcode", "")


async def pair(server: Server) -> tuple[User, User, str, str]:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    return alice, bob, room_id, await alice.say(room_id, "root")


async def test_thread_is_followed_and_left_again(server: Server) -> None:
    _, bob, room_id, root = await pair(server)
    assert await error(bob, "GET", room_id, root) == (404, "M_NOT_FOUND")
    await bob.put(path(room_id, root))
    assert await bob.get(path(room_id, root)) == {"automatic": False}
    for _ in range(2):
        await bob.ok("DELETE", path(room_id, root))
    assert await error(bob, "GET", room_id, root) == (404, "M_NOT_FOUND")


async def test_automatic_subscription_needs_an_event_of_the_thread(server: Server) -> None:
    alice, bob, room_id, root = await pair(server)
    beside = await alice.say(room_id, "beside")
    assert await error(bob, "PUT", room_id, root, {"automatic": beside}) == (400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD")
    assert await error(bob, "PUT", room_id, root, {"automatic": "$nothing"}) == (404, "M_NOT_FOUND")
    await bob.put(path(room_id, root), {"automatic": await reply(alice, room_id, root)})
    assert await bob.get(path(room_id, root)) == {"automatic": True}
    await bob.put(path(room_id, root))
    assert await bob.get(path(room_id, root)) == {"automatic": False}
    await bob.put(path(room_id, root), {"automatic": await reply(alice, room_id, root)})
    assert await bob.get(path(room_id, root)) == {"automatic": False}


async def test_no_earlier_event_subscribes_whoever_has_unsubscribed(server: Server) -> None:
    alice, bob, room_id, root = await pair(server)
    before = await reply(alice, room_id, root)
    await bob.put(path(room_id, root), {"automatic": before})
    await bob.ok("DELETE", path(room_id, root))
    refused = await error(bob, "PUT", room_id, root, {"automatic": before})
    assert refused == (409, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION")
    after = await reply(alice, room_id, root)
    await bob.put(path(room_id, root), {"automatic": after})
    assert await bob.get(path(room_id, root)) == {"automatic": True}


async def test_threads_that_one_cannot_see_do_not_exist(server: Server) -> None:
    _, _, room_id, root = await pair(server)
    carol = await server.register("carol")
    for method, json in (("GET", ...), ("PUT", {}), ("DELETE", ...)):
        assert await error(carol, method, room_id, root, json) == (404, "M_NOT_FOUND")
        assert await error(carol, method, "!other:halfdoor.test", root, json) == (404, "M_NOT_FOUND")
    assert await error(carol, "PUT", room_id, "root", {}) == (400, "M_INVALID_PARAM")


async def test_changes_are_listed_backwards_by_the_page(server: Server) -> None:
    alice, bob, room_id, first = await pair(server)
    roots = [first] + [await alice.say(room_id, f"{number}") for number in range(4)]
    for root in roots:
        await bob.put(path(room_id, root))
    await bob.ok("DELETE", path(room_id, roots[1]))
    body = await bob.get(LIST, dir="b", limit=2)
    assert list(body["subscribed"][room_id]) == [roots[4]]
    assert list(body["unsubscribed"][room_id]) == [roots[1]]
    stamps = [
        body["subscribed"][room_id][roots[4]]["bump_stamp"],
        body["unsubscribed"][room_id][roots[1]]["bump_stamp"],
    ]
    assert stamps == sorted(stamps)
    rest = await bob.get(LIST, dir="b", limit=10, **{"from": body["end"]})
    assert list(rest["subscribed"][room_id]) == [roots[0], roots[2], roots[3]]
    assert "end" not in rest
    assert await alice.get(LIST, dir="b") == {}
    assert (await bob.request("GET", LIST, dir="f")).status == 400
    assert (await bob.request("GET", LIST, dir="b", **{"from": "odd"})).status == 400


async def test_who_follows_threads_is_notified_of_those_alone(server: Server) -> None:
    alice, bob, room_id, followed = await pair(server)
    carol = await server.register("carol")
    await carol.join(room_id)
    other = await alice.say(room_id, "another root")
    await bob.put(path(room_id, followed))
    for user in (bob, carol):
        await user.sync()
        await user.post(f"/rooms/{room_id}/receipt/m.read/{other}")
        await user.sync()
    await reply(alice, room_id, followed)
    await reply(alice, room_id, other)
    mention = {"m.mentions": {"user_ids": [bob.user_id, carol.user_id]}}
    counts = []
    for user in (bob, carol):
        room = (await user.sync())["rooms"]["join"][room_id]
        counts.append(room["unread_notifications"]["notification_count"])
    assert counts == [1, 2]
    await reply(alice, room_id, other, "you!", **mention)
    room = (await bob.sync())["rooms"]["join"][room_id]
    assert room["unread_notifications"] == {"notification_count": 2, "highlight_count": 1}
    notified = (await bob.get("/notifications"))["notifications"]
    assert [one["event"]["content"]["body"] for one in notified[:2]] == ["you!", "in the thread"]


async def test_rules_about_threads_are_shown_and_can_be_switched_off(server: Server) -> None:
    alice, bob, room_id, root = await pair(server)
    other = await alice.say(room_id, "another root")
    rules = (await bob.get("/pushrules/"))["global"]["postcontent"]
    assert [(rule["rule_id"], rule["actions"]) for rule in rules] == [
        (".io.element.msc4306.rule.unsubscribed_thread", []),
        (".io.element.msc4306.rule.subscribed_thread", ["notify", {"set_tweak": "sound", "value": "default"}]),
    ]
    quiet = "/pushrules/global/postcontent/.io.element.msc4306.rule.unsubscribed_thread"
    await bob.put(f"{quiet}/enabled", {"enabled": False})
    own = await bob.request("PUT", "/pushrules/global/postcontent/mine", {"actions": [], "conditions": []})
    assert (own.status, own.json["errcode"]) == (400, "M_INVALID_PARAM")
    await bob.put(path(room_id, root))
    await bob.sync()
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{other}")
    await reply(alice, room_id, other)
    room = (await bob.sync())["rooms"]["join"][room_id]
    assert room["unread_notifications"]["notification_count"] == 1
