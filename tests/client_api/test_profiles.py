"""Profiles over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.protocol.errors import NotFound
from tests.support.user_server import SERVER_NAME, UserServer, person_of


async def test_new_profile_is_empty_and_unknown_users_have_none(server: UserServer) -> None:
    alice = await server.register("alice")
    assert (await server.get(f"/profile/{alice.user_id}")).json == {}
    assert (await server.get(f"/profile/{alice.user_id}/displayname")).json["errcode"] == "M_NOT_FOUND"
    unknown = await server.get(f"/profile/@nobody:{SERVER_NAME}")
    assert (unknown.status, unknown.json["errcode"]) == (404, "M_NOT_FOUND")
    assert (await server.get("/profile/nonsense")).json["errcode"] == "M_INVALID_PARAM"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("displayname", "Алиса 愛麗絲 😀"),
        ("avatar_url", "mxc://halfdoor.test/SEsfnsuifSDFSSEF"),
        ("m.tz", "Europe/Berlin"),
        ("org.example.job", {"title": "Engineer", "since": 2020}),
        ("org.example.null", None),
        ("org.example.list", [1, "two", False]),
    ],
)
async def test_field_is_set_read_and_deleted(server: UserServer, field: str, value: Any) -> None:
    alice = await server.register("alice")
    path = f"/profile/{alice.user_id}/{field}"
    assert (await server.put(path, {field: value, "other": 1}, token=alice.token)).status == 200
    assert (await server.get(path)).json == {field: value}
    assert (await server.get(f"/profile/{alice.user_id}")).json == {field: value}
    for _ in range(2):
        assert (await server.delete(path, token=alice.token)).status == 200
    assert (await server.get(path)).status == 404


@pytest.mark.parametrize("empty", ["", None])
async def test_empty_name_and_avatar_remove_them(server: UserServer, empty: str | None) -> None:
    alice = await server.register("alice")
    for field, value in (("displayname", "Alice"), ("avatar_url", "mxc://a/b")):
        path = f"/profile/{alice.user_id}/{field}"
        await server.put(path, {field: value}, token=alice.token)
        assert (await server.put(path, {field: empty}, token=alice.token)).status == 200
    assert (await server.get(f"/profile/{alice.user_id}")).json == {}


@pytest.mark.parametrize(
    ("field", "body", "errcode"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": 5}, "M_INVALID_PARAM"),
        ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "https://x/y"}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "mxc://x/" + "y" * 1000}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": {"x": 1}}, "M_INVALID_PARAM"),
        ("m.tz", {"m.tz": 1}, "M_INVALID_PARAM"),
        ("nonamespace", {"nonamespace": 1}, "M_INVALID_PARAM"),
        ("Org.Example", {"Org.Example": 1}, "M_INVALID_PARAM"),
        ("org..x", {"org..x": 1}, "M_INVALID_PARAM"),
        ("x." + "y" * 254, {"x." + "y" * 254: 1}, "M_KEY_TOO_LARGE"),
        ("org.big", {"org.big": "x" * 65536}, "M_PROFILE_TOO_LARGE"),
        ("org.x", "text", "M_BAD_JSON"),
    ],
)
async def test_D08_bad_fields_are_refused(server: UserServer, field: str, body: Any, errcode: str) -> None:
    alice = await server.register("alice")
    answer = await server.put(f"/profile/{alice.user_id}/{field}", body, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)


async def test_D08_whole_profile_has_a_bound(server: UserServer) -> None:
    alice = await server.register("alice")
    for number in range(2):
        field = f"org.example.f{number}"
        body = {field: "x" * 32_000}
        assert (await server.put(f"/profile/{alice.user_id}/{field}", body, token=alice.token)).status == 200
    answer = await server.put(f"/profile/{alice.user_id}/org.more", {"org.more": "x" * 2000}, token=alice.token)
    assert answer.json["errcode"] == "M_PROFILE_TOO_LARGE"


async def test_nobody_changes_another_profile(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    admin = await server.register("admin", admin=True)
    path = f"/profile/{alice.user_id}/displayname"
    for answer in (
        await server.put(path, {"displayname": "x"}, token=bob.token),
        await server.delete(path, token=bob.token),
    ):
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    assert (await server.put(path, {"displayname": "Moderated"}, token=admin.token)).status == 200
    foreign = await server.put("/profile/@x:elsewhere.test/displayname", {"displayname": "x"}, token=admin.token)
    assert foreign.status == 403


async def test_F18_guests_change_their_display_name_only(server: UserServer) -> None:
    guest = person_of(await server.post("/register", {}, kind="guest"))
    path = f"/profile/{guest.user_id}"
    assert (await server.put(f"{path}/displayname", {"displayname": "Visitor"}, token=guest.token)).status == 200
    for field, value in (("avatar_url", "mxc://a/b"), ("org.x", 1)):
        answer = await server.put(f"{path}/{field}", {field: value}, token=guest.token)
        assert (answer.status, answer.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert await server.db.fetch_value("SELECT COUNT(*) FROM user_directory") == 0


async def test_suspended_account_cannot_change_its_profile(server: UserServer) -> None:
    alice = await server.register("alice")
    await server.services.accounts.set_flag(alice.user_id, "is_suspended", True)
    answer = await server.put(f"/profile/{alice.user_id}/displayname", {"displayname": "x"}, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (403, "M_USER_SUSPENDED")


async def test_change_is_told_to_rooms_and_no_change_is_not(server: UserServer) -> None:
    told: list[tuple[str, str, Mapping[str, Any]]] = []

    async def note(user_id: str, field: str, profile: Mapping[str, Any]) -> None:
        told.append((user_id, field, dict(profile)))

    server.services.hooks.profile_changed.append(note)
    alice = await server.register("alice")
    path = f"/profile/{alice.user_id}/displayname"
    for _ in range(2):
        await server.put(path, {"displayname": "Alice"}, token=alice.token)
    for _ in range(2):
        await server.delete(path, token=alice.token)
    assert told == [(alice.user_id, "displayname", {"displayname": "Alice"}), (alice.user_id, "displayname", {})]


async def test_remote_profile_is_asked_of_its_server(server: UserServer) -> None:
    assert (await server.get("/profile/@x:elsewhere.test")).status == 404

    async def fetch(user_id: str) -> dict[str, Any]:
        if user_id == "@x:elsewhere.test":
            return {"displayname": "X"}
        raise NotFound("No such user.")

    server.services.hooks.fetch_profile = fetch
    assert (await server.get("/profile/@x:elsewhere.test")).json == {"displayname": "X"}
    assert (await server.get("/profile/@x:elsewhere.test/displayname")).json == {"displayname": "X"}
    assert (await server.get("/profile/@y:elsewhere.test")).status == 404
