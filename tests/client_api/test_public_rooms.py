"""The directory of published rooms, over HTTP, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.rooms.public_rooms import DirectoryQuery
from homeserver.storage.aliases import AliasStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Membership, RoomStore
from tests.support.databases import ONLY_SYNCHRONOUS
from tests.support.server import Server, User, open_server


@pytest.fixture
async def server(database: Database) -> AsyncIterator[Server]:
    made = open_server(database)
    yield made
    await made.homeserver.close()


async def names(user: User, **body: Any) -> list[str]:
    return [one["name"] for one in (await user.post("/publicRooms", body))["chunk"]]


async def public(user: User, name: str, **body: Any) -> str:
    return await user.create_room(name=name, visibility="public", **body)


async def test_listed_rooms_are_shown_to_anybody_the_fullest_first(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    await public(alice, "Small")
    big = await public(alice, "Big", topic="Everything", room_alias_name="big")
    hidden = await alice.create_room(name="Hidden", preset="public_chat")
    await bob.join(big)
    answer = await server.request("GET", "/publicRooms")
    assert answer.status == 200
    assert [one["name"] for one in answer.json["chunk"]] == ["Big", "Small"]
    assert answer.json["total_room_count_estimate"] == 2
    assert answer.json["chunk"][0] == {
        "room_id": big,
        "name": "Big",
        "topic": "Everything",
        "canonical_alias": "#big:halfdoor.test",
        "num_joined_members": 2,
        "join_rule": "public",
        "world_readable": False,
        "guest_can_join": False,
    }
    await alice.put(f"/directory/list/room/{hidden}", {"visibility": "public"})
    await alice.put(f"/directory/list/room/{big}", {"visibility": "private"})
    assert set(await names(bob)) == {"Small", "Hidden"}


async def test_a_change_of_a_listed_room_shows_at_once(server: Server) -> None:
    alice = await server.register()
    room_id = await public(alice, "Before")
    assert await names(alice) == ["Before"]
    renamed = await alice.set_state(room_id, "m.room.name", {"name": "After"})
    assert await names(alice) == ["After"]
    await alice.put(f"/rooms/{room_id}/redact/{renamed}/r1")
    assert "name" not in (await alice.get("/publicRooms"))["chunk"][0]
    await alice.post(f"/rooms/{room_id}/leave")
    assert (await alice.get("/publicRooms"))["chunk"] == []


async def test_the_filter_finds_words_in_any_script_and_room_types(server: Server) -> None:
    alice = await server.register()
    await public(alice, "周末羽毛球俱乐部")
    await public(alice, "Café Olé", topic="coffee and cake")
    await public(alice, "A space", creation_content={"type": "m.space"})
    for term, expected in (
        ("羽", ["周末羽毛球俱乐部"]),
        ("毛球", ["周末羽毛球俱乐部"]),
        ("cafe", ["Café Olé"]),
        ("CAKE coffee", ["Café Olé"]),
        ("%", []),
        ("cake tea", []),
    ):
        assert await names(alice, filter={"generic_search_term": term}) == expected
    assert await names(alice, filter={"room_types": ["m.space"]}) == ["A space"]
    assert set(await names(alice, filter={"room_types": [None]})) == {"周末羽毛球俱乐部", "Café Olé"}
    assert len(await names(alice, filter={"room_types": [None, "m.space"]})) == 3


async def test_pages_go_forwards_and_backwards(server: Server) -> None:
    alice = await server.register()
    for number in range(5):
        await public(alice, f"Room {number}")
    everything = await names(alice)
    first = await alice.get("/publicRooms", limit=2)
    second = await alice.get("/publicRooms", limit=2, since=first["next_batch"])
    third = await alice.get("/publicRooms", limit=2, since=second["next_batch"])
    seen = [one["name"] for page in (first, second, third) for one in page["chunk"]]
    assert seen == everything
    assert "prev_batch" not in first
    assert "next_batch" not in third
    assert (await alice.get("/publicRooms", limit=2, since=third["prev_batch"]))["chunk"] == second["chunk"]
    assert (await alice.request("GET", "/publicRooms", since="!")).json["errcode"] == "M_INVALID_PARAM"


async def test_networks_of_application_services_have_lists_of_their_own(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room(name="Bridged", preset="public_chat")
    await server.homeserver.rooms.public_rooms.change_network("irc", "libera", room_id, published=True)
    assert await names(alice) == []
    assert await names(alice, third_party_instance_id="irc|libera") == ["Bridged"]
    assert await names(alice, third_party_instance_id="irc|oftc") == []
    assert await names(alice, include_all_networks=True) == ["Bridged"]
    refused = await alice.request("PUT", f"/directory/list/appservice/libera/{room_id}", {"visibility": "public"})
    assert refused.status == 403
    both = {"include_all_networks": True, "third_party_instance_id": "irc|libera"}
    assert (await alice.request("POST", "/publicRooms", both)).json["errcode"] == "M_INVALID_PARAM"


@ONLY_SYNCHRONOUS
async def test_ten_thousand_listed_rooms_are_read_once(server: Server, database: Database) -> None:
    store, aliases = RoomStore(database), AliasStore(database)

    async def job(txn: Transaction) -> None:
        for number in range(10_000):
            room_id = f"!r{number}:halfdoor.test"
            store.add_room(txn, room_id, "11", "@a:halfdoor.test", [], 1)
            member = Membership(room_id, "@a:halfdoor.test", "join", f"$m{number}", "@a:halfdoor.test", 1, False)
            store.set_membership(txn, member)
            await aliases.set_published(txn, room_id, published=True)

    await database.write(job)
    assert "11" in ROOM_VERSIONS
    alice = await server.register()
    body = await alice.get("/publicRooms", limit=3)
    assert body["total_room_count_estimate"] == 10_000
    read: list[str] = []
    original = database.fetch_all

    async def counting(sql: str, params: Any = ()) -> Any:
        rows = await original(sql, params)
        read.append(sql)
        return rows

    database.fetch_all = counting  # type: ignore[method-assign]
    await server.homeserver.rooms.public_rooms.page(DirectoryQuery(limit=3, since=body["next_batch"]))
    assert not [sql for sql in read if "memberships" in sql or "current_state" in sql]
