"""Full-text search, over HTTP, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.storage.database import Database
from tests.support.databases import ONLY_SYNCHRONOUS
from tests.support.server import Server, User, open_server


@pytest.fixture
async def server(database: Database) -> AsyncIterator[Server]:
    made = open_server(database)
    yield made
    await made.homeserver.close()


async def search(user: User, term: str, *, next_batch: str | None = None, **more: Any) -> Any:
    body = {"search_categories": {"room_events": {"search_term": term, **more}}}
    query = {} if next_batch is None else {"next_batch": next_batch}
    return (await user.post("/search", body, **query))["search_categories"]["room_events"]


async def found(user: User, term: str, **more: Any) -> list[str]:
    return [one["result"]["event_id"] for one in (await search(user, term, **more))["results"]]


async def test_a_message_just_sent_is_found_by_its_words(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room(name="Engine room", topic="all about turbines")
    said = await alice.say(room_id, "The Café opens at nine, see example.com")
    await alice.say(room_id, "something else")
    assert await found(alice, "cafe") == [said]
    assert await found(alice, "NINE opens") == [said]
    assert await found(alice, "example.com") == [said]
    assert await found(alice, "nine tomorrow") == []
    assert await found(alice, "example.org") == []
    assert await found(alice, "  ?! ") == []
    body = await search(alice, "Opens Nine")
    assert body["count"] == 1
    assert body["highlights"] == ["opens", "nine"]
    assert body["results"][0]["rank"] > 0
    assert len(await found(alice, "turbines", keys=["content.topic"])) == 1
    assert await found(alice, "turbines", keys=["content.body"]) == []
    assert len(await found(alice, "engine", keys=["content.name"])) == 1


async def test_chinese_is_found_by_one_two_and_more_characters(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    said = await alice.say(room_id, "您好，请问周末营业吗？")
    other = await alice.say(room_id, "末日")
    assert await found(alice, "周末") == [said]
    assert await found(alice, "周末营业") == [said]
    assert await found(alice, "营末") == []
    assert set(await found(alice, "末")) == {said, other}
    assert await found(alice, "吗") == [said]


async def test_G04_a_redaction_and_an_edit_change_what_is_found(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    said = await alice.say(room_id, "password hunter2")
    edited = await alice.say(room_id, "first wording")
    assert await found(alice, "hunter2") == [said]
    await alice.put(f"/rooms/{room_id}/redact/{said}/r1")
    assert await found(alice, "hunter2") == []
    relation = {"m.relates_to": {"rel_type": "m.replace", "event_id": edited}}
    new_content = {"msgtype": "m.text", "body": "second phrase"}
    edit = await alice.say(room_id, "* second phrase", **relation, **{"m.new_content": new_content})
    assert await found(alice, "wording") == []
    body = await search(alice, "phrase")
    assert [one["result"]["event_id"] for one in body["results"]] == [edited]
    assert body["results"][0]["result"]["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit
    await alice.put(f"/rooms/{room_id}/redact/{edit}/r2")
    assert await found(alice, "phrase") == []
    assert await found(alice, "wording") == [edited]
    await alice.put(f"/rooms/{room_id}/redact/{edited}/r3")
    assert await found(alice, "wording") == []


async def test_G04_the_index_holds_no_words_that_somebody_said(server: Server, database: Database) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    await alice.say(room_id, "xylophone")
    assert len(await found(alice, "xylophone")) == 1
    columns = "terms" if database.dialect == "sqlite" else "CAST(terms AS TEXT)"
    kept = str(await database.fetch_all(f"SELECT {columns} FROM search_terms"))
    assert len(kept) > 10
    assert "xyloph" not in kept


async def test_G05_only_what_the_user_may_see_is_found(server: Server) -> None:
    alice, bob, eve = await server.register(), await server.register("bob"), await server.register("eve")
    joined_only = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
    room_id = await alice.create_room(preset="public_chat", initial_state=[joined_only])
    await alice.say(room_id, "needle one")
    await bob.join(room_id)
    second = await alice.say(room_id, "needle two")
    await bob.post(f"/rooms/{room_id}/leave")
    await alice.say(room_id, "needle three")
    assert await found(bob, "needle") == [second]
    body = await search(bob, "needle")
    assert body["count"] == 1
    assert await found(eve, "needle") == []
    assert len(await found(alice, "needle")) == 3
    await bob.post(f"/rooms/{room_id}/forget")
    assert await found(bob, "needle") == []


async def test_left_world_readable_rooms_are_found_up_to_leaving(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    world = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    room_id = await alice.create_room(preset="public_chat", initial_state=[world])
    await bob.join(room_id)
    first = await alice.say(room_id, "needle one")
    await bob.post(f"/rooms/{room_id}/leave")
    await alice.say(room_id, "needle two")
    assert await found(bob, "needle") == [first]


@pytest.mark.parametrize("order_by", ["recent", "rank"])
async def test_pages_follow_one_another_without_gaps(server: Server, order_by: str) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    said = [await alice.say(room_id, f"apple number {number}") for number in range(7)]
    seen: list[str] = []
    next_batch: str | None = None
    while True:
        body = await search(alice, "apple", order_by=order_by, filter={"limit": 3}, next_batch=next_batch)
        seen += [one["result"]["event_id"] for one in body["results"]]
        next_batch = body.get("next_batch")
        if next_batch is None:
            break
        await alice.say(room_id, "a newer apple")
    assert sorted(seen) == sorted(said)
    if order_by == "recent":
        assert seen == list(reversed(said))
    refused = await alice.request(
        "POST", "/search", {"search_categories": {"room_events": {"search_term": "apple"}}}, next_batch="x!"
    )
    assert refused.json["errcode"] == "M_INVALID_PARAM"


async def test_the_better_match_comes_first_by_rank(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    best = await alice.say(room_id, "apple apple apple")
    await alice.say(room_id, "an apple among very many other words which are not about fruit at all, are they")
    assert (await found(alice, "apple", order_by="rank"))[0] == best
    assert (await found(alice, "apple", order_by="recent"))[0] != best


async def test_context_profiles_state_and_groups_come_along(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    await bob.put(f"/profile/{bob.user_id}/displayname", {"displayname": "Bob"})
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    before = [await alice.say(room_id, f"before {number}") for number in range(3)]
    hit = await bob.say(room_id, "needle")
    after = [await alice.say(room_id, f"after {number}") for number in range(3)]
    body = await search(
        alice,
        "needle",
        event_context={"before_limit": 2, "after_limit": 1, "include_profile": True},
        include_state=True,
        groupings={"group_by": [{"key": "room_id"}, {"key": "sender"}]},
    )
    context = body["results"][0]["context"]
    assert [event["event_id"] for event in context["events_before"]] == [before[2], before[1]]
    assert [event["event_id"] for event in context["events_after"]] == [after[0]]
    assert context["profile_info"][bob.user_id] == {"displayname": "Bob"}
    earlier = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1, **{"from": context["start"]})
    assert earlier["chunk"][0]["event_id"] == before[0]
    assert body["groups"]["room_id"][room_id] == {"order": 0, "results": [hit]}
    assert body["groups"]["sender"][bob.user_id]["results"] == [hit]
    assert {"m.room.create", "m.room.member"} <= {event["type"] for event in body["state"][room_id]}


async def test_a_group_is_paged_by_itself(server: Server) -> None:
    alice = await server.register()
    rooms = [await alice.create_room() for _ in range(2)]
    for number in range(6):
        await alice.say(rooms[number % 2], f"pear {number}")
    wanted: dict[str, Any] = {
        "order_by": "recent",
        "filter": {"limit": 2},
        "groupings": {"group_by": [{"key": "room_id"}]},
    }
    assert rooms[0] != rooms[1]
    group = (await search(alice, "pear", **wanted))["groups"]["room_id"][rooms[0]]
    rest = await search(alice, "pear", next_batch=group["next_batch"], **wanted)
    assert [one["result"]["content"]["body"] for one in rest["results"]] == ["pear 2", "pear 0"]


async def test_the_filter_keeps_to_rooms_senders_and_types(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room_id in rooms:
        await bob.join(room_id)
    by_alice, by_bob = await alice.say(rooms[0], "needle"), await bob.say(rooms[1], "needle")
    assert await found(alice, "needle", filter={"rooms": [rooms[0]]}) == [by_alice]
    assert await found(alice, "needle", filter={"not_rooms": [rooms[0]]}) == [by_bob]
    assert await found(alice, "needle", filter={"senders": [bob.user_id]}) == [by_bob]
    assert await found(alice, "needle", filter={"types": ["m.room.name"]}) == []
    ignored: dict[str, Any] = {"ignored_users": {bob.user_id: {}}}
    await alice.put(f"/user/{alice.user_id}/account_data/m.ignored_user_list", ignored)
    assert await found(alice, "needle") == [by_alice]


async def test_the_index_goes_on_where_it_stopped_after_a_restart(server: Server, database: Database) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    first = await alice.say(room_id, "needle one")
    assert await found(alice, "needle") == [first]
    second = await alice.say(room_id, "needle two")
    again = open_server(database)
    alice.server = again
    assert set(await found(alice, "needle")) == {first, second}
    await again.homeserver.close()


@ONLY_SYNCHRONOUS
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(
            [
                "' OR 1=1 --",
                '"',
                "NEAR(a b)",
                "a* OR b",
                "terms:x",
                "^a",
                "a AND NOT b",
                "\\",
                "%",
                "a & | !b <-> c:*",
                "?",
            ]
        ),
    )
)
async def test_D18_no_query_breaks_the_search(server: Server, term: str) -> None:
    if "\0" in term or any("\ud800" <= char <= "\udfff" for char in term):
        return
    user = getattr(server, "searcher", None)
    if user is None:
        user = await server.register()
        await user.say(await user.create_room(), "a b c terms x")
        server.__dict__["searcher"] = user
    assert isinstance((await search(user, term))["count"], int)


async def test_D18_operators_of_the_engines_are_only_words(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    await alice.say(room_id, "apple")
    for term in ('apple" OR "pear', "apple OR pear", "pear | apple", "app*", "NOT pear", "terms:apple", "apple:*x"):
        assert await found(alice, term) == []
    wrong = {"search_categories": {"room_events": {"search_term": 3}}}
    assert (await alice.request("POST", "/search", wrong)).status == 400
