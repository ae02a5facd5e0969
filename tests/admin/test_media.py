"""Files in operators' hands."""

from __future__ import annotations

from typing import Any

from tests.support.server import SERVER_NAME, Server, User

V1 = "/_synapse/admin/v1"


async def upload(user: User, content: bytes, name: str = "a.txt") -> str:
    answer = await user.server.client.request(
        "POST", f"/_matrix/media/v3/upload?filename={name}", body=content, token=user.token
    )
    return str(answer.json["content_uri"]).rsplit("/", 1)[1]


async def download(user: User, media_id: str) -> int:
    path = f"/_matrix/client/v1/media/download/{SERVER_NAME}/{media_id}"
    answer = await user.server.client.request("GET", path, token=user.token)
    return answer.status


async def test_files_of_a_user_are_listed_and_deleted(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    ids = []
    for number in range(3):
        ids.append(await upload(alice, b"x" * (number + 1), f"{number}.txt"))
        await server.clock.advance(1)
    path = f"{V1}/users/{alice.user_id}/media"
    body = await admin.get(path, limit=2)
    assert ([media["media_id"] for media in body["media"]], body["total"], body["next_token"]) == (ids[:0:-1], 3, 2)
    assert set(body["media"][0]) == {
        "created_ts",
        "last_access_ts",
        "media_id",
        "media_length",
        "media_type",
        "quarantined_by",
        "safe_from_quarantine",
        "upload_name",
    }
    largest = await admin.get(path, order_by="media_length", dir="b", limit=1)
    assert largest["media"][0]["media_length"] == 3
    usage = await admin.get(f"{V1}/statistics/users/media")
    assert usage["users"] == [
        {"user_id": alice.user_id, "displayname": None, "media_count": 3, "media_length": 6},
    ]
    assert (await admin.get(f"{V1}/statistics/users/media", search_term="bob"))["total"] == 0
    info = (await admin.get(f"{V1}/media/{SERVER_NAME}/{ids[0]}"))["media_info"]
    assert (info["media_length"], info["user_id"], info["media_origin"]) == (1, alice.user_id, None)
    gone = (await admin.ok("DELETE", path, limit=1)).json
    assert gone == {"deleted_media": [ids[2]], "total": 1}
    assert (await admin.ok("DELETE", f"{V1}/media/{SERVER_NAME}/{ids[0]}")).json["total"] == 1
    assert [await download(alice, media_id) for media_id in ids] == [404, 200, 404]
    assert (await admin.request("DELETE", f"{V1}/media/{SERVER_NAME}/{ids[0]}")).status == 404
    assert (await admin.request("DELETE", f"{V1}/media/elsewhere.test/{ids[0]}")).status == 400


async def test_quarantine_keeps_a_file_from_everybody_until_it_is_lifted(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    one, safe = await upload(alice, b"one"), await upload(bob, b"safe")
    await admin.post(f"{V1}/media/quarantine/{SERVER_NAME}/{one}")
    assert await download(bob, one) == 404
    assert (await admin.get(f"{V1}/media/{SERVER_NAME}/{one}"))["media_info"]["quarantined_by"] == admin.user_id
    await admin.post(f"{V1}/media/unquarantine/{SERVER_NAME}/{one}")
    assert await download(bob, one) == 200
    await admin.post(f"{V1}/media/protect/{safe}")
    room_id = await alice.create_room()
    for media_id in (one, safe):
        content = {"msgtype": "m.file", "body": "x", "url": f"mxc://{SERVER_NAME}/{media_id}"}
        await alice.send(room_id, "m.room.message", content)
    assert await admin.post(f"{V1}/quarantine_media/{room_id}") == {"num_quarantined": 1}
    assert [await download(alice, media_id) for media_id in (one, safe)] == [404, 200]
    await admin.post(f"{V1}/media/unprotect/{safe}")
    assert await admin.post(f"{V1}/user/{bob.user_id}/media/quarantine") == {"num_quarantined": 1}
    assert await download(alice, safe) == 404
    for path in (f"media/quarantine/{SERVER_NAME}/none", "media/protect/none"):
        assert (await admin.request("POST", f"{V1}/{path}", {})).status == 404


async def test_old_and_large_files_are_deleted(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    small, large = await upload(alice, b"x"), await upload(alice, b"x" * 100)
    await server.clock.advance(60)
    query: dict[str, Any] = {"before_ts": server.clock.now_ms(), "size_gt": 50}
    assert await admin.post(f"{V1}/media/delete", {}, **query) == {"deleted_media": [large], "total": 1}
    assert await download(alice, small) == 200
    assert (await admin.request("POST", f"{V1}/media/delete", {}, before_ts=5)).status == 400
    assert (await admin.request("POST", f"{V1}/media/delete", {})).status == 400
    before = server.clock.now_ms()
    assert await admin.post(f"{V1}/purge_media_cache", {}, before_ts=before) == {"deleted": 0}
