"""Requests and answers that lie (rows B01-B30 of the known attacks, and A14, A20)."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.federation.lies import Scene, check_signed_by_us
from tests.support.federation import FederatedServer, Network, settle
from tests.support.http import Answer
from tests.support.liar import V1, V2, Liar

ALICE = "@alice:one.test"


async def bring_invite(
    liar: Liar, one: FederatedServer, event: Any, *, version: str = "11", room_id: str = "!lies:liar.test", **body: Any
) -> Answer:
    target = f"{V2}/invite/{quote(room_id, safe='')}/{quote(body.pop('event_id', event.event_id), safe='')}"
    said = {"room_version": version, "event": event.pdu, "invite_room_state": [], **body}
    return await liar.request(one, "PUT", target, said)


@pytest.mark.parametrize(
    "changes",
    [
        {"content": {"membership": "leave"}},
        {"content": {"membership": "ban"}},
        {"content": {"membership": "join"}},
        {"content": {"membership": "knock"}},
        {"content": {"membership": ["invite"]}},
        {"content": {}},
        {"type": "m.room.power_levels"},
        {"type": "m.room.message"},
        {"state_key": "@mallory:liar.test"},
        {"state_key": "@nobody:one.test"},
        {"state_key": ""},
        {"sender": ALICE},
        {"sender": "@bob:two.test"},
        {"room_id": "!other:liar.test"},
        {"hashes": 7},
        {"depth": 2**60},
        {"auth_events": "$x"},
    ],
)
async def test_B01_nothing_but_an_invite_of_ours_by_theirs_is_signed(
    network: Network, one: FederatedServer, changes: dict[str, Any]
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    room = liar.make_room()
    good = liar.event(room, "m.room.member", {"membership": "invite"}, state_key=ALICE)
    lie = liar.seal(good.pdu, room.version, **changes)
    refused = await bring_invite(liar, one, lie)
    assert 400 <= refused.status < 500
    assert "one.test" not in refused.json.get("event", {}).get("signatures", {})
    assert b"signatures" not in refused.body
    assert (await bring_invite(liar, one, good, event_id="$" + "x" * 43)).status == 400
    assert (await bring_invite(liar, one, good, version="no such")).status == 400
    assert (await bring_invite(liar, one, good, version="1")).status == 400
    signed = await bring_invite(liar, one, good)
    assert signed.status == 200
    check_signed_by_us(signed.json["event"], "one.test")
    assert room.room_id in (await alice.sync())["rooms"]["invite"]


FORGED: list[dict[str, Any]] = [
    {"type": "m.room.power_levels"},
    {"type": "m.room.message"},
    {"sender": "@admin:one.test"},
    {"state_key": "@admin:one.test"},
    {"state_key": "@mallory:liar.test"},
    {"room_id": "!other:liar.test"},
    {"content": {"membership": "ban"}},
    {"content": {"membership": "invite"}},
    {"content": {"membership": "join", "displayname": "Fool"}},
    {"content": {"membership": "join", "join_authorised_via_users_server": "@bob:one.test"}},
    {"content": []},
    {"content": "x"},
    {"origin": "evil.test"},
    {"origin_server_ts": 1},
    {"redacts": "$x"},
    {"unsigned": {"age": 1}},
    {"hashes": {"sha256": "x"}},
    {"signatures": {"one.test": {"ed25519:k0": "x"}}},
    {"depth": 2**70},
    {"depth": "deep"},
    {"prev_events": None},
    {"prev_events": [["$x", {}]]},
    {"auth_events": 7},
]


@pytest.mark.parametrize("changes", FORGED, ids=str)
async def test_B02_forged_templates_change_nothing_of_what_is_signed(
    network: Network, one: FederatedServer, changes: dict[str, Any]
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    room = liar.make_room()
    template = liar.template(room, ALICE)
    forged = {**template, "event": {**template["event"], **changes}}
    liar.answers = {"/make_join/": (200, forged), "/send_join/": (200, liar.told_state(room))}
    answer = await alice.request("POST", f"/join/{room.room_id}", {}, via=liar.name)
    assert answer.status in (200, 400, 403, 502), answer.body
    for pdu in liar.received():
        assert (pdu["type"], pdu["sender"], pdu["state_key"]) == ("m.room.member", ALICE, ALICE)
        assert pdu["room_id"] == room.room_id
        assert pdu["content"] == {"membership": "join"} or pdu["content"].keys() <= {"membership", "displayname"}
        assert pdu["content"]["membership"] == "join"
        assert pdu["content"].get("displayname") != "Fool"
        assert {"redacts", "unsigned"}.isdisjoint(pdu)
        assert pdu["origin_server_ts"] > 1
    for verb in ("leave", "knock"):
        liar.answers = {f"/make_{verb}/": (200, forged), f"/send_{verb}/": (200, {})}
        path = f"/rooms/{room.room_id}/leave" if verb == "leave" else f"/knock/{room.room_id}?via={liar.name}"
        assert (await alice.request("POST", path, {})).status < 503
    for pdu in liar.received():
        assert (pdu["type"], pdu["sender"], pdu["state_key"]) == ("m.room.member", ALICE, ALICE)


@pytest.mark.parametrize("verb", ["join", "leave", "knock"])
async def test_B03_what_the_path_says_is_what_the_event_is(scene: Scene, verb: str) -> None:
    one, liar = scene.one, scene.liar
    other = await scene.alice.create_room(preset="public_chat", room_version="11")
    before, rooms = await scene.state(), one.homeserver.rooms.live
    version = "v1" if verb == "knock" else "v2"

    async def send(event: Any, room_id: str = scene.room_id, event_id: str | None = None) -> int:
        path = f"{quote(room_id, safe='')}/{quote(event_id or event.event_id, safe='')}"
        body = event if isinstance(event, dict) else event.pdu
        return (await liar.request(one, "PUT", f"/_matrix/federation/{version}/send_{verb}/{path}", body)).status

    def member(user: str, membership: Any = verb, **changes: Any) -> Any:
        content = {"membership": membership}
        return liar.event(scene.room, "m.room.member", content, **{"state_key": user, "sender": user, **changes})

    new = "@new:liar.test"
    wrong = {"join": "leave", "leave": "join", "knock": "join"}[verb]
    assert 400 <= await send(member(new), other) < 500
    assert 400 <= await send(member(new), event_id="$" + "x" * 43) < 500
    assert 400 <= await send(member(new, wrong)) < 500
    assert 400 <= await send(member(new, [verb])) < 500
    assert 400 <= await send(member(ALICE)) < 500
    assert 400 <= await send(member("@bob:two.test")) < 500
    assert 400 <= await send(member(new, state_key="@else:liar.test")) < 500
    assert 400 <= await send(member(new, type="m.room.topic")) < 500
    unsigned = {key: value for key, value in member(new).pdu.items() if key != "signatures"}
    bare: list[Any] = [unsigned, {**unsigned, "signatures": {}}, {}, {"room_id": []}, {"type": "m.room.member"}]
    for junk in bare:
        assert 400 <= await send(junk, event_id="$" + "x" * 43) < 500
    authorised = {
        "type": "m.room.member",
        "content": {"membership": "join", "join_authorised_via_users_server": ALICE},
    }
    names: list[Any] = [[], {}, 7, None, other]
    for room_id in names:
        assert 400 <= await send({**authorised, "room_id": room_id}, event_id="$" + "x" * 43) < 500
    assert await scene.state() == before
    assert (await rooms.get(other)).membership(new) == "leave"
    await scene.good_event_arrives()


async def test_B04_A20_of_a_bad_answer_to_a_join_only_what_fails_is_dropped(
    network: Network, one: FederatedServer
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    room = liar.make_room()
    true = liar.told_state(room)
    foreign = liar.event(room, "m.room.topic", {"topic": "forged"}, state_key="", sender="@bob:two.test")
    stolen = liar.event(room, "m.room.member", {"membership": "join"}, state_key=ALICE, sender=ALICE)
    power = liar.event(room, "m.room.name", {"name": "by whom?"}, state_key="", sender="@x:liar.test")
    junk: list[Any] = [foreign.pdu, stolen.pdu, power.pdu, None, 7, "x", {}, {"type": []}]
    liar.answers = {
        "/make_join/": (200, liar.template(room, ALICE)),
        "/send_join/": (200, {**true, "state": [*junk, *true["state"]], "auth_chain": [*junk, *true["auth_chain"]]}),
    }
    await alice.post(f"/join/{room.room_id}", {}, via=liar.name)
    here = await one.homeserver.rooms.live.get(room.room_id)
    assert set(here.state_ids) == {*room.state, ("m.room.member", ALICE)}
    said = await alice.say(room.room_id, "in")
    await settle(one)
    assert said in [
        event["event_id"] for event in (await alice.get(f"/rooms/{room.room_id}/messages", dir="b"))["chunk"]
    ]


def _without(room: Any, key: tuple[str, str]) -> list[Any]:
    return [event.pdu for event in room.state.values() if event.key != key]


@pytest.mark.parametrize(
    "lie", ["no create", "other version", "two creates", "no rules", "no lists", "other room", "junk"]
)
async def test_B04_A14_a_state_without_its_foundation_is_no_room_and_the_next_server_is_asked(
    network: Network, one: FederatedServer, two: FederatedServer, lie: str
) -> None:
    liar, bob, alice = Liar(network), await two.register("bob"), await one.register("alice")
    room_id = await bob.create_room(preset="public_chat", room_version="11")
    room = liar.make_room("11", room_id)
    state: Any = {
        "no create": _without(room, ("m.room.create", "")),
        "other version": [event.pdu for event in liar.make_room("10", room_id).state.values()],
        "two creates": [*_without(room, ("", "")), *[e.pdu for e in liar.make_room("11", room_id).state.values()]],
        "no rules": _without(room, ("m.room.join_rules", "")),
        "no lists": 7,
        "other room": [event.pdu for event in liar.make_room("11", "!else:liar.test").state.values()],
        "junk": [[], {}, None],
    }[lie]
    liar.answers = {
        "/make_join/": (200, liar.template(room, ALICE)),
        "/send_join/": (200, {"state": state, "auth_chain": state}),
    }
    answer = await alice.request("POST", f"/join/{room_id}", {}, via=[liar.name, two.name])
    assert answer.status == 200, answer.body
    await alice.say(room_id, "真的")
    await settle(one, two)
    assert (await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=1))["chunk"][0]["content"]["body"] == "真的"
    for pdu in liar.received():
        check_signed_by_us(pdu, "one.test")


async def test_B05_every_door_checks_signatures(scene: Scene) -> None:
    """A forged event of Alice's is brought by each way that events come in."""
    for_ever = scene.liar.event(scene.room, content={"body": "forged"}, sender=ALICE)
    topic = scene.liar.event(scene.room, "m.room.topic", {"topic": "forged"}, state_key="", sender=ALICE)
    forged = [for_ever, topic]
    for event in forged:
        assert "error" in (await scene.liar.send(scene.one, event))[event.event_id]
    pdus = [event.pdu for event in forged]
    ids = [event.event_id for event in forged]
    scene.liar.answers = {
        "/get_missing_events/": (200, {"events": pdus}),
        "/backfill/": (200, {"pdus": pdus}),
        "/event_auth/": (200, {"auth_chain": pdus}),
        "/state_ids/": (200, {"pdu_ids": ids, "auth_chain_ids": ids}),
        "/state/": (200, {"pdus": pdus, "auth_chain": pdus}),
        "/event/": (200, {"pdus": pdus}),
    }
    for lie in (scene.liar.event(scene.room, prev=[for_ever]), scene.liar.event(scene.room, auth=[topic])):
        await scene.liar.send(scene.one, lie)
    rows = await scene.one.homeserver.db.fetch_all("SELECT event_id FROM events")
    assert not {row[0] for row in rows} & set(ids)
    await scene.good_event_arrives()


