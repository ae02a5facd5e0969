"""Server administration over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.user_server import SERVER_NAME, V1, UserServer

KINDS = [("lock", "locked"), ("suspend", "suspended")]


@pytest.mark.parametrize(("path", "member"), KINDS)
async def test_administrator_sets_and_reads(server: UserServer, path: str, member: str) -> None:
    admin, alice = await server.register("admin", admin=True), await server.register("alice")
    place = f"{V1}/admin/{path}/{alice.user_id}"
    assert (await server.get(place, token=admin.token)).json == {member: False}
    assert (await server.put(place, {member: True}, token=admin.token)).json == {member: True}
    assert (await server.get(place, token=admin.token)).json == {member: True}
    assert (await server.put(place, {member: False}, token=admin.token)).json == {member: False}
    assert (await server.get("/account/whoami", token=alice.token)).status == 200


async def test_lock_takes_effect_at_once_and_keeps_the_session(server: UserServer) -> None:
    admin, alice = await server.register("admin", admin=True), await server.register("alice")
    assert (await server.get("/account/whoami", token=alice.token)).status == 200
    place = f"{V1}/admin/lock/{alice.user_id}"
    await server.put(place, {"locked": True}, token=admin.token)
    locked = await server.get("/account/whoami", token=alice.token)
    assert (locked.status, locked.json["errcode"], locked.json["soft_logout"]) == (401, "M_USER_LOCKED", True)
    await server.put(place, {"locked": False}, token=admin.token)
    assert (await server.get("/account/whoami", token=alice.token)).status == 200


@pytest.mark.parametrize(("path", "member"), KINDS)
async def test_F17_nobody_else_may(server: UserServer, path: str, member: str) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    guest = (await server.post("/register", {}, kind="guest")).json["access_token"]
    for target in (bob.user_id, alice.user_id, f"@nobody:{SERVER_NAME}", "@x:elsewhere.test", "nonsense"):
        place = f"{V1}/admin/{path}/{target}"
        for token in (alice.token, guest):
            for answer in (await server.get(place, token=token), await server.put(place, {member: True}, token=token)):
                assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
        assert (await server.get(place)).json["errcode"] == "M_MISSING_TOKEN"


@pytest.mark.parametrize(("path", "member"), KINDS)
async def test_bad_targets_are_refused(server: UserServer, path: str, member: str) -> None:
    admin, other = await server.register("admin", admin=True), await server.register("other", admin=True)
    gone = await server.register("gone")
    await server.services.accounts.deactivate(gone.user_id, erase=False)
    for target, status, errcode in (
        ("@x:elsewhere.test", 400, "M_INVALID_PARAM"),
        ("nonsense", 400, "M_INVALID_PARAM"),
        (f"@nobody:{SERVER_NAME}", 404, "M_NOT_FOUND"),
        (gone.user_id, 404, "M_NOT_FOUND"),
        (other.user_id, 403, "M_FORBIDDEN"),
        (admin.user_id, 403, "M_FORBIDDEN"),
    ):
        place = f"{V1}/admin/{path}/{target}"
        for answer in (
            await server.get(place, token=admin.token),
            await server.put(place, {member: True}, token=admin.token),
        ):
            assert (answer.status, answer.json["errcode"]) == (status, errcode), target


@pytest.mark.parametrize("body", [{}, {"locked": "yes"}, []])
async def test_bad_bodies_are_refused(server: UserServer, body: Any) -> None:
    admin, alice = await server.register("admin", admin=True), await server.register("alice")
    answer = await server.put(f"{V1}/admin/lock/{alice.user_id}", body, token=admin.token)
    assert answer.status == 400


async def test_whois_is_for_oneself_and_administrators(server: UserServer) -> None:
    admin, alice, bob = [await server.register(name, admin=name == "admin") for name in ("admin", "alice", "bob")]
    await server.get("/account/whoami", token=alice.token)
    path = f"/admin/whois/{alice.user_id}"
    own = await server.get(path, token=alice.token)
    connection = own.json["devices"][alice.device_id]["sessions"][0]["connections"][0]
    assert connection["ip"] == server.client.address
    assert connection["last_seen"] == server.clock.now_ms()
    assert (await server.get(path, token=admin.token)).json == own.json
    for target in (alice.user_id, f"@nobody:{SERVER_NAME}"):
        foreign = await server.get(f"/admin/whois/{target}", token=bob.token)
        assert (foreign.status, foreign.json["errcode"]) == (403, "M_FORBIDDEN")
    unknown = await server.get(f"/admin/whois/@nobody:{SERVER_NAME}", token=admin.token)
    assert (unknown.status, unknown.json["errcode"]) == (404, "M_NOT_FOUND")
    elsewhere = await server.get("/admin/whois/@x:elsewhere.test", token=admin.token)
    assert (elsewhere.status, elsewhere.json["errcode"]) == (400, "M_INVALID_PARAM")
