"""Dehydrated devices over HTTP (MSC3814)."""

from __future__ import annotations

from typing import Any

from tests.support.key_material import DeviceMaterial
from tests.support.server import Server, User

PATH = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
DATA = {"algorithm": "org.matrix.msc3814.v2", "device_pickle": "secret"}


async def leave(user: User, device_id: str, **more: Any) -> Any:
    made = DeviceMaterial(user.user_id, device_id)
    body = {
        "device_id": device_id,
        "device_data": DATA,
        "initial_device_display_name": "Dehydrated device",
        "device_keys": {**made.device_keys(), "dehydrated": True},
        "one_time_keys": made.one_time_keys(0, 1),
        "fallback_keys": made.one_time_keys(9, 1, fallback=True),
        **more,
    }
    return await user.request("PUT", PATH, body)


async def test_device_is_left_found_and_replaced(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    missing = await alice.request("GET", PATH)
    assert (missing.status, missing.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await leave(alice, "FIRST")).json == {"device_id": "FIRST"}
    assert await alice.get(PATH) == {"device_id": "FIRST", "device_data": DATA}
    assert (await bob.request("GET", PATH)).status == 404
    found = await bob.post("/keys/query", {"device_keys": {alice.user_id: []}})
    assert found["device_keys"][alice.user_id]["FIRST"]["dehydrated"] is True
    assert (await leave(alice, "SECOND")).status == 200
    devices = [each["device_id"] for each in (await alice.get("/devices"))["devices"]]
    assert sorted(devices) == sorted([alice.device_id, "SECOND"])
    assert (await alice.ok("DELETE", PATH)).json == {"device_id": "SECOND"}
    assert (await alice.request("DELETE", PATH)).status == 404
    assert [each["device_id"] for each in (await alice.get("/devices"))["devices"]] == [alice.device_id]


async def test_messages_wait_for_whoever_opens_the_device(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await leave(alice, "ASLEEP")
    wanted = {"one_time_keys": {alice.user_id: {"ASLEEP": "signed_curve25519"}}}
    for _ in range(3):
        assert (await bob.post("/keys/claim", wanted))["one_time_keys"][alice.user_id]["ASLEEP"]
    for number in range(150):
        body = {"messages": {alice.user_id: {"ASLEEP": {"n": number}}}}
        await bob.put(f"/sendToDevice/m.room.encrypted/t{number}", body)
    for _ in range(2):
        got: list[int] = []
        place: dict[str, str] = {}
        while page := await alice.post(f"{PATH}/ASLEEP/events", place):
            if not page["events"]:
                break
            got += [event["content"]["n"] for event in page["events"]]
            place = {"next_batch": page["next_batch"]}
        assert got == list(range(150))
    page = await alice.get(f"{PATH}/ASLEEP/events")
    rest = await alice.get(f"{PATH}/ASLEEP/events", **{"from": page["next_batch"]})
    assert [event["content"]["n"] for event in (*page["events"], *rest["events"])] == list(range(150))
    assert "next_batch" not in rest
    assert (await alice.request("POST", f"{PATH}/OTHER/events", {})).status == 403
    assert (await bob.request("POST", f"{PATH}/ASLEEP/events", {})).status == 404


async def test_device_in_use_is_not_taken_and_wrong_keys_leave_nothing(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    assert (await leave(alice, alice.device_id)).status == 400
    wrong = DeviceMaterial(alice.user_id, "OTHER").device_keys()
    assert (await leave(alice, "ASLEEP", device_keys=wrong)).status == 400
    assert (await leave(alice, "ASLEEP", device_data={"x": "x" * 140_000})).status == 413
    assert (await alice.request("GET", PATH)).status == 404
    assert len((await alice.get("/devices"))["devices"]) == 1
    versions = await alice.get("/_matrix/client/versions")
    assert versions["unstable_features"]["org.matrix.msc3814"] is True