HOSTS = ["liar.test", "LIAR.test", "liar.test:8448", "LIAR.TEST:443"]


@pytest.mark.parametrize("name", HOSTS)
async def test_B12_who_is_denied_is_denied_by_every_spelling_and_on_every_way(
    network: Network, one: FederatedServer, name: str
) -> None:
    alice, liar = await one.register("alice"), Liar(network, name)
    room_id = await alice.create_room(preset="public_chat", room_version="11")
    room = await liar.join(one, room_id)
    await alice.set_state(room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["Liar.*"]})
    await settle(one)
    said = liar.event(room)
    assert "error" in (await liar.send(one, said))[said.event_id]
    typing = {"edu_type": "m.typing", "content": {"room_id": room_id, "user_id": liar.user, "typing": True}}
    read = {"m.read": {liar.user: {"event_ids": [room.last.event_id], "data": {"ts": 1}}}}
    await liar.send(one, edus=[typing, {"edu_type": "m.receipt", "content": {room_id: read}}])
    ephemeral = (await alice.sync())["rooms"]["join"][room_id].get("ephemeral", {}).get("events", [])
    assert ephemeral == []
    for method, target, body in room_requests(room_id, room.last.event_id, liar.user):
        answer = await liar.request(one, method, target, body)
        assert answer.status in (400, 403, 404), target
        assert b"m.room.create" not in answer.body


