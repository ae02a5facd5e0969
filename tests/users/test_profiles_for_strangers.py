"""Profiles that are not for everybody (G09)."""

from __future__ import annotations

from dataclasses import replace

from tests.support.server import SERVER_NAME, open_server, server_settings


async def test_G09_profiles_are_kept_from_strangers_where_that_is_asked() -> None:
    users = replace(server_settings().users, profiles_for_strangers=False)
    server = open_server(settings=server_settings(users=users))
    admin = await server.register("admin", admin=True)
    alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"})
    nobody = f"@nobody:{SERVER_NAME}"
    for path in (f"/profile/{alice.user_id}", f"/profile/{alice.user_id}/displayname"):
        for friend in (alice, bob, admin):
            assert (await friend.get(path))["displayname"] == "Alice"
        refused = await eve.request("GET", path)
        unknown = await eve.request("GET", path.replace(alice.user_id, nobody))
        assert (refused.status, refused.json) == (unknown.status, unknown.json)
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
        assert (await server.request("GET", path)).status == 403
    await bob.post(f"/rooms/{room_id}/leave")
    assert (await bob.request("GET", f"/profile/{alice.user_id}")).status == 403
    await server.close()


async def test_G09_profiles_are_for_everybody_otherwise() -> None:
    server = open_server()
    alice = await server.register("alice")
    assert (await server.request("GET", f"/profile/{alice.user_id}")).status == 200
    await server.close()
