"""Keys of devices over HTTP: published, queried, claimed, counted in /sync."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.encryption.device_keys import MAXIMUM_ALGORITHMS, MAXIMUM_KEYS
from homeserver.protocol import canonical_json
from tests.support.clock import settle
from tests.support.key_material import DeviceMaterial
from tests.support.server import SERVER_NAME, Server, User, open_server

UNSTABLE_FALLBACK = "org.matrix.msc2732.fallback_keys"


def material(user: User, seed: str = "") -> DeviceMaterial:
    return DeviceMaterial(user.user_id, user.device_id, seed)


async def publish(user: User, one_time_keys: int = 0, first: int = 0) -> DeviceMaterial:
    made = material(user)
    await user.post(
        "/keys/upload",
        {"device_keys": made.device_keys(), "one_time_keys": made.one_time_keys(first, one_time_keys)},
    )
    return made


async def claim(user: User, *targets: User, algorithm: str = "signed_curve25519") -> Any:
    wanted: dict[str, dict[str, str]] = {}
    for target in targets:
        wanted.setdefault(target.user_id, {})[target.device_id] = algorithm
    return (await user.post("/keys/claim", {"one_time_keys": wanted}))["one_time_keys"]


async def query(user: User, *others: str) -> Any:
    return await user.post("/keys/query", {"device_keys": {other: [] for other in others}})


async def test_what_a_device_publishes_is_found_by_others(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    phone = await whole_server.log_in("bob", initial_device_display_name="Bob's phone")
    keys, phone_keys = await publish(bob), await publish(phone)
    body = await query(alice, bob.user_id, f"@nobody:{SERVER_NAME}")
    devices = body["device_keys"][bob.user_id]
    assert devices[bob.device_id] == {**keys.device_keys(), "unsigned": {}}
    assert devices[phone.device_id] == {
        **phone_keys.device_keys(),
        "unsigned": {"device_display_name": "Bob's phone"},
    }
    assert body["device_keys"][f"@nobody:{SERVER_NAME}"] == {}
    one = await alice.post("/keys/query", {"device_keys": {bob.user_id: [phone.device_id, "NOWHERE"]}})
    assert list(one["device_keys"][bob.user_id]) == [phone.device_id]


async def test_devices_without_keys_are_not_listed(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    await whole_server.log_in("alice")
    assert (await query(alice, alice.user_id))["device_keys"] == {alice.user_id: {}}


async def test_users_of_other_servers_are_failures_without_federation(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    body = await query(alice, "@x:elsewhere.test")
    assert body["device_keys"] == {}
    assert list(body["failures"]) == ["elsewhere.test"]
    claimed = await alice.post("/keys/claim", {"one_time_keys": {"@x:elsewhere.test": {"D": "signed_curve25519"}}})
    assert (claimed["one_time_keys"], list(claimed["failures"])) == ({}, ["elsewhere.test"])


async def test_B23_device_keys_of_somebody_else_are_refused(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    own = material(alice).device_keys()
    for wrong in (
        material(bob).device_keys(),
        {**own, "device_id": "OTHER"},
        {**own, "user_id": bob.user_id},
        {**own, "keys": {"ed25519:OTHER": "x"}},
        {**own, "keys": {alice.device_id: "x"}},
    ):
        answer = await alice.request("POST", "/keys/upload", {"device_keys": wrong})
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM"), wrong


@pytest.mark.parametrize(
    "change",
    [
        {"keys": {"ed25519:D": 1}},
        {"keys": []},
        {"algorithms": "m.olm"},
        {"algorithms": [None]},
        {"algorithms": ["x"] * 51},
        {"signatures": {"@a:b": "text"}},
        {"signatures": {"@a:b": {"ed25519:D": 1}}},
        {"signatures": None},
        {"user_id": 5},
        {"more": 1.5},
        {"more": 2**60},
    ],
)
async def test_B23_malformed_device_keys_are_refused(whole_server: Server, change: dict[str, Any]) -> None:
    alice = await whole_server.register("alice")
    body = {"device_keys": {**material(alice).device_keys(), **change}}
    answer = await alice.request("POST", "/keys/upload", body)
    assert (answer.status, answer.json["errcode"]) == (400, "M_BAD_JSON")
    assert (await query(alice, alice.user_id))["device_keys"][alice.user_id] == {}


async def test_B23_big_keys_are_refused(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    keys = material(alice)
    big = {"device_keys": {**keys.device_keys(), "more": "x" * 40_000}}
    assert (await alice.request("POST", "/keys/upload", big)).status == 413
    for value in ("x" * 10_000, {"key": "k", "signatures": {}, "more": "x" * 10_000}):
        answer = await alice.request("POST", "/keys/upload", {"one_time_keys": {"signed_curve25519:A": value}})
        assert answer.status == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["user_id", "device_id", "algorithms", "keys", "signatures", "unsigned", "more"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3), keys=st.dictionaries(st.text(), JSON))
async def test_B23_what_was_accepted_is_canonical_and_served(changes: dict[str, Any], keys: dict[str, Any]) -> None:
    server = open_server()
    try:
        alice = await server.register("alice")
        body = {"device_keys": {**material(alice).device_keys(), **changes}, "one_time_keys": keys}
        answer = await alice.request("POST", "/keys/upload", body)
        assert answer.status in (200, 400, 413)
        served = await query(alice, alice.user_id)
        canonical_json.check(served)
        assert bool(served["device_keys"][alice.user_id]) == (answer.status == 200)
        if answer.status == 200:
            found = served["device_keys"][alice.user_id][alice.device_id]
            assert (found["user_id"], found["device_id"]) == (alice.user_id, alice.device_id)
            assert set(found["signatures"]) <= {alice.user_id}
    finally:
        await server.homeserver.close()


async def test_one_time_keys_are_counted_and_given_in_their_order(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    keys = await publish(bob, 2, first=50)
    answer = await bob.post("/keys/upload", {"one_time_keys": keys.one_time_keys(10, 3)})
    assert answer["one_time_key_counts"] == {"signed_curve25519": 5}
    given_out = []
    for _ in range(5):
        ((name, key),) = (await claim(alice, bob))[bob.user_id][bob.device_id].items()
        assert key == keys.one_time_keys(int(name.removeprefix("signed_curve25519:AAAA")), 1)[name]
        given_out.append(name)
    assert {name[-2:] for name in given_out[:2]} == {"50", "51"}
    assert len(set(given_out)) == 5
    assert await claim(alice, bob) == {}


async def test_key_id_with_another_key_is_refused_whole(whole_server: Server) -> None:
    bob = await whole_server.register("bob")
    await publish(bob, 3)
    other = material(bob, "another seed")
    answer = await bob.request("POST", "/keys/upload", {"one_time_keys": other.one_time_keys(2, 3)})
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNKNOWN")
    assert answer.json["error"].startswith("One time key signed_curve25519:AAAA2 already exists. Old key: {")
    again = await bob.post("/keys/upload", {"one_time_keys": material(bob).one_time_keys(1, 2)})
    assert again["one_time_key_counts"] == {"signed_curve25519": 3}


async def test_D10_oldest_keys_go_when_there_are_too_many(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    keys = await publish(bob)
    for start in range(0, MAXIMUM_KEYS + 100, 100):
        answer = await bob.post("/keys/upload", {"one_time_keys": keys.one_time_keys(start, 100)})
    assert answer["one_time_key_counts"] == {"signed_curve25519": MAXIMUM_KEYS}
    ((name, _),) = (await claim(alice, bob))[bob.user_id][bob.device_id].items()
    assert int(name.removeprefix("signed_curve25519:AAAA")) >= 100
    too_many = {"one_time_keys": keys.one_time_keys(0, MAXIMUM_KEYS + 1)}
    assert (await bob.request("POST", "/keys/upload", too_many)).status == 413


async def test_D10_many_algorithms_are_no_way_around_the_limit(whole_server: Server) -> None:
    bob = await whole_server.register("bob")
    many = {f"algorithm{number}:A": "key" for number in range(MAXIMUM_ALGORITHMS + 1)}
    for member in ("one_time_keys", "fallback_keys", UNSTABLE_FALLBACK):
        assert (await bob.request("POST", "/keys/upload", {member: many})).status == 413
    half = {f"algorithm{number}:A": "key" for number in range(MAXIMUM_ALGORITHMS)}
    await bob.post("/keys/upload", {"one_time_keys": half})
    answer = await bob.request("POST", "/keys/upload", {UNSTABLE_FALLBACK: {"another:A": "key"}})
    assert answer.status == 413


async def test_D10_alias_of_fallback_keys_holds_no_second_key(whole_server: Server) -> None:
    bob = await whole_server.register("bob")
    keys = material(bob)
    body = {
        "fallback_keys": keys.one_time_keys(1, 1, fallback=True),
        UNSTABLE_FALLBACK: keys.one_time_keys(2, 1, fallback=True),
    }
    answer = await bob.request("POST", "/keys/upload", body)
    assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")


async def test_fallback_key_is_given_when_there_is_no_other_until_it_is_replaced(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    keys = await publish(bob, 1)
    fallback = keys.one_time_keys(100, 1, fallback=True)
    await bob.post("/keys/upload", {"fallback_keys": fallback})
    synced = await bob.sync()
    assert synced["device_one_time_keys_count"] == {"signed_curve25519": 1}
    for name in ("device_unused_fallback_key_types", "org.matrix.msc2732.device_unused_fallback_key_types"):
        assert synced[name] == ["signed_curve25519"]
    assert (await claim(alice, bob))[bob.user_id][bob.device_id] == keys.one_time_keys(0, 1)
    for _ in range(2):
        assert (await claim(alice, bob))[bob.user_id][bob.device_id] == fallback
    synced = await bob.sync()
    assert synced["device_one_time_keys_count"] == {"signed_curve25519": 0}
    assert synced["device_unused_fallback_key_types"] == []
    await bob.post("/keys/upload", {"fallback_keys": fallback})
    assert (await bob.sync())["device_unused_fallback_key_types"] == []
    await bob.post("/keys/upload", {UNSTABLE_FALLBACK: keys.one_time_keys(101, 1, fallback=True)})
    assert (await bob.sync())["device_unused_fallback_key_types"] == ["signed_curve25519"]


async def test_counts_are_in_every_answer_and_are_no_news_by_themselves(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await publish(bob, 2)
    await bob.sync()
    waiting = asyncio.ensure_future(bob.sync(timeout=30_000))
    await settle()
    await claim(alice, bob)
    await settle()
    assert not waiting.done()
    await whole_server.clock.advance(31)
    body = await waiting
    assert body["device_one_time_keys_count"] == {"signed_curve25519": 1}
    assert "device_lists" not in body


@pytest.mark.parametrize("rounds", range(2))
async def test_no_one_time_key_is_ever_given_twice(stored_server: Server, rounds: int) -> None:
    bob = await stored_server.register("bob")
    people = [await stored_server.register(f"user{number}") for number in range(4)]
    keys = await publish(bob, 40)

    async def take(person: User) -> list[str]:
        found: list[str] = []
        for _ in range(13):
            answer = await claim(person, bob)
            found += answer.get(bob.user_id, {}).get(bob.device_id, {})
        return found

    async def upload() -> list[str]:
        await bob.post("/keys/upload", {"one_time_keys": keys.one_time_keys(40, 10)})
        return []

    given_out = [name for names in await asyncio.gather(*map(take, people), upload()) for name in names]
    assert len(given_out) == 50
    assert len(set(given_out)) == 50


async def test_keys_of_one_upload_are_claimed_by_one_request_for_many_devices(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    phone = await whole_server.log_in("bob")
    await publish(bob, 1)
    await publish(phone, 1)
    found = await claim(alice, bob, phone)
    assert set(found[bob.user_id]) == {bob.device_id, phone.device_id}
    assert await claim(alice, bob, algorithm="nothing") == {}


async def test_F16_keys_go_with_the_device(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    keys = await publish(bob, 2)
    await bob.post("/keys/upload", {"fallback_keys": keys.one_time_keys(9, 1, fallback=True)})
    await bob.post("/logout")
    assert (await query(alice, bob.user_id))["device_keys"] == {bob.user_id: {}}
    assert await claim(alice, bob) == {}


async def test_other_identity_keys_take_away_what_the_old_ones_signed(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await publish(bob, 2)
    other = material(bob, "another seed")
    answer = await bob.post(
        "/keys/upload", {"device_keys": other.device_keys(), "one_time_keys": other.one_time_keys(0, 1)}
    )
    assert answer["one_time_key_counts"] == {"signed_curve25519": 1}
    assert (await claim(alice, bob))[bob.user_id][bob.device_id] == other.one_time_keys(0, 1)


async def test_guests_may_use_keys_and_not_ask_for_changes(whole_server: Server) -> None:
    answer = await whole_server.request("POST", "/register", {}, kind="guest")
    guest = User(whole_server, answer.json["user_id"], answer.json["access_token"], answer.json["device_id"])
    await publish(guest, 1)
    assert (await query(guest, guest.user_id))["device_keys"][guest.user_id]
    assert (await guest.request("GET", "/keys/changes", **{"from": "s1_0", "to": "s2_0"})).status == 403


async def test_changes_are_told_to_those_who_share_a_room(whole_server: Server) -> None:
    alice, bob, eve = [await whole_server.register(name) for name in ("alice", "bob", "eve")]
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    for user in (alice, bob, eve):
        await user.sync()
    began = alice.since
    await publish(bob)
    assert (await alice.sync())["device_lists"] == {"changed": [bob.user_id], "left": []}
    assert (await bob.sync())["device_lists"] == {"changed": [bob.user_id], "left": []}
    assert "device_lists" not in await eve.sync()
    changes = await alice.get("/keys/changes", **{"from": began, "to": alice.since})
    assert changes == {"changed": [bob.user_id], "left": []}
    assert (await alice.get("/keys/changes", **{"from": alice.since, "to": alice.since}))["changed"] == []
    await publish(bob)
    assert "device_lists" not in await alice.sync()
    await eve.join(room)
    assert eve.user_id in (await alice.sync())["device_lists"]["changed"]
    assert {alice.user_id, bob.user_id} <= set((await eve.sync())["device_lists"]["changed"])
    await bob.post(f"/rooms/{room}/leave")
    assert (await alice.sync())["device_lists"] == {"changed": [], "left": [bob.user_id]}
    assert set((await bob.sync())["device_lists"]["left"]) == {alice.user_id, eve.user_id}
    changes = await alice.get("/keys/changes", **{"from": began, "to": alice.since})
    assert changes == {"changed": [eve.user_id], "left": [bob.user_id]}


async def test_users_who_still_share_another_room_have_not_left(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room in rooms:
        await bob.join(room)
    await alice.sync()
    await bob.post(f"/rooms/{rooms[0]}/leave")
    assert "device_lists" not in await alice.sync()
    await alice.post(f"/rooms/{rooms[1]}/kick", {"user_id": bob.user_id})
    assert (await alice.sync())["device_lists"]["left"] == [bob.user_id]


async def test_logging_in_for_the_first_time_wakes_those_who_share_a_room(whole_server: Server) -> None:
    """Also when nobody of the user's devices is syncing."""
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    await alice.sync()
    waiting = asyncio.ensure_future(alice.sync(timeout=30_000))
    await settle()
    await publish(bob)
    body = await asyncio.wait_for(waiting, 60)
    assert body["device_lists"]["changed"] == [bob.user_id]
