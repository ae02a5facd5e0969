"""What a person may have of what the server keeps of them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from tests.support.server import PASSWORD, SERVER_NAME, Server, User


async def export(server: Server, admin: User, user: User, query: str = "") -> dict[str, bytes]:
    path = f"/_halfdoor/admin/v1/users/{user.user_id}/export{query}"
    answer = await server.client.request("GET", path, token=admin.token)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_an_export_holds_the_users_own_and_no_secrets(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    shared, private = await alice.create_room(preset="public_chat"), await bob.create_room()
    await alice.say(shared, "by alice")
    await bob.join(shared)
    await bob.say(shared, "by bob")
    await alice.post(f"/rooms/{shared}/leave")
    await bob.say(shared, "after alice left")
    await bob.say(private, "never for alice")
    await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"})
    await alice.put(f"/user/{alice.user_id}/account_data/org.example.x", {"a": 1})
    await admin.put(
        f"/_synapse/admin/v2/users/{alice.user_id}", {"threepids": [{"medium": "email", "address": "a@example.org"}]}
    )
    await alice.post(
        "/pushers/set",
        {
            "app_id": "org.example",
            "pushkey": "the secret push key",
            "kind": "http",
            "app_display_name": "App",
            "device_display_name": "Phone",
            "lang": "en",
            "data": {"url": "https://push.example.org/_matrix/push/v1/notify"},
        },
    )
    files = await export(server, admin, alice)
    assert set(files) == {
        "README.txt",
        "account.json",
        "profile.json",
        "devices.json",
        "account_data.json",
        "pushers.json",
        "media.json",
        "rooms.json",
        "rooms/00000.jsonl",
    }
    account: dict[str, Any] = json.loads(files["account.json"])
    assert account["user_id"] == alice.user_id
    assert account["threepids"][0]["address"] == "a@example.org"
    assert json.loads(files["profile.json"])["displayname"] == "Alice"
    assert json.loads(files["devices.json"])[0]["device_id"] == alice.device_id
    assert json.loads(files["account_data.json"])["global"]["org.example.x"] == {"a": 1}
    assert json.loads(files["pushers.json"])[0]["app_id"] == "org.example"
    lines = [json.loads(line) for line in files["rooms/00000.jsonl"].splitlines()]
    said = [event["content"]["body"] for event in lines if event["type"] == "m.room.message"]
    assert said == ["by alice", "by bob"]
    everything = b"\n".join(files.values())
    for secret in (alice.token, PASSWORD, "the secret push key", "password_hash", "argon2", "never for alice"):
        assert secret.encode() not in everything, secret
    missing = f"/_halfdoor/admin/v1/users/@nobody:{SERVER_NAME}/export"
    assert (await admin.request("GET", missing)).status == 404


async def test_files_are_put_in_when_they_are_asked_for(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    uploaded = await server.client.request(
        "POST", "/_matrix/media/v3/upload?filename=a.txt", body=b"the contents", token=alice.token
    )
    media_id = uploaded.json["content_uri"].rsplit("/", 1)[1]
    files = await export(server, admin, alice, "?media=true")
    assert files[f"media/{media_id}"] == b"the contents"
    assert json.loads(files["media.json"])[0]["uri"] == uploaded.json["content_uri"]
    assert f"media/{media_id}" not in await export(server, admin, alice)
