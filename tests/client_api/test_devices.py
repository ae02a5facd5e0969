"""Devices over HTTP."""

from __future__ import annotations

from homeserver.stream import Change
from homeserver.users.last_seen import FLUSH_SECONDS
from tests.support.clock import settle
from tests.support.user_server import IRC, SERVER_NAME, UserServer, open_user_server


async def test_devices_show_name_and_when_they_were_seen(server: UserServer) -> None:
    await server.register("alice")
    phone = await server.log_in("alice", device_id="PHONE", initial_device_display_name="Phone")
    devices = (await server.get("/devices", token=phone.token)).json["devices"]
    assert {device["device_id"] for device in devices} > {"PHONE"}
    seen = next(device for device in devices if device["device_id"] == "PHONE")
    assert seen == {
        "device_id": "PHONE",
        "display_name": "Phone",
        "last_seen_ip": server.client.address,
        "last_seen_ts": server.clock.now_ms(),
    }
    assert (await server.get("/devices/PHONE", token=phone.token)).json == seen


async def test_when_a_device_was_seen_is_written_once_a_minute(server: UserServer) -> None:
    alice = await server.register("alice")
    sql = "SELECT last_seen_ts FROM devices"
    for _ in range(3):
        await server.get("/account/whoami", token=alice.token)
    seen = server.clock.now_ms()
    assert await server.db.fetch_value(sql) is None
    await server.clock.advance(FLUSH_SECONDS)
    await settle()
    assert await server.db.fetch_value(sql) == seen
    assert (await server.services.devices.get_device(alice.user_id, alice.device_id)).last_seen_ts == seen
    assert server.clock.pending == 0


async def test_device_is_renamed_and_the_change_is_announced(server: UserServer) -> None:
    alice = await server.register("alice")
    before = server.stream.position
    path = f"/devices/{alice.device_id}"
    assert (await server.put(path, {"display_name": "Laptop"}, token=alice.token)).status == 200
    assert (await server.get(path, token=alice.token)).json["display_name"] == "Laptop"
    assert server.stream.changed_since(Change.DEVICE_LISTS, alice.user_id, before)
    assert (await server.put(path, {}, token=alice.token)).status == 200
    assert (await server.get(path, token=alice.token)).json["display_name"] == "Laptop"


async def test_device_of_nobody_is_not_found(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    for device_id in ("NOWHERE", bob.device_id):
        assert (await server.get(f"/devices/{device_id}", token=alice.token)).json["errcode"] == "M_NOT_FOUND"
        for body in ({}, {"display_name": "x"}):
            answer = await server.put(f"/devices/{device_id}", body, token=alice.token)
            assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")


async def test_D08_name_of_a_device_has_a_bound(server: UserServer) -> None:
    alice = await server.register("alice")
    path = f"/devices/{alice.device_id}"
    assert (await server.put(path, {"display_name": "界" * 255}, token=alice.token)).status == 200
    answer = await server.put(path, {"display_name": "x" * 256}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")
    assert (await server.put(path, {"display_name": 5}, token=alice.token)).json["errcode"] == "M_BAD_JSON"


async def test_deleting_a_device_ends_its_session(server: UserServer) -> None:
    alice = await server.register("alice")
    other = await server.log_in("alice")
    removed: list[tuple[str, str]] = []

    async def note(txn: object, user_id: str, device_id: str) -> None:
        removed.append((user_id, device_id))

    server.services.hooks.device_removed.append(note)
    answer = await server.with_password("DELETE", f"/devices/{other.device_id}", {}, token=alice.token)
    assert answer.status == 200
    assert removed == [(alice.user_id, other.device_id)]
    assert (await server.get("/account/whoami", token=other.token)).json["errcode"] == "M_UNKNOWN_TOKEN"
    assert (await server.get(f"/devices/{other.device_id}", token=alice.token)).status == 404
    again = await server.with_password("DELETE", f"/devices/{other.device_id}", {}, token=alice.token)
    assert again.status == 200


async def test_delete_without_a_body_asks_for_authentication(server: UserServer) -> None:
    alice = await server.register("alice")
    answer = await server.delete(f"/devices/{alice.device_id}", token=alice.token)
    assert answer.status == 401
    assert answer.json["flows"] == [{"stages": ["m.login.password"]}]


async def test_several_devices_are_deleted_at_once_and_nobody_elses(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    others = [await server.log_in("alice") for _ in range(3)]
    body = {"devices": [*(other.device_id for other in others), bob.device_id, "NOWHERE"]}
    answer = await server.with_password("POST", "/delete_devices", body, token=alice.token)
    assert answer.status == 200
    assert len((await server.get("/devices", token=alice.token)).json["devices"]) == 1
    assert (await server.get("/account/whoami", token=bob.token)).status == 200
    too_many = await server.post("/delete_devices", {"devices": ["x"] * 1001}, token=alice.token)
    assert (too_many.status, too_many.json["errcode"]) == (413, "M_TOO_LARGE")
    assert (await server.post("/delete_devices", {}, token=alice.token)).json["errcode"] == "M_MISSING_PARAM"


async def test_application_service_makes_and_deletes_devices_without_authentication() -> None:
    server = open_user_server(appservices=[IRC])
    ghost = f"@_irc_bob:{SERVER_NAME}"
    wish = {"type": "m.login.application_service", "username": "_irc_bob", "inhibit_login": True}
    await server.post("/register", wish, token=IRC.as_token)
    for device_id, status in (("A", 201), ("A", 200), ("B", 201), ("C", 201)):
        body = {"display_name": device_id}
        answer = await server.put(f"/devices/{device_id}", body, token=IRC.as_token, user_id=ghost)
        assert answer.status == status
    assert (await server.delete("/devices/A", {}, token=IRC.as_token, user_id=ghost)).status == 200
    assert (await server.post("/delete_devices", {"devices": ["B"]}, token=IRC.as_token, user_id=ghost)).status == 200
    devices = (await server.get("/devices", token=IRC.as_token, user_id=ghost)).json["devices"]
    assert devices == [{"device_id": "C", "display_name": "C"}]
