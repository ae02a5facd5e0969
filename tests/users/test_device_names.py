"""What people call their devices stays at home (G11)."""

from __future__ import annotations

import json

from tests.support.key_material import DeviceMaterial
from tests.support.server import open_server


async def test_G11_names_and_addresses_of_devices_are_not_told_to_other_servers() -> None:
    server = open_server()
    alice = await server.register("alice", initial_device_display_name="Alice's secret phone")
    device = DeviceMaterial(alice.user_id, alice.device_id)
    await alice.post("/keys/upload", {"device_keys": device.device_keys()})
    queries = server.homeserver.encryption.key_queries
    at_home = await queries.query_local(alice.user_id, {alice.user_id: []})
    elsewhere = await queries.query_local(None, {alice.user_id: []})
    assert "Alice's secret phone" in json.dumps(at_home)
    assert alice.device_id in elsewhere["device_keys"][alice.user_id]
    told = json.dumps(elsewhere)
    assert "secret phone" not in told
    assert server.client.address not in told
    await server.close()