def room_requests(room_id: str, event_id: str, user: str) -> list[tuple[str, str, Any]]:
    """One request of each endpoint that is about a room."""
    room, event, who = (quote(one, safe="") for one in (room_id, event_id, user))
    body = {"type": "m.room.member", "room_id": room_id, "sender": user, "state_key": user, "content": {}}
    earlier = {"earliest_events": [], "latest_events": [event_id], "limit": 10, "min_depth": 0}
    return [
        ("GET", f"{V1}/make_leave/{room}/{who}", None),
        ("PUT", f"{V2}/send_join/{room}/{event}", body),
        ("PUT", f"{V2}/send_leave/{room}/{event}", body),
        ("PUT", f"{V1}/send_knock/{room}/{event}", body),
        ("GET", f"{V1}/event/{event}", None),
        ("GET", f"{V1}/state/{room}?event_id={event}", None),
        ("GET", f"{V1}/state_ids/{room}?event_id={event}", None),
        ("GET", f"{V1}/event_auth/{room}/{event}", None),
        ("GET", f"{V1}/backfill/{room}?v={event}&limit=10", None),
        ("POST", f"{V1}/get_missing_events/{room}", earlier),
        ("GET", f"{V1}/timestamp_to_event/{room}?ts=1&dir=f", None),
        ("GET", f"{V1}/hierarchy/{room}", None),
        ("GET", f"{V1}/make_knock/{room}/{who}?ver=11", None),
        ("GET", f"{V1}/make_join/{room}/{who}?ver=11", None),
    ]


