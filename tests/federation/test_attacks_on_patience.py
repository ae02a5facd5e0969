"""Servers that do not answer, events that are withheld, and policy that is gone round (B11, B21, B23, B29, B30)."""

from __future__ import annotations

from tests.federation.lies import Scene, open_scene
from tests.support.federation import FederatedServer, Network, settle
from tests.support.liar import V1, Liar


async def test_B30_dead_servers_are_asked_rarely_and_hold_nobody_up(network: Network, one: FederatedServer) -> None:
    scene = await open_scene(network, one)
    dead = [Liar(network, f"dead{n}.test") for n in range(12)]
    for liar in dead:
        await liar.join(one, scene.room_id)
        del network.servers[liar.name]
    await settle(one)
    before = len(network.requests)
    said = []
    for number in range(15):
        said.append(await scene.alice.say(scene.room_id, f"{number}"))
        await settle(one)
        await one.clock.advance(1)
    reached = {pdu["content"].get("body") for pdu in scene.liar.received()}
    assert {f"{number}" for number in range(15)} <= reached
    tries = [request.url for _, request in network.requests[before:] if "dead" in request.url]
    assert len(tries) <= 12 * 4
    await scene.good_event_arrives()


async def test_B21_what_is_only_an_outlier_is_told_to_nobody_but_as_part_of_the_state(scene: Scene) -> None:
    """State that events name is kept without a place. Servers in the room are told of it, as they are in answers to
    `/state`; strangers and clients are not, and of what was rejected nobody is."""
    hidden = scene.liar.event(scene.room, "m.room.member", {"membership": "join", "n": 1}, state_key=scene.liar.user)
    rejected = scene.liar.event(scene.room, "m.room.power_levels", {"users": {scene.liar.user: 100}}, state_key="")
    foundation = [scene.room.state["m.room.create", ""], scene.room.state["m.room.power_levels", ""]]
    lies = [
        scene.liar.event(scene.room, auth=[*foundation, hidden]),
        scene.liar.event(scene.room, auth=[foundation[0], rejected, scene.room.last]),
    ]
    scene.liar.answers = {"/event_auth/": (200, {"auth_chain": [hidden.pdu, rejected.pdu]})}
    await scene.liar.send(scene.one, *lies)
    rows = await scene.one.homeserver.db.fetch_all("SELECT event_id FROM events WHERE status IN (3, 4)")
    assert {hidden.event_id, rejected.event_id} <= {row[0] for row in rows}
    stranger = Liar(scene.network, "stranger.test")
    for event, told in ((hidden, 200), (rejected, 404)):
        target = f"{V1}/event/{event.event_id.replace('$', '%24')}"
        assert (await scene.liar.request(scene.one, "GET", target)).status == told
        assert (await stranger.request(scene.one, "GET", target)).status in (403, 404)
        assert event.event_id not in await scene.shown()
    path = f"/rooms/{scene.room_id}/event/{rejected.event_id}"
    assert (await scene.alice.request("GET", path)).status == 404
    await scene.good_event_arrives()


async def test_B23_keys_that_another_server_tells_are_checked_before_clients_see_them(scene: Scene) -> None:
    junk = {
        "device_keys": {scene.liar.user: {"X": 7, "Y": {"user_id": "@alice:one.test"}}, "@alice:one.test": {"Z": {}}},
        "master_keys": {scene.liar.user: [], "@alice:one.test": {"keys": {}}},
        "self_signing_keys": 7,
    }
    scene.liar.answers = {"/user/keys/query": (200, junk)}
    answer = await scene.alice.post("/keys/query", {"device_keys": {scene.liar.user: []}})
    assert "@alice:one.test" not in answer["device_keys"]
    assert "@alice:one.test" not in answer.get("master_keys", {})
    await scene.good_event_arrives()


async def test_B29_an_event_of_a_gap_is_judged_by_policy_as_any_other(scene: Scene) -> None:
    asked: list[str] = []

    async def why_not(room: object, event: object) -> str | None:
        asked.append(event.event_id)  # type: ignore[attr-defined]
        return "spam" if "spam" in str(event.content) else None  # type: ignore[attr-defined]

    await scene.alice.set_state(scene.room_id, "m.room.policy", {"via": "policy.test"})  # `why_not` is its voice
    scene.one.homeserver.rooms.receiver._why_not_recommended = why_not
    spam = scene.liar.event(scene.room, content={"body": "spam"})
    after = scene.liar.event(scene.room, content={"body": "fine"}, prev=[spam])
    scene.liar.answers = {"/get_missing_events/": (200, {"events": [spam.pdu]})}
    assert await scene.liar.send(scene.one, after) == {after.event_id: {}}
    assert {spam.event_id, after.event_id} <= set(asked)
    shown = await scene.shown()
    assert spam.event_id not in shown
    assert after.event_id in shown
    await scene.good_event_arrives()


async def test_B11_a_receipt_needs_its_user_in_the_room(scene: Scene) -> None:
    said = await scene.alice.say(scene.room_id, "read me")
    other = await scene.alice.create_room(preset="private_chat")
    secret = await scene.alice.say(other, "not for you")
    data = {"event_ids": [secret], "data": {"ts": 1}}
    outsider = "@outsider:liar.test"
    content = {
        other: {"m.read": {scene.liar.user: data}},
        scene.room_id: {"m.read": {outsider: {"event_ids": [said], "data": {"ts": 1}}}},
    }
    await scene.liar.send(scene.one, edus=[{"edu_type": "m.receipt", "content": content}])
    body = await scene.alice.sync()
    told = str([room.get("ephemeral") for room in body["rooms"]["join"].values()])
    assert outsider not in told
    assert scene.liar.user not in told
