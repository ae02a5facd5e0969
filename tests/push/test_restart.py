"""What a crash or a restart does to notifications: none is lost, none is repeated for ever."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from homeserver.outbound.client import OutboundAnswer, OutboundFailed
from homeserver.push.services import PushServices, build_push_services
from homeserver.storage.database import Database
from homeserver.storage.events import REJECTED, SOFT_FAILED
from homeserver.storage.push_queue import PusherKey
from tests.push.phones import Gateway, Phones, down, open_phones
from tests.support.outbound import FakeOutbound, SentRequest


def push_again(phones: Phones, gateway: Gateway) -> PushServices:
    """Push as a new process would build it, over the same database. The old one's task is gone without a goodbye."""
    homeserver = phones.server.homeserver
    return build_push_services(
        homeserver.db,
        homeserver.clock,
        homeserver.stream,
        homeserver.users,
        homeserver.rooms,
        homeserver.sync.counts,
        FakeOutbound(gateway),
        _NoMail(),
        homeserver.metrics,
        homeserver.settings.push,
        server_name=homeserver.settings.server_name,
        public_base_url="https://matrix.halfdoor.test",
        secret=b"s",
    )


class _NoMail:
    can_send = False

    async def send(self, to: str, subject: str, text: str, html: str | None = None) -> None: ...


async def crash(push: PushServices) -> None:
    """Everything in flight ends where it is, and no place is kept."""
    tasks = [*push.deliveries._tasks.values()]
    push.deliveries._runs = False
    for timer in push.deliveries._timers.values():
        timer.cancel()
    if push.sender._task is not None:
        tasks.append(push.sender._task)
        push.sender._task = None
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_waits_and_how_long_survives_a_restart(database: Database) -> None:
    async with open_phones(database) as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = lambda request: OutboundAnswer(503, {"retry-after": "600"})
        events = [await alice.say(room_id, f"message {number}") for number in range(3)]
        push = phones.server.homeserver.push
        key = PusherKey(bob.user_id, "org.example", "key")
        for _ in range(5000):
            if (await push.queue.find_progress(key)).failures:
                break
            await asyncio.sleep(0.001)
        await _until(lambda: push.sender._place >= database.position)
        await push.stop()
        gateway = Gateway()
        again = push_again(phones, gateway)
        await again.start()
        await phones.pass_time(300)
        assert gateway.requests == []
        await phones.pass_time(301)
        await _until(lambda: len(gateway.told) == 3, phones)
        assert gateway.events == events
        await again.stop()


async def _until(condition: Callable[[], bool], phones: Phones | None = None) -> None:
    """With `phones`, timers that are due fire meanwhile."""
    for _ in range(5000):
        if condition():
            return
        if phones is not None:
            await phones.server.clock.advance(0)
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize("seed", range(8))
async def test_crashes_at_any_moment_lose_nothing_and_repeat_only_what_was_in_flight(seed: int) -> None:
    chance = random.Random(seed)
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        for number in range(2):
            await phones.add_pusher(bob, f"key{number}")
        taken: Counter[tuple[str, str]] = Counter()
        crashes = 0

        def answer(request: SentRequest) -> OutboundAnswer:
            if chance.random() < 0.2:
                raise OutboundFailed("timed out")
            if chance.random() < 0.2:
                return OutboundAnswer(502)
            notification = request.json["notification"]
            taken[notification["devices"][0]["pushkey"], notification["event_id"]] += 1
            return OutboundAnswer(200)

        phones.gateway.answer = answer
        push, sent = phones.server.homeserver.push, []
        for number in range(12):
            sent.append(await alice.say(room_id, f"message {number}"))
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                crashes += 1
                await crash(push)
                push = push_again(phones, phones.gateway)
                await push.start()
            await phones.pass_time(chance.random() * 3)
        await phones.pass_time(20_000)
        assert set(taken) == {(f"key{number}", event_id) for number in range(2) for event_id in sent}
        # At a crash, each pusher has one notification in flight at most, which is told once more.
        assert sum(taken.values()) - len(taken) <= 2 * crashes
        before = taken.total()
        await phones.pass_time(100_000)
        assert taken.total() == before
        assert await push.queue.count_pushes() == 0
        await push.stop()


async def test_gateway_that_never_answers_leaves_nothing_behind_after_a_day() -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = down
        for number in range(5):
            await alice.say(room_id, f"message {number}")
        await phones.pass_time(26 * 3600)
        push = phones.server.homeserver.push
        assert await push.queue.count_pushes() == 0
        assert push.deliveries.busy == 0
        assert len(phones.gateway.requests) < 60
        phones.gateway.answer = None
        event_id = await alice.say(room_id, "now")
        await phones.pass_time(3601)
        assert phones.gateway.events == [event_id]


async def test_mistake_of_ours_is_not_repeated_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)

        def answer(request: SentRequest) -> OutboundAnswer:
            raise ZeroDivisionError

        phones.gateway.answer = answer
        await alice.say(room_id, "one")
        await phones.pass_time(26 * 3600)
        assert 20 < len(phones.gateway.requests) < 60
        assert await phones.server.homeserver.push.queue.count_pushes() == 0


async def test_backlog_of_one_pusher_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.push.deliveries.KEPT", 5)
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        phones.gateway.answer = down
        events = [await alice.say(room_id, f"message {number}") for number in range(12)]
        await phones.pass_time(60)
        phones.gateway.answer = None
        await phones.pass_time(120)
        assert phones.gateway.events == events[-5:]


async def test_two_processes_queue_an_event_once(database: Database) -> None:
    async with open_phones(database) as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        other_gateway = Gateway(answer=down)
        other = push_again(phones, other_gateway)
        await other.start()
        await phones.quiet()
        event_id = await alice.say(room_id, "one")
        await _until(lambda: bool(phones.gateway.told or other_gateway.requests), phones)
        await _until(lambda: min(phones.server.homeserver.push.sender._place, other.sender._place) >= database.position)
        queued = phones.gateway.events + [one.json["notification"]["event_id"] for one in other_gateway.requests]
        assert queued == [event_id]
        await other.stop()


@pytest.mark.parametrize("status", [SOFT_FAILED, REJECTED])
async def test_A17_rejected_and_soft_failed_events_are_told_to_nobody(status: int) -> None:
    async with open_phones() as phones:
        alice, bob, room_id = await phones.pair()
        await phones.add_pusher(bob)
        db = phones.server.homeserver.db
        refuse = "UPDATE events SET status = ? WHERE event_id = ?"
        phones.gateway.answer = down
        queued = await alice.say(room_id, "queued before it was refused")
        await phones.quiet()
        await db.write(lambda txn: txn.execute(refuse, (status, queued)))
        await phones.server.homeserver.push.stop()
        unread = await alice.say(room_id, "refused before it was read")
        await db.write(lambda txn: txn.execute(refuse, (status, unread)))
        gateway = Gateway()
        again = push_again(phones, gateway)
        await again.start()
        await phones.pass_time(60)
        assert gateway.requests == []
        event_id = await alice.say(room_id, "fine")
        await phones.pass_time(1)
        assert gateway.events == [event_id]
        await again.stop()
