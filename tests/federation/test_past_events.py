"""Events of before the join, found by their time or their id."""

from __future__ import annotations

from typing import Any

import pytest

from federation import backfill
from tests.federation.lies import Scene
from tests.support.federation import FederatedServer, Network, settle
from tests.support.liar import Asked, Liar
from tests.support.server import V1, User

FOUND = f"{V1}/rooms/{{}}/timestamp_to_event"


class Past:
    """A room of Alice's with a past, and Bob, who came in at its end."""

    def __init__(self, one: FederatedServer, two: FederatedServer, alice: User, bob: User, room_id: str) -> None:
        self.one, self.two, self.alice, self.bob, self.room_id = one, two, alice, bob, room_id
        self.said: list[tuple[str, int]] = []

    async def say(self, count: int) -> None:
        """One message a minute."""
        for number in range(count):
            await self.one.clock.advance(60)
            self.said.append((await self.alice.say(self.room_id, f"{number}"), self.one.clock.now_ms()))

    async def join(self) -> None:
        await self.one.clock.advance(60)
        await self.two.clock.advance((self.one.clock.now_ms() - self.two.clock.now_ms()) / 1000)
        await self.bob.post(f"/join/{self.room_id}", {}, via="one.test")
        await settle(self.one, self.two)

    async def find(self, timestamp: int, direction: str) -> tuple[int, Any]:
        answer = await self.bob.request("GET", FOUND.format(self.room_id), ts=str(timestamp), dir=direction)
        return answer.status, answer.json


async def past(one: FederatedServer, two: FederatedServer, count: int, **room: Any) -> Past:
    alice, bob = await one.register("alice"), await two.register("bob")
    made = Past(one, two, alice, bob, await alice.create_room(**{"preset": "public_chat", **room}))
    await made.say(count)
    await made.join()
    return made