async def test_B20_a_server_that_is_in_no_room_reads_of_none(network: Network, one: FederatedServer) -> None:
    stranger, alice = Liar(network, "stranger.test"), await one.register("alice")
    room_id = await alice.create_room(preset="private_chat", room_version="11", name="geheim")
    said = await alice.say(room_id, "geheim")
    for event_id in (said, (await one.homeserver.rooms.live.get(room_id)).state_ids["m.room.name", ""]):
        for method, target, body in room_requests(room_id, event_id, stranger.user):
            answer = await stranger.request(one, method, target, body)
            assert answer.status in (400, 403, 404), target
            assert b"geheim" not in answer.body


async def test_B18_B19_events_of_another_room_are_not_told_under_this_one(scene: Scene) -> None:
    other = await scene.alice.create_room(preset="private_chat", room_version="11", name="geheim")
    said = await scene.alice.say(other, "geheim")
    last = await scene.alice.say(other, "geheim too")
    state = list((await scene.one.homeserver.rooms.live.get(other)).state_ids.values())
    for event_id in (said, last, *state):
        for method, target, body in room_requests(scene.room_id, event_id, scene.liar.user)[4:10]:
            answer = await scene.liar.request(scene.one, method, target, body)
            empty = answer.json.get("pdus") == [] or answer.json.get("events") == []
            assert answer.status in (403, 404) or empty, target
            assert b"geheim" not in answer.body
            assert other.encode() not in answer.body
    await scene.good_event_arrives()


