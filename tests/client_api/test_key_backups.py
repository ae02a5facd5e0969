"""Backups of room keys over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.server import PASSWORD, Server, User

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
AUTH_DATA = {"public_key": "abcdefg", "signatures": {}}
ROOM, OTHER = "!room:halfdoor.test", "!other:halfdoor.test"


def key(data: str = "x", *, verified: bool = False, index: int = 5, forwarded: int = 1) -> dict[str, Any]:
    return {
        "is_verified": verified,
        "first_message_index": index,
        "forwarded_count": forwarded,
        "session_data": {"ciphertext": data},
    }


async def create(user: User) -> str:
    version: str = (await user.post("/room_keys/version", {"algorithm": ALGORITHM, "auth_data": AUTH_DATA}))["version"]
    return version


async def test_version_is_made_read_changed_and_deleted(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    missing = await alice.request("GET", "/room_keys/version")
    assert (missing.status, missing.json["errcode"]) == (404, "M_NOT_FOUND")
    version = await create(alice)
    expected = {"algorithm": ALGORITHM, "auth_data": AUTH_DATA, "count": 0, "etag": "0", "version": version}
    assert await alice.get("/room_keys/version") == expected
    path = f"/room_keys/version/{version}"
    assert await alice.get(path) == expected
    assert (await bob.request("GET", path)).status == 404
    await alice.put(path, {"algorithm": ALGORITHM, "auth_data": {"public_key": "new"}, "version": version})
    assert (await alice.get(path))["auth_data"] == {"public_key": "new"}
    for wrong in ({"algorithm": "other"}, {"version": "77"}):
        answer = await alice.request("PUT", path, {"algorithm": ALGORITHM, "auth_data": {}, **wrong})
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    for _ in range(2):
        await alice.ok("DELETE", path)
    for method, body in (("GET", ...), ("PUT", {"algorithm": ALGORITHM, "auth_data": {}})):
        assert (await alice.request(method, path, body)).status == 404
    assert (await alice.request("GET", "/room_keys/version")).status == 404
    for unknown in ("99", "latest", "٣", "-1"):
        assert (await alice.request("DELETE", f"/room_keys/version/{unknown}")).status == 404
    assert await create(alice) != version


async def test_keys_are_kept_by_room_and_session(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    version = await create(alice)
    assert await alice.get("/room_keys/keys", version=version) == {"rooms": {}}
    assert await alice.get(f"/room_keys/keys/{ROOM}", version=version) == {"sessions": {}}
    assert (await alice.request("GET", f"/room_keys/keys/{ROOM}/s1", version=version)).status == 404
    answers = [
        await alice.put(f"/room_keys/keys/{ROOM}/s1", key("1"), version=version),
        await alice.put(f"/room_keys/keys/{ROOM}", {"sessions": {"s2": key("2")}}, version=version),
        await alice.put("/room_keys/keys", {"rooms": {OTHER: {"sessions": {"s3": key("3")}}}}, version=version),
    ]
    assert [answer["count"] for answer in answers] == [1, 2, 3]
    assert len({answer["etag"] for answer in answers}) == 3
    assert await alice.get(f"/room_keys/keys/{ROOM}/s1", version=version) == key("1")
    assert await alice.get(f"/room_keys/keys/{ROOM}", version=version) == {"sessions": {"s1": key("1"), "s2": key("2")}}
    everything = await alice.get("/room_keys/keys", version=version)
    assert set(everything["rooms"]) == {ROOM, OTHER}
    described = await alice.get("/room_keys/version")
    assert (described["count"], described["etag"]) == (3, answers[-1]["etag"])
    again = await alice.put(f"/room_keys/keys/{ROOM}/s1", key("1"), version=version)
    assert again == answers[-1]
    counts = [
        (await alice.ok("DELETE", path, version=version)).json["count"]
        for path in (f"/room_keys/keys/{ROOM}/s1", f"/room_keys/keys/{ROOM}", "/room_keys/keys")
    ]
    assert counts == [2, 1, 0]
    assert (await alice.get("/room_keys/version"))["etag"] != described["etag"]


@pytest.mark.parametrize(
    ("old", "new", "is_replaced"),
    [
        (key(verified=False, index=0), key("new", verified=True, index=9), True),
        (key(verified=True, index=9), key("new", verified=False, index=0), False),
        (key(index=5), key("new", index=4), True),
        (key(index=5), key("new", index=6), False),
        (key(forwarded=2), key("new", forwarded=1), True),
        (key(forwarded=1), key("new", forwarded=2), False),
        (key(), key("new"), False),
    ],
)
async def test_better_key_is_kept(
    whole_server: Server, old: dict[str, Any], new: dict[str, Any], is_replaced: bool
) -> None:
    alice = await whole_server.register("alice")
    version = await create(alice)
    path = f"/room_keys/keys/{ROOM}/s"
    first = await alice.put(path, old, version=version)
    second = await alice.put(path, new, version=version)
    assert await alice.get(path, version=version) == (new if is_replaced else old)
    assert second["count"] == 1
    assert (second["etag"] != first["etag"]) == is_replaced


async def test_keys_are_written_to_the_newest_version_alone(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    nothing = await alice.request("PUT", f"/room_keys/keys/{ROOM}/s", key(), version="1")
    assert (nothing.status, nothing.json["errcode"]) == (404, "M_NOT_FOUND")
    old = await create(alice)
    await alice.put(f"/room_keys/keys/{ROOM}/s", key(), version=old)
    new = await create(alice)
    for path, body in (
        (f"/room_keys/keys/{ROOM}/s", key()),
        (f"/room_keys/keys/{ROOM}", {"sessions": {}}),
        ("/room_keys/keys", {"rooms": {}}),
    ):
        answer = await alice.request("PUT", path, body, version=old)
        assert (answer.status, answer.json["errcode"]) == (403, "M_WRONG_ROOM_KEYS_VERSION")
        assert answer.json["current_version"] == new
    assert (await alice.get(f"/room_keys/keys/{ROOM}/s", version=old)) == key()
    await alice.ok("DELETE", f"/room_keys/version/{new}")
    assert (await alice.get("/room_keys/version"))["version"] == old


async def test_version_must_be_said_and_exist(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    assert (await alice.request("GET", "/room_keys/keys")).json["errcode"] == "M_MISSING_PARAM"
    for path in ("/room_keys/keys", f"/room_keys/keys/{ROOM}", f"/room_keys/keys/{ROOM}/s"):
        for method in ("GET", "DELETE"):
            assert (await alice.request(method, path, version="5")).status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**key(), "first_message_index": -1}, 400),
        ({**key(), "first_message_index": "1"}, 400),
        ({**key(), "is_verified": 1}, 400),
        ({**key(), "session_data": []}, 400),
        ({**key(), "session_data": {"x": "x" * 20_000}}, 413),
        ({}, 400),
    ],
)
async def test_malformed_keys_are_refused(whole_server: Server, body: Any, status: int) -> None:
    alice = await whole_server.register("alice")
    version = await create(alice)
    assert (await alice.request("PUT", f"/room_keys/keys/{ROOM}/s", body, version=version)).status == status
    assert (await alice.request("PUT", f"/room_keys/keys/room/{'s' * 256}", key(), version=version)).status == 400
    assert (await alice.get("/room_keys/version"))["count"] == 0


async def test_number_of_versions_is_bounded(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    for _ in range(100):
        last = await create(alice)
    body = {"algorithm": ALGORITHM, "auth_data": AUTH_DATA}
    assert (await alice.request("POST", "/room_keys/version", body)).status == 403
    await alice.ok("DELETE", f"/room_keys/version/{last}")
    await create(alice)
    big = {"algorithm": ALGORITHM, "auth_data": {"x": "x" * 70_000}}
    assert (await alice.request("POST", "/room_keys/version", big)).status == 413


async def test_backups_stay_when_devices_go_and_go_with_the_account(stored_server: Server) -> None:
    alice = await stored_server.register("alice")
    version = await create(alice)
    sessions = {f"s{number}": key(str(number)) for number in range(1_200)}
    answer = await alice.put(f"/room_keys/keys/{ROOM}", {"sessions": sessions}, version=version)
    assert answer["count"] == 1_200
    await alice.post("/logout")
    fresh = await stored_server.log_in("alice")
    assert await fresh.get(f"/room_keys/keys/{ROOM}", version=version) == {"sessions": sessions}
    await fresh.post("/account/deactivate", {"auth": {"type": "m.login.password", "password": PASSWORD}})
    backups = stored_server.homeserver.encryption.key_backups
    with pytest.raises(Exception, match="no backup"):
        await backups.describe(alice.user_id)
