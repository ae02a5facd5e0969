"""Malformed events never hold up the good one beside them (A15)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.event_format import parse_event
from homeserver.protocol.events import Event
from tests.federation.lies import Scene, open_scene
from tests.federation.malformed import run
from tests.support.federation import FederatedServer, Network
from tests.support.liar import V1


@pytest.mark.parametrize(("version", "count"), [("11", 3_000), ("1", 1_000), ("12", 1_000)])
async def test_A15_A10_malformed_events_stop_no_good_one_and_nothing_malformed_goes_out(
    network: Network, one: FederatedServer, version: str, count: int
) -> None:
    scene = await open_scene(network, one, version)
    assert await run(scene, count) > count / 50
    await scene.good_event_arrives()
    for asked in scene.liar.asked:  # A10: whatever came in, what goes out is as strict as can be
        if "/send/" in asked.target:
            canonical_json.check(asked.body)
            for pdu in asked.body["pdus"]:
                parse_event(pdu, scene.room.version)


async def test_A15_events_that_the_database_cannot_take_are_sent_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = scene.liar.event(scene.room)
    body = {"origin": scene.liar.name, "origin_server_ts": 1, "pdus": [good.pdu]}

    async def full(events: Sequence[Event]) -> list[Any]:
        return [Unavailable("The disk is full")] * len(events)

    with monkeypatch.context() as patch:
        patch.setattr(scene.one.homeserver.rooms.receiver, "receive_all", full)
        assert (await scene.liar.request(scene.one, "PUT", f"{V1}/send/t", body)).status == 503
    assert await scene.liar.send(scene.one, good, txn="t") == {good.event_id: {}}
    assert good.event_id in await scene.shown()


async def test_A15_a_mistake_of_ours_is_logged_and_holds_up_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = scene.liar.event(scene.room), scene.liar.event(scene.room)
    receiver = scene.one.homeserver.rooms.receiver
    receive_all = receiver.receive_all

    async def mistaken(events: Sequence[Event]) -> list[Any]:
        found = await receive_all([event for event in events if event is not events[0]])
        return [KeyError("ours"), *found]

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "federation.transactions"):
        patch.setattr(receiver, "receive_all", mistaken)
        answers = await scene.liar.send(scene.one, bad, good)
    assert answers == {bad.event_id: {"error": "The event could not be received"}, good.event_id: {}}
    assert "liar.test" in caplog.text
    assert "KeyError" in caplog.text
    await scene.good_event_arrives()
