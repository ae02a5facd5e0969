"""Malformed events never hold up the good one beside them (A15)."""

from __future__ import annotations

import pytest

from tests.federation.lies import open_scene
from tests.federation.malformed import run
from tests.support.federation import FederatedServer, Network


@pytest.mark.parametrize(("version", "count"), [("11", 3_000), ("1", 1_000), ("12", 1_000)])
async def test_A15_malformed_events_stop_no_good_one(
    network: Network, one: FederatedServer, version: str, count: int
) -> None:
    scene = await open_scene(network, one, version)
    assert await run(scene, count) > count / 50
    await scene.good_event_arrives()
