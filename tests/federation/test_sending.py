"""How events get to other servers: nobody waits for another, outages end without a flood, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from federation import backoff as backoff_module
from federation.backoff import Backoff
from federation.services import FederationSettings
from federation.turns import Lane, Turns
from homeserver.outbound.client import OutboundAnswer, OutboundFailed
from homeserver.storage.database import Transaction
from homeserver.storage.destinations import DestinationStore
from tests.federation.lies import Scene
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory
from tests.support.federation import FederatedServer, Network, open_federated, settle
from tests.support.liar import Asked, Liar
from tests.support.outbound import FakeOutbound, SentRequest, json_answer

HOUR = 3600


class Crowd:
    """Very many servers: those with an even number are well, the others are dead, each in one of four ways."""

    def __init__(self, server: FederatedServer, count: int) -> None:
        self.clock = server.clock
        self.names = [f"s{number}.test" for number in range(count)]
        self.living = {name for number, name in enumerate(self.names) if number % 2 == 0}
        self.heard: dict[str, dict[str, float]] = {}
        self.tries = 0
        self.under_way = self.most_under_way = 0
        outbound = server.federation.outbound
        assert isinstance(outbound, FakeOutbound)
        outbound.answer = self.carry

    async def carry(self, request: SentRequest) -> OutboundAnswer:
        parts = urlsplit(request.url)
        name = parts.netloc
        if parts.path.startswith("/.well-known") and name in self.living:
            return json_answer({}, 404)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if name not in self.living:
                self.tries += 1
                way = int(name[1:-5]) // 2 % 4
                if way == 0:
                    raise OutboundFailed("not reached", "refused")
                if way == 1:
                    raise OutboundFailed("not reached", "no address")
                await self.clock.sleep(10 if way == 2 else request.timeout)
                raise OutboundFailed("timed out")
        finally:
            self.under_way -= 1
        for pdu in request.json["pdus"]:
            self.heard.setdefault(pdu["content"].get("body", ""), {})[name] = self.clock.monotonic()
        return json_answer({"pdus": {}})


async def test_B30_five_hundred_dead_servers_of_a_thousand_cost_the_living_nothing(
    network: Network, one: FederatedServer
) -> None:
    crowd = Crowd(one, 1_000)
    alice = await one.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    room = await one.homeserver.rooms.live.get(room_id)
    for name in crowd.names:
        room.set_member(f"@somebody:{name}", "join")
    sender = one.federation.sender

    await alice.say(room_id, "first")  # nobody knows yet who is dead
    await one.clock.advance(60)
    assert crowd.heard["first"].keys() == crowd.living
    assert max(crowd.heard["first"].values()) < 40
    assert crowd.most_under_way <= sum(lane.value[1] for lane in Lane)

    crowd.tries = 0
    for body in ("second", "third"):
        sent = one.clock.monotonic()
        await alice.say(room_id, body)
        await settle(one)
        assert crowd.heard[body].keys() == crowd.living
        assert set(crowd.heard[body].values()) == {sent}
    assert crowd.tries == 0

    await one.clock.advance(600)
    under_way = [task for task in asyncio.all_tasks() if task.get_name().startswith("federation to")]
    assert len(under_way) == sender._turns.running <= Lane.FAILING.value[1]
    assert not sender._queues
    rows = await one.homeserver.db.fetch_value("SELECT COUNT(*) FROM destinations WHERE is_behind = 1")
    assert rows == len(crowd.names) // 2
    assert crowd.tries <= rows * 2 * 6


async def test_B30_a_server_that_is_slow_now_holds_nobody_up(network: Network, one: FederatedServer) -> None:
    crowd = Crowd(one, 40)
    crowd.living = {*crowd.names}
    alice = await one.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    room = await one.homeserver.rooms.live.get(room_id)
    for name in crowd.names:
        room.set_member(f"@somebody:{name}", "join")
    await alice.say(room_id, "all are well")
    await settle(one)
    slow = {name for name in crowd.names if int(name[1:-5]) // 2 % 4 == 3}  # they begin to answer, and never end
    crowd.living -= slow
    for number in range(30):
        sent = one.clock.monotonic()
        await alice.say(room_id, f"{number}")
        await one.clock.advance(0)
        assert set(crowd.heard[f"{number}"].values()) == {sent}
        assert crowd.heard[f"{number}"].keys() == crowd.living
    assert one.federation.sender._turns.running == len(slow)


def test_turns_are_given_in_lanes_and_the_slow_make_room() -> None:
    clock = FakeClock()
    begun: list[str] = []
    turns = Turns(clock, lambda name: Lane[name.split("-")[0]], begun.append)
    for number in range(100):
        turns.ask(f"FAILING-{number}")
        turns.ask(f"ANSWERING-{number}")
    quick = {lane: lane.value[0] for lane in Lane}
    assert len(begun) == quick[Lane.FAILING] + quick[Lane.ANSWERING]
    assert (turns.running, turns.waiting) == (len(begun), 200 - len(begun))
    turns.ask(begun[0])  # it has its turn
    turns.done(begun[0])
    assert turns.running == len(begun) - 1
    asyncio.run(clock.advance(4))
    failing = [name for name in begun if name.startswith("FAILING")]
    assert len(failing) == Lane.FAILING.value[1] + 1
    for name in failing[1:]:
        turns.done(name)
    assert turns.waiting < 100
    assert len({*begun}) == len(begun)


# ---- catching up


async def away(scene: Scene, *, lost: bool = True) -> None:
    scene.network.lost = lambda origin, request: lost and scene.liar.name in request.url


def messages(liar: Liar) -> list[str]:
    return [pdu["content"]["body"] for pdu in liar.received() if pdu["type"] == "m.room.message"]


async def test_an_outage_of_any_length_ends_without_a_flood(scene: Scene) -> None:
    rooms = [scene.room_id]
    for _ in range(6):
        rooms.append(await scene.alice.create_room(preset="public_chat"))
        await scene.liar.join(scene.one, rooms[-1])
    await away(scene)
    for number in range(12):
        for room_id in rooms:
            await scene.alice.say(room_id, f"{room_id} {number}")
    await settle(scene.one)
    assert not scene.one.federation.sender._queues
    await away(scene, lost=False)
    scene.liar.asked.clear()
    await scene.one.clock.advance(25 * HOUR)
    assert messages(scene.liar) == [f"{room_id} 11" for room_id in rooms]
    sizes = [len(asked.body["pdus"]) for asked in scene.liar.asked if "/send/" in asked.target]
    assert sizes[0] == 1  # whoever just came back begins with little
    await scene.alice.say(rooms[0], "as before")
    await settle(scene.one)
    assert messages(scene.liar)[-1] == "as before"


async def test_who_comes_back_is_told_how_a_room_ends_now_and_not_of_branches_long_past(scene: Scene) -> None:
    other = Liar(scene.network, "other.test")
    known = await other.join(scene.one, scene.room_id)
    await settle(scene.one)
    await away(scene)
    await scene.alice.say(scene.room_id, "ours")
    await settle(scene.one)
    room = await scene.one.homeserver.rooms.live.get(scene.room_id)
    newest = await scene.one.homeserver.rooms.events.list_timeline(
        scene.room_id, room.version, limit=1, newest_first=True
    )
    known.last = newest[0].event
    after = other.event(known, content={"msgtype": "m.text", "body": "theirs"})
    assert await other.send(scene.one, after) == {after.event_id: {}}
    await away(scene, lost=False)
    scene.liar.asked.clear()
    await scene.one.clock.advance(HOUR)
    assert messages(scene.liar) == ["theirs"]


async def test_a_server_whose_user_was_kicked_while_it_was_away_hears_of_it(scene: Scene) -> None:
    await away(scene)
    await scene.alice.say(scene.room_id, "before")
    await scene.alice.post(f"/rooms/{scene.room_id}/kick", {"user_id": scene.liar.user})
    await scene.alice.say(scene.room_id, "not for them")
    await settle(scene.one)
    await away(scene, lost=False)
    scene.liar.asked.clear()
    await scene.one.clock.advance(HOUR)
    assert [(pdu["type"], pdu["content"]["membership"]) for pdu in scene.liar.received()] == [
        ("m.room.member", "leave")
    ]
    assert await scene.one.homeserver.db.fetch_all("SELECT * FROM farewells") == []


async def reopened(scene: Scene, *, crash: bool) -> FederatedServer:
    """The server again, after an end that was clean, or was none."""
    if crash:
        scene.one.federation.sender._flush = nothing  # type: ignore[method-assign]
    await scene.one.federation.stop()
    again = await open_federated(scene.network, scene.one.name, scene.one.homeserver.db)
    await again.clock.advance((scene.one.clock.now_ms() - again.clock.now_ms()) / 1000)
    return again


async def nothing(**_: Any) -> None:
    return None


async def test_catching_up_goes_on_after_a_restart_in_its_middle(scene: Scene) -> None:
    rooms = [scene.room_id]
    for _ in range(5):
        rooms.append(await scene.alice.create_room(preset="public_chat"))
        await scene.liar.join(scene.one, rooms[-1])
    await away(scene)
    for room_id in rooms:
        await scene.alice.say(room_id, room_id)
    await settle(scene.one)
    taken = 0

    def lost(origin: str, request: SentRequest) -> bool:
        nonlocal taken
        taken += "/send/" in request.url and scene.liar.name in request.url
        return taken > 2

    scene.network.lost = lost
    scene.liar.asked.clear()
    await scene.one.clock.advance(60)
    assert 0 < len(messages(scene.liar)) < len(rooms)
    again = await reopened(scene, crash=False)
    await away(scene, lost=False)
    await again.clock.advance(HOUR)
    assert sorted(messages(scene.liar)) == sorted(rooms)


@pytest.mark.parametrize("crash", [False, True])
async def test_what_was_not_sent_when_the_server_ended_is_sent_when_it_begins(scene: Scene, crash: bool) -> None:
    await scene.one.clock.advance(60)
    hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hang(request: SentRequest) -> OutboundAnswer:
        await hanging
        raise OutboundFailed("not reached")

    outbound = scene.one.federation.outbound
    assert isinstance(outbound, FakeOutbound)
    outbound.answer = hang
    for number in range(3):
        await scene.alice.say(scene.room_id, f"{number}")
    await settle_turns()
    scene.liar.asked.clear()
    again = await reopened(scene, crash=crash)
    hanging.cancel()
    await again.clock.advance(60)
    assert messages(scene.liar) == (["0", "1", "2"] if crash else ["2"])
    scene.liar.asked.clear()
    await again.clock.advance(HOUR)
    assert messages(scene.liar) == []


async def settle_turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_restart_asks_nobody_who_keeps_up(scene: Scene) -> None:
    await scene.alice.say(scene.room_id, "heard")
    await settle(scene.one)
    again = await reopened(scene, crash=False)
    scene.liar.asked.clear()
    await again.clock.advance(HOUR)
    assert scene.liar.asked == []


async def test_a_queue_that_grows_too_long_becomes_catching_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federation.sender.QUEUE_MAX", 5)
    released = asyncio.Event()
    carry = scene.network.carry

    async def slowly(origin: str, request: SentRequest) -> OutboundAnswer:
        if "/send/" in request.url:
            await released.wait()
        return await carry(origin, request)

    scene.network.carry = slowly  # type: ignore[method-assign]
    scene.liar.asked.clear()
    for number in range(20):
        await scene.alice.say(scene.room_id, f"{number}")
        await settle_turns()
    released.set()
    await settle(scene.one)
    assert messages(scene.liar) == ["0", "19"]


async def test_every_transaction_has_a_number_of_its_own(scene: Scene) -> None:
    """Whoever took a transaction without our hearing of it answers its number without looking at what is in it."""
    carry = scene.network.carry

    async def answer_is_lost(origin: str, request: SentRequest) -> OutboundAnswer:
        answer = await carry(origin, request)
        if "/send/" in request.url:
            raise OutboundFailed("timed out")
        return answer

    scene.network.carry = answer_is_lost  # type: ignore[method-assign]
    for number in range(4):
        await scene.alice.put(f"/rooms/{scene.room_id}/typing/{scene.alice.user_id}", {"typing": number % 2 == 0})
        await scene.alice.say(scene.room_id, f"{number}")
        await scene.one.clock.advance(60)
    again = await reopened(scene, crash=True)
    await again.clock.advance(HOUR)
    numbers = [asked.target for asked in scene.liar.asked if "/send/" in asked.target]
    assert len(numbers) > 4
    assert len(set(numbers)) == len(numbers)


# ---- what is refused


def refuse(status: int, bad: Callable[[Any], bool]) -> Callable[[Asked], tuple[int, Any]]:
    return lambda asked: (status, {"errcode": "M_TOO_LARGE"}) if bad(asked.body) else (200, {"pdus": {}})


async def test_a_transaction_that_is_too_large_is_sent_in_parts_and_only_what_is_refused_alone_is_dropped(
    scene: Scene,
) -> None:
    taken: list[str] = []

    def told(asked: Asked) -> tuple[int, Any]:
        bodies = [pdu["content"].get("body") for pdu in asked.body["pdus"]]
        if len(bodies) > 2 or "3" in bodies:
            return 413, {"errcode": "M_TOO_LARGE"}
        taken.extend(bodies)
        return 200, {"pdus": {}}

    scene.liar.answers = {"/send/": told}
    gate, carry = asyncio.Event(), scene.network.carry

    async def later(origin: str, request: SentRequest) -> OutboundAnswer:
        await gate.wait()
        return await carry(origin, request)

    scene.network.carry = later  # type: ignore[method-assign]
    for number in range(8):
        await scene.alice.say(scene.room_id, f"{number}")
    gate.set()
    await settle(scene.one)
    assert taken == [f"{number}" for number in range(8) if number != 3]
    assert scene.one.federation.backoff.get(scene.liar.name).failures == 0


async def test_a_server_that_refuses_us_is_asked_ever_less_often(scene: Scene) -> None:
    scene.liar.answers = {"/send/": (403, {"errcode": "M_FORBIDDEN"})}
    await scene.alice.say(scene.room_id, "no")
    await settle(scene.one)
    scene.liar.asked.clear()
    await scene.one.clock.advance(HOUR)
    assert 4 <= len([asked for asked in scene.liar.asked if "/send/" in asked.target]) <= 10


async def test_whatever_goes_wrong_is_not_tried_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(scene.one.federation.client, "request", broken)
    await scene.alice.say(scene.room_id, "kept")
    await settle(scene.one)
    await scene.one.clock.advance(HOUR)
    assert 4 <= len([line for line in caplog.records if "trying again" in line.message]) <= 12
    monkeypatch.undo()
    await scene.one.clock.advance(HOUR)
    assert messages(scene.liar)[-1] == "kept"


# ---- EDUs


async def waiting_edus(server: FederatedServer) -> int:
    found: int = await server.homeserver.db.fetch_value("SELECT COUNT(*) FROM outgoing_edus")
    return found


async def test_messages_between_devices_wait_and_news_of_devices_do_not_pile_up(scene: Scene) -> None:
    await settle(scene.one)
    await away(scene)
    one = scene.one
    for number in range(150):
        body = {"messages": {scene.liar.user: {"DEVICE": {"number": number}}}}
        await scene.alice.put(f"/sendToDevice/m.room.encrypted/t{number}", body)
    before = await waiting_edus(one)
    for number in range(20):
        keys = {"device_id": scene.alice.device_id, "number": number}
        await one.homeserver.db.write(lambda txn, keys=keys: keep_news(one, txn, keys))  # type: ignore[misc]
    assert await waiting_edus(one) == before + 1
    await scene.alice.put(f"/rooms/{scene.room_id}/typing/{scene.alice.user_id}", {"typing": True, "timeout": 30_000})
    await one.clock.advance(10)
    again = await reopened(scene, crash=True)
    await away(scene, lost=False)
    scene.liar.asked.clear()
    await again.clock.advance(25 * HOUR)
    edus = [edu for asked in scene.liar.asked if "/send/" in asked.target for edu in asked.body["edus"]]
    told = [edu["content"] for edu in edus if edu["edu_type"] == "m.direct_to_device"]
    assert [content["messages"][scene.liar.user]["DEVICE"]["number"] for content in told] == list(range(150))
    assert [edu["content"]["number"] for edu in edus if "number" in edu["content"]] == [19]
    assert not [edu for edu in edus if edu["edu_type"] == "m.typing"]
    assert await waiting_edus(again) == 0


async def keep_news(server: FederatedServer, txn: Transaction, update: dict[str, Any]) -> None:
    server.federation.sender.keep_edu(txn, "liar.test", "m.device_list_update", update, "@alice:one.test")


# ---- who does not answer


async def opened(clock: FakeClock, db: Any) -> Backoff:
    store = DestinationStore(db)
    backoff = Backoff(db, store, clock, random.Random(1))
    backoff.start(await store.list_destinations())
    return backoff


async def test_back_off_doubles_up_to_a_day_and_outlives_a_restart() -> None:
    clock, db = FakeClock(), open_in_memory()
    backoff = await opened(clock, db)
    pauses = []
    for _ in range(20):
        await backoff.note_failure("a.test")
        await backoff.note_failure("a.test")  # of the same pause
        pauses.append(backoff.get("a.test").retry_at_ts - clock.now_ms())
        await clock.advance(pauses[-1] / 1000)
    assert 8_000 <= pauses[0] <= 12_000
    assert len(set(pauses[:10])) == 10
    assert all(0.8 * 2**n * 10_000 <= pause <= 1.2 * 2**n * 10_000 for n, pause in enumerate(pauses[:12]))
    assert max(pauses) <= backoff_module.LONGEST_MS
    await backoff.note_failure("a.test")
    again = await opened(clock, db)
    assert again.get("a.test") == backoff.get("a.test")
    assert not again.may_try("a.test")
    await clock.advance(HOUR)
    assert not again.may_try("a.test")
    assert again.may_ask("a.test")  # for a user who wants something of it
    heard: list[str] = []
    again.listen(heard.append)
    assert await again.note_alive("a.test")
    assert not await again.note_alive("a.test")
    assert heard == ["a.test"]
    assert (await opened(clock, db)).may_try("a.test")


async def test_when_we_were_cut_off_everybody_is_tried_anew() -> None:
    clock, db = FakeClock(), open_in_memory()
    backoff = await opened(clock, db)
    await backoff.note_failure("dead.test")
    await clock.advance(10)
    await backoff.note_success("well.test")
    names = [f"s{number}.test" for number in range(20)]
    for _ in range(14):
        for name in ("dead.test", *names):
            await backoff.note_failure(name)
        await clock.advance(HOUR)
    dead = backoff.get("dead.test")
    await backoff.note_success("well.test")
    soon = clock.now_ms() + 60_000
    assert all(backoff.get(name).retry_at_ts <= soon for name in names)
    assert len({backoff.get(name).retry_at_ts for name in names}) > 1
    assert backoff.get("dead.test") == dead
    await backoff.forget("dead.test")
    assert backoff.may_try("dead.test")


# ---- with whom


async def test_a_server_has_nothing_to_do_with_those_that_its_operator_does_not_want(
    network: Network, one: FederatedServer
) -> None:
    settings = FederationSettings(allowed_servers=["*.test"], denied_servers=["bad.test"])
    picky = await open_federated(network, "picky.test", federation_settings=settings)
    carol = await picky.register("carol")
    room_id = await carol.create_room(preset="public_chat")
    good, bad, other = (Liar(network, name) for name in ("good.test", "bad.test", "elsewhere.example"))
    await good.join(picky, room_id)
    for liar in (bad, other):
        refused = await liar.request(picky, "GET", f"/_matrix/federation/v1/query/profile?user_id={carol.user_id}")
        assert (refused.status, refused.json["errcode"]) == (403, "M_FORBIDDEN")
        (await picky.homeserver.rooms.live.get(room_id)).set_member(liar.user, "join")
    await carol.say(room_id, "for good ones")
    await picky.clock.advance(60)
    assert messages(good) == ["for good ones"]
    assert messages(bad) == messages(other) == []
    asked = len(network.requests)
    assert (await carol.request("GET", f"/profile/{bad.user}")).status == 502
    assert len(network.requests) == asked
