"""Other servers in operators' hands."""

from __future__ import annotations

from homeserver.storage.database import Transaction
from homeserver.storage.destinations import DestinationStore
from tests.support.server import Server, User

PATH = "/_synapse/admin/v1/federation/destinations"


async def test_other_servers_are_listed_and_tried_again(server: Server, admin: User) -> None:
    now = server.clock.now_ms()
    store = DestinationStore(server.homeserver.db)

    async def write(txn: Transaction) -> None:
        store.set_standing(txn, "b.test", 2, now - 20_000, now - 15_000, now + 5_000)
        store.set_told(txn, "b.test", 7, is_behind=True)
        store.set_told(txn, "a.test", 9, is_behind=False)

    await server.homeserver.db.write(write)
    listed = await admin.get(PATH)
    assert listed["total"] == 2
    assert listed["destinations"][0] == {
        "destination": "a.test",
        "retry_last_ts": 0,
        "retry_interval": 0,
        "failure_ts": None,
        "last_successful_stream_ordering": 9,
    }
    failing = await admin.get(f"{PATH}/b.test")
    assert failing == {
        "destination": "b.test",
        "retry_last_ts": now - 15_000,
        "retry_interval": 20_000,
        "failure_ts": now - 20_000,
        "last_successful_stream_ordering": 7,
    }
    assert (await admin.get(PATH, order_by="retry_last_ts", dir="b"))["destinations"][0] == failing
    assert (await admin.get(PATH, destination="a."))["total"] == 1
    assert (await admin.get(PATH, limit=1))["next_token"] == "1"
    assert await admin.get(f"{PATH}/b.test/rooms") == {"rooms": [], "total": 0}
    assert (await admin.request("GET", f"{PATH}/c.test")).status == 404
    refused = await admin.request("POST", f"{PATH}/b.test/reset_connection", {})
    assert (refused.status, refused.json["errcode"]) == (400, "M_INVALID_PARAM")
    forgotten: list[str] = []

    async def reset(name: str) -> None:
        forgotten.append(name)

    server.homeserver.admin.federation.reset = reset
    await admin.post(f"{PATH}/b.test/reset_connection")
    assert (await admin.request("POST", f"{PATH}/a.test/reset_connection", {})).status == 400
    assert forgotten == ["b.test"]
