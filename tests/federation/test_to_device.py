"""Messages between devices of two servers: each is delivered once, whatever is lost, repeated or ended in between."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.outbound.failures import OutboundFailed
from tests.federation.lies import Scene
from tests.support.clock import START_MS
from tests.support.federation import FederatedServer, Network, open_federated, settle

DAY = 24 * 3600


def edu(scene: Scene, message_id: Any, text: str = "x", **content: Any) -> dict[str, Any]:
    said = {
        "sender": scene.liar.user,
        "type": "m.test",
        "message_id": message_id,
        "messages": {scene.alice.user_id: {scene.alice.device_id: {"said": text}}},
        **content,
    }
    return {"edu_type": "m.direct_to_device", "content": said}


async def waiting(scene: Scene, server: FederatedServer | None = None) -> list[Any]:
    """What waits for Alice's device."""
    inbox = (server or scene.one).homeserver.users.to_device
    events, _ = await inbox.list_messages(scene.alice.user_id, scene.alice.device_id, 0, 2**53)
    return [bytes(event["content"]).decode() for event in events]


async def test_message_that_comes_in_several_transactions_is_delivered_once(scene: Scene) -> None:
    for text in ("x", "x", "y"):
        await scene.liar.send(scene.one, edus=[edu(scene, "1", text), edu(scene, "1", text)])
    await scene.liar.send(scene.one, edus=[edu(scene, "2", "second")])
    assert await waiting(scene) == ['{"said":"x"}', '{"said":"second"}']


async def test_message_is_known_again_after_a_restart_and_after_it_was_read(network: Network, scene: Scene) -> None:
    scene.liar.keys = lambda: scene.liar.own_keys(valid_until_ts=START_MS + 100 * DAY * 1000)
    await scene.liar.send(scene.one, edus=[edu(scene, "1")])
    body = await scene.alice.sync()
    assert len(body["to_device"]["events"]) == 1
    await scene.alice.sync(since=body["next_batch"])
    assert await waiting(scene) == []
    await scene.one.federation.stop()
    again = await open_federated(network, "one.test", scene.one.homeserver.db)
    await again.clock.advance(DAY)
    await scene.liar.send(again, edus=[edu(scene, "1")])
    assert await waiting(scene, again) == []
    await again.clock.advance(31 * DAY)
    await scene.liar.send(again, edus=[edu(scene, "new")])
    kept = await again.homeserver.db.fetch_all("SELECT message_id FROM received_messages")
    assert kept == [("new",)]  # what is known is not kept for ever


async def test_ids_are_those_of_one_server(network: Network, scene: Scene, two: FederatedServer) -> None:
    await scene.liar.send(scene.one, edus=[edu(scene, "1")])
    body = {"edus": [edu(scene, "1", "other", sender="@bob:two.test")], "pdus": []}
    await two.federation.client.request("one.test", "PUT", "/_matrix/federation/v1/send/t1", body=body)
    assert await waiting(scene) == ['{"said":"x"}', '{"said":"other"}']


@pytest.mark.parametrize(
    "broken",
    [
        {"message_id": "x" * 256},
        {"message_id": "\0"},
        {"type": "\0"},
        {"type": ""},
        {"type": 7},
        {"messages": 7},
        {"messages": {"@alice:one.test": 7}},
        {"messages": {"alice": {"X": {}}}},
        {"messages": {"@alice:one.test": {"*": {"x": "x" * 70_000}}}},
    ],
)
async def test_D11_what_is_no_message_is_dropped_and_the_next_one_is_not(scene: Scene, broken: dict[str, Any]) -> None:
    bad = edu(scene, "bad")
    bad["content"].update(broken)
    await scene.liar.send(scene.one, edus=[bad, edu(scene, "good", "good")])
    assert await waiting(scene) == ['{"said":"good"}']
    await scene.good_event_arrives()


async def test_lost_answers_and_a_restart_of_the_sender_deliver_no_message_twice(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    answers_lost = True
    carry = network.carry

    async def carry_half(origin: str, request: Any) -> Any:
        answer = await carry(origin, request)
        if answers_lost and origin == "one.test" and "/send/" in request.url:
            raise OutboundFailed("not reached", "the answer was lost")
        return answer

    network.carry = carry_half  # type: ignore[method-assign]
    for number in range(3):
        body = {"messages": {bob.user_id: {"*": {"number": number}}}}
        await alice.put(f"/sendToDevice/m.test/{number}", body)
        await settle(one, two)
        await one.clock.advance(30)
    await one.federation.stop()
    again = await open_federated(network, "one.test", one.homeserver.db)
    answers_lost = False
    for _ in range(4):
        await two.clock.advance(DAY)  # the restarted server has a new key, which is asked for when a minute has passed
        await again.clock.advance(DAY)
    await settle(again, two)
    events = (await bob.sync())["to_device"]["events"]
    assert [event["content"]["number"] for event in events] == [0, 1, 2]
    assert await again.homeserver.db.fetch_all("SELECT * FROM outgoing_edus") == []
