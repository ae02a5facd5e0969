"""Searching for people over HTTP."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from tests.support.user_server import SERVER_NAME, UserServer, open_user_server, settings


class Knows:
    """Acquaintances as a test says."""

    def __init__(self, shared: set[str] | None = None, public: set[str] | None = None) -> None:
        self.shared, self.public = shared or set(), public or set()

    async def share_room_with(self, user_id: str, others: Collection[str]) -> set[str]:
        return self.shared & set(others)

    async def in_public_rooms(self, others: Collection[str]) -> set[str]:
        return self.public & set(others)


def everybody() -> UserServer:
    return open_user_server(chosen=settings(directory_finds_everybody=True))


async def named(server: UserServer, name: str, display_name: str | None) -> str:
    person = await server.register(name)
    if display_name is not None:
        path = f"/profile/{person.user_id}/displayname"
        assert (await server.put(path, {"displayname": display_name}, token=person.token)).status == 200
    return person.user_id


async def search(server: UserServer, token: str, term: str, **body: Any) -> list[str]:
    answer = await server.post("/user_directory/search", {"search_term": term, **body}, token=token)
    assert answer.status == 200, answer.body
    return [result["user_id"] for result in answer.json["results"]]


@pytest.mark.parametrize(
    "term", ["wang", "WANG", "小明", "王", "明", "王 小", "wang 王小明", "@wang", f"@wang:{SERVER_NAME}", "ｗａｎｇ"]
)
async def test_people_are_found_by_name_and_id_in_any_script(term: str) -> None:
    server = everybody()
    alice = await server.register("alice")
    wang = await named(server, "wang", "王小明")
    await named(server, "other", "Somebody else")
    assert await search(server, alice.token, term) == [wang]


async def test_better_matches_come_first() -> None:
    server = everybody()
    alice = await server.register("alice")
    await named(server, "inner", "x bob x")
    await named(server, "starts", "bobby")
    await named(server, "exact", "Bob")
    found = await search(server, alice.token, "bob")
    assert [user_id[1:].partition(":")[0] for user_id in found] == ["exact", "starts", "inner"]


async def test_result_carries_the_global_profile() -> None:
    server = everybody()
    alice, bob = await server.register("alice"), await server.register("bob")
    for field, value in (("displayname", "Bob B."), ("avatar_url", "mxc://a/b")):
        await server.put(f"/profile/{bob.user_id}/{field}", {field: value}, token=bob.token)
    answer = await server.post("/user_directory/search", {"search_term": "bob"}, token=alice.token)
    expected = {"user_id": bob.user_id, "display_name": "Bob B.", "avatar_url": "mxc://a/b"}
    assert answer.json == {"results": [expected], "limited": False}


async def test_limit_is_kept_and_said() -> None:
    server = everybody()
    alice = await server.register("alice")
    for number in range(12):
        await server.register(f"bob{number:02}")
    answer = await server.post("/user_directory/search", {"search_term": "bob"}, token=alice.token)
    assert (len(answer.json["results"]), answer.json["limited"]) == (10, True)
    answer = await server.post("/user_directory/search", {"search_term": "bob", "limit": 12}, token=alice.token)
    assert (len(answer.json["results"]), answer.json["limited"]) == (12, False)
    assert len(await search(server, alice.token, "bob", limit=10**9)) == 12


@pytest.mark.parametrize("term", ["%", "_", "!", "\\", "'; DROP TABLE accounts; --", "%' OR '1'='1", "*", '"', ""])
async def test_D18_the_term_is_text_and_not_a_pattern(term: str) -> None:
    server = everybody()
    alice = await server.register("alice")
    await server.register("bob")
    assert await search(server, alice.token, term) == []
    assert await server.services.accounts.exists(alice.user_id)


async def test_wildcard_characters_in_names_are_found(server: UserServer) -> None:
    server = everybody()
    alice = await server.register("alice")
    percent = await named(server, "sale", "50% off_season!")
    assert await search(server, alice.token, "0% off_") == [percent]
    assert await search(server, alice.token, "n!") == [percent]


async def test_G07_strangers_are_found_only_through_rooms(server: UserServer) -> None:
    alice = await server.register("alice")
    bob, carol, _ = [await named(server, name, f"The {name}") for name in ("bob", "carol", "dave")]
    assert await search(server, alice.token, "the") == []
    server.services.hooks.acquaintances = Knows(shared={bob, alice.user_id}, public={carol})
    assert await search(server, alice.token, "the") == [bob, carol]
    assert await search(server, alice.token, "alice") == []


async def test_deactivated_people_and_guests_are_not_found() -> None:
    server = everybody()
    alice = await server.register("alice")
    bob = await named(server, "bob", "Bob")
    await server.services.accounts.deactivate(bob, erase=False)
    guest = (await server.post("/register", {}, kind="guest")).json
    await server.put(f"/profile/{guest['user_id']}/displayname", {"displayname": "Bob"}, token=guest["access_token"])
    assert await search(server, alice.token, "bob") == []


async def test_people_of_other_servers_are_found_by_what_their_server_said() -> None:
    server = everybody()
    alice = await server.register("alice")
    await server.db.write(
        lambda txn: server.services.user_directory.set_remote_entry(txn, "@zoe:elsewhere.test", "Zoë", None)
    )
    assert await search(server, alice.token, "zoë") == ["@zoe:elsewhere.test"]
    assert await search(server, alice.token, "elsewhere") == ["@zoe:elsewhere.test"]


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"search_term": 5}, "M_BAD_JSON"),
        ({"search_term": "x", "limit": 0}, "M_INVALID_PARAM"),
        ({"search_term": "x", "limit": "5"}, "M_BAD_JSON"),
    ],
)
async def test_bad_searches_are_refused(server: UserServer, body: Any, errcode: str) -> None:
    alice = await server.register("alice")
    answer = await server.post("/user_directory/search", body, token=alice.token)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)