JUNK_STATES: list[Any] = [
    7, {}, "x", None, [7, "x", None, []], [{}] * 5000, [{"type": "m.room.name", "state_key": "", "sender": "x"}],
    [{"type": "m.room.name", "state_key": "", "sender": who, "content": {}} for who in ("x", "", "@", "@a", "m.")],
    [{"type": 1, "state_key": [], "sender": {}, "content": "x"}], [[[[]]]],
    [{"type": "m.room.name", "state_key": "", "sender": "@m:liar.test", "content": {"name": "x" * 200_000}}],
    [{"type": "m.room.name", "state_key": "", "sender": "@m:liar.test", "content": {"name": [1.5, {}]}}] * 300,
    [{"type": "m.room.create", "state_key": "", "sender": "@m:liar.test", "content": {"room_version": 1e308}}],
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK_STATES, ids=range(len(JUNK_STATES)))
async def test_B14_B15_junk_in_what_is_told_of_a_room_breaks_no_sync(
    network: Network, one: FederatedServer, junk: Any
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    room = liar.make_room()
    invite = liar.event(room, "m.room.member", {"membership": "invite"}, state_key=ALICE)
    answer = await bring_invite(liar, one, invite, invite_room_state=junk)
    assert answer.status < 500
    whole = await alice.request("GET", "/sync")
    assert whole.status == 200
    assert len(whole.body) < 150_000
    assert (await alice.request("GET", "/sync", since=whole.json["next_batch"])).status == 200


ERRORS = [
    (401, "M_UNKNOWN_TOKEN"), (401, "M_MISSING_TOKEN"), (403, "M_UNKNOWN_TOKEN"), (400, "M_UNKNOWN_TOKEN"),
    (403, "M_USER_DEACTIVATED"), (403, "M_CONSENT_NOT_GIVEN"), (404, "M_UNKNOWN_TOKEN"),
    (403, "M_USER_LOCKED"),
    (401, "M_FORBIDDEN"), (401, 7), (302, "M_FORBIDDEN"), (418, []), (200, "M_UNKNOWN_TOKEN"),
    (400, "M_USER_SUSPENDED"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "errcode"), ERRORS)
async def test_B17_what_others_answer_says_nothing_of_the_session(
    network: Network, one: FederatedServer, status: int, errcode: Any
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    liar.answers = {"/federation/": (status, {"errcode": errcode, "error": "Log out", "soft_logout": True})}
    for method, path, body in (
        ("POST", "/join/!x:liar.test?via=liar.test", {}),
        ("POST", "/join/%23x:liar.test", {}),
        ("POST", "/knock/!x:liar.test?via=liar.test", {}),
        ("GET", "/directory/room/%23x:liar.test", ...),
        ("GET", "/profile/@m:liar.test", ...),
        ("GET", "/profile/@m:liar.test/displayname", ...),
        ("POST", "/publicRooms?server=liar.test", {}),
        ("GET", "/publicRooms?server=liar.test", ...),
        ("POST", "/keys/query", {"device_keys": {"@m:liar.test": []}}),
        ("POST", "/keys/claim", {"one_time_keys": {"@m:liar.test": {"X": "signed_curve25519"}}}),
    ):
        answer = await one.client.request(method, f"/_matrix/client/v3{path}", json=body, token=alice.token)
        assert answer.status not in (401, 302, 500), path
        told = None if answer.status == 200 else answer.json.get("errcode")
        assert told in (None, "M_FORBIDDEN", "M_UNKNOWN", "M_NOT_FOUND", "M_BAD_JSON", "M_UNRECOGNIZED"), (path, told)
        assert answer.status == 200 or "soft_logout" not in answer.json
    assert (await alice.request("GET", "/account/whoami")).status == 200


async def test_B25_what_a_server_says_in_unsigned_is_not_told(scene: Scene) -> None:
    lies = {"prev_content": {"x": 1}, "redacted_because": {}, "transaction_id": "x", "m.relations": {"m.x": {}}}
    event = scene.liar.event(scene.room, content={"msgtype": "m.text", "body": "hi"})
    await scene.liar.send(scene.one, {**event.pdu, "unsigned": lies})
    shown = await scene.alice.get(f"/rooms/{scene.room_id}/event/{event.event_id}")
    assert set(shown.get("unsigned", {})) <= {"age", "membership"}
    await scene.good_event_arrives()


async def test_B26_transactions_have_limits_and_are_done_once(scene: Scene) -> None:
    one, liar = scene.one, scene.liar
    events = [liar.event(scene.room, content={"body": f"{n}"}) for n in range(51)]
    bodies: list[Any] = [
        {"pdus": [event.pdu for event in events]},
        {"pdus": [], "edus": [{}] * 101},
        {"pdus": {}},
        [],
        {"pdus": [], "edus": 7},
    ]
    for body in bodies:
        assert (await liar.request(one, "PUT", f"{V1}/send/big", body)).status == 400
    first = liar.event(scene.room, content={"body": "first"})
    second = liar.event(scene.room, content={"body": "second"})
    told = await liar.send(one, first, txn="same")
    assert await liar.send(one, second, txn="same") == told
    assert second.event_id not in await scene.shown()
    third = [liar.event(scene.room, content={"body": f"third {n}"}) for n in range(8)]
    answers = await asyncio.gather(*(liar.send(one, *third, txn=f"p{n % 3}") for n in range(9)))
    assert all(answer == answers[0] for answer in answers)
    assert {event.event_id for event in third} <= set(await scene.shown())
    assert one.homeserver.rooms is not None
    await scene.good_event_arrives()


async def test_B26_fifty_large_events_are_taken_at_once_and_more_is_refused(scene: Scene) -> None:
    large = [scene.liar.event(scene.room, content={"body": "x" * 60_000, "n": n}, advance=True) for n in range(50)]
    assert set(map(str, (await scene.liar.send(scene.one, *large)).values())) == {"{}"}
    beyond = {"pdus": [], "edus": [{"edu_type": "x", "content": "x" * 14_000_000}]}
    assert (await scene.liar.request(scene.one, "PUT", f"{V1}/send/beyond", beyond)).status == 413
    other: dict[str, Any] = {"one_time_keys": {"x" * 2_000_000: {}}}
    assert (await scene.liar.request(scene.one, "POST", f"{V1}/user/keys/claim", other)).status == 413
    await scene.good_event_arrives()


@pytest.mark.parametrize("membership", ["join", "leave", "knock", "invite"])
async def test_B27_nobody_joins_or_leaves_in_the_name_of_our_users(scene: Scene, membership: str) -> None:
    before = await scene.state()
    carol = await scene.one.register("carol")
    lies = [
        scene.liar.event(scene.room, "m.room.member", {"membership": membership}, state_key=who, sender=sender)
        for who, sender in (
            (ALICE, ALICE),
            (carol.user_id, carol.user_id),
            (carol.user_id, scene.liar.user),
            (ALICE, scene.liar.user),
        )
        if not (membership == "invite" and who == carol.user_id and sender == scene.liar.user)
    ]
    answers = await scene.liar.send(scene.one, *lies)
    assert all("error" in answers[lie.event_id] for lie in lies)
    assert await scene.state() == before
    await scene.good_event_arrives()


async def test_B28_no_event_of_another_server_is_an_operators_command(scene: Scene) -> None:
    for body in ("!admin users create-user mallory", "\\!admin server shutdown", "/deactivate @alice:one.test"):
        await scene.liar.send(scene.one, scene.liar.event(scene.room, content={"body": body, "msgtype": "m.text"}))
    answer = await scene.liar.request(scene.one, "GET", "/_synapse/admin/v1/server_version")
    assert answer.status == 404
    assert (await scene.alice.request("GET", "/account/whoami")).status == 200
    await scene.good_event_arrives()


async def test_A16_a_page_of_rejected_events_does_not_end_the_history(scene: Scene) -> None:
    oldest = await scene.alice.say(scene.room_id, "oldest")
    await settle(scene.one)
    for _ in range(5):
        rejected = [
            scene.liar.event(scene.room, "m.room.topic", {"topic": f"{n}"}, state_key="", prev=[scene.room.last])
            for n in range(40)
        ]
        assert all("error" in told for told in (await scene.liar.send(scene.one, *rejected)).values())
    newest = await scene.good_event_arrives()
    seen: list[str] = []
    query: dict[str, str] = {}
    for _ in range(20):
        page = await scene.alice.get(f"/rooms/{scene.room_id}/messages", dir="b", limit=5, **query)
        seen += [event["event_id"] for event in page["chunk"]]
        if "end" not in page:
            break
        query = {"from": page["end"]}
    assert {newest, oldest} <= set(seen)
    assert seen[-1] == (await scene.state())["m.room.create", ""]


async def test_C05_a_name_that_is_no_servers_is_never_part_of_an_address(
    network: Network, one: FederatedServer, scene: Scene
) -> None:
    for name in (
        "liar.test/x",
        "liar.test:1:2",
        "a@b",
        "liar.test?x",
        "liar.test#",
        "",
        " ",
        "one.test",
        "[::1",
        "x:y",
    ):
        before = len(network.requests)
        answer = await scene.alice.request("POST", "/join/!x:nobody.test", {}, via=name)
        assert answer.status in (400, 403, 404, 502)
        asked = [request.url for _, request in network.requests[before:]]
        assert not [url for url in asked if "nobody.test" not in url], asked