async def test_event_of_a_time_before_the_join_is_found_and_has_its_surroundings(
    one: FederatedServer, two: FederatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGE", 10)  # so that the event lies some pages back
    room = await past(one, two, 30)
    event_id, sent = room.said[4]
    for timestamp, direction in ((sent - 1, "f"), (sent, "f"), (sent, "b"), (sent + 1, "b")):
        assert await room.find(timestamp, direction) == (200, {"event_id": event_id, "origin_server_ts": sent})
    context = await room.bob.get(f"/rooms/{room.room_id}/context/{event_id}", limit="4")
    ids = [[event["event_id"] for event in context[name]] for name in ("events_before", "events_after")]
    assert ids == [[room.said[3][0], room.said[2][0]], [room.said[5][0], room.said[6][0]]]
    assert (await room.bob.get(f"/rooms/{room.room_id}/event/{event_id}"))["event_id"] == event_id
    assert (await room.find(0, "b"))[0] == 404


async def test_what_is_here_is_found_here(network: Network, one: FederatedServer, two: FederatedServer) -> None:
    room = await past(one, two, 2)
    said = await room.bob.say(room.room_id, "here")
    await settle(one, two)
    network.requests.clear()
    found = await room.find(two.clock.now_ms(), "b")
    assert found[1]["event_id"] == said
    assert (await room.find(two.clock.now_ms() + 1, "f"))[0] == 404
    assert not any("timestamp_to_event" in request.url for origin, request in network.requests if origin == "two.test")


async def test_event_by_its_id_is_fetched_before_anybody_scrolls_there(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    room = await past(one, two, 30)
    event_id, _ = room.said[3]
    event = await room.bob.get(f"/rooms/{room.room_id}/event/{event_id}")
    assert event["content"]["body"] == "3"
    network.lost = lambda origin, request: True
    again = await room.bob.get(f"/rooms/{room.room_id}/event/{event_id}")
    assert again["content"] == event["content"]  # it is kept
    assert (await room.bob.request("GET", f"/rooms/{room.room_id}/event/{room.said[4][0]}")).status == 404


@pytest.mark.parametrize("visibility", ["joined", "invited"])
async def test_G05_what_was_hidden_from_newcomers_is_not_fetched_for_them(
    one: FederatedServer, two: FederatedServer, visibility: str
) -> None:
    hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}
    room = await past(one, two, 5, initial_state=[hidden])
    event_id, sent = room.said[2]
    assert (await room.bob.request("GET", f"/rooms/{room.room_id}/event/{event_id}")).status == 404
    assert (await room.bob.request("GET", f"/rooms/{room.room_id}/context/{event_id}")).status == 404
    assert (await room.find(sent, "b"))[0] == 404
    assert (await room.find(sent, "f"))[1].get("event_id") not in {one for one, _ in room.said}


async def test_G08_strangers_to_a_room_make_nobody_ask(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    room = await past(one, two, 3)
    carol = await two.register("carol")
    network.requests.clear()
    for path in (f"event/{room.said[0][0]}", f"context/{room.said[0][0]}", "event/$nothing"):
        assert (await carol.request("GET", f"/rooms/{room.room_id}/{path}")).status in (403, 404)
    assert not network.requests


async def test_what_nobody_has_is_asked_for_once_and_not_at_all_where_nothing_is_missing(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    room = await past(one, two, 3)
    nothing = "$" + "x" * 43
    network.requests.clear()
    for _ in range(3):
        assert (await room.bob.request("GET", f"/rooms/{room.room_id}/event/{nothing}")).status == 404
        assert (await room.alice.request("GET", f"/rooms/{room.room_id}/event/{nothing}")).status == 404
    assert len([request for _, request in network.requests if "/v1/event/" in request.url]) == 1


async def lied_to(network: Network, one: FederatedServer) -> Scene:
    """Alice in a room of the liar's, whose past she does not have."""
    liar, alice = Liar(network), await one.register("alice")
    room = liar.make_room()
    for number in range(3):
        liar.event(room, content={"msgtype": "m.text", "body": f"{number}"}, advance=True)
    liar.answers["/make_join/"] = (200, liar.template(room, alice.user_id))
    liar.answers["/send_join/"] = lambda asked: (200, {**liar.told_state(room), "event": asked.body})
    liar.answers["/event_auth/"] = lambda asked: (200, {"auth_chain": [one.pdu for one in room.state.values()]})
    await alice.post(f"/join/{room.room_id}", {}, via="liar.test")
    await settle(one)
    return Scene(network, one, liar, alice, room)


async def test_B05_B18_an_event_that_is_fetched_is_checked_as_any_other(network: Network, one: FederatedServer) -> None:
    scene = await lied_to(network, one)
    liar, alice = scene.liar, scene.alice
    other = liar.make_room(room_id="!other:liar.test")
    path = f"/rooms/{scene.room_id}/event/"
    create = scene.room.state["m.room.create", ""]
    true = liar.event(scene.room, content={"msgtype": "m.text", "body": "true"}, prev=[create])
    foreign = liar.event(other)
    unsigned = {**true.pdu, "signatures": {}}
    for pdus in ([foreign.pdu], [unsigned], [7], "x", [liar.event(scene.room, sender="@alice:one.test").pdu]):
        liar.answers["/v1/event/"] = (200, {"origin": "liar.test", "origin_server_ts": 1, "pdus": pdus})
        liar.answers["/timestamp_to_event/"] = (200, {"event_id": foreign.event_id, "origin_server_ts": 1})
        assert (await alice.request("GET", path + foreign.event_id)).status == 404
        assert (await alice.request("GET", path + true.event_id)).status == 404
        assert (await alice.request("GET", FOUND.format(scene.room_id), ts="1", dir="f")).status in (200, 404)
        await one.clock.advance(61)
    unallowed = liar.event(scene.room, sender="@nobody:liar.test")
    by_id = {one.event_id: one for one in (true, unallowed)}

    def tell(asked: Asked) -> tuple[int, Any]:
        found = [one.pdu for name, one in by_id.items() if name.replace("$", "%24") in asked.target]
        return (200, {"origin": "liar.test", "origin_server_ts": 1, "pdus": found}) if found else (404, {})

    liar.answers["/v1/event/"] = tell
    assert (await alice.request("GET", path + unallowed.event_id)).status == 404
    assert (await alice.get(path + true.event_id))["content"]["body"] == "true"
    context = await alice.get(f"/rooms/{scene.room_id}/context/{true.event_id}")
    assert context["event"]["event_id"] == true.event_id
    assert context["events_before"] == context["events_after"] == []
    page = await alice.get(f"/rooms/{scene.room_id}/messages", dir="f", **{"from": context["start"]})
    assert page["chunk"]
    answers: list[Any] = [None, [], {"event_id": 7}, {"event_id": "$" + "x" * 300}, {"event_id": unallowed.event_id}]
    for answer in answers:
        liar.answers["/timestamp_to_event/"] = (200, answer)
        assert (await alice.request("GET", FOUND.format(scene.room_id), ts="1", dir="f")).status in (200, 404)
    await alice.say(scene.room_id, "still here")
    scene.nothing_foreign_is_signed()
