"""The demo as a stranger meets it: a visitor on the page and the staff in a Matrix client talk in the same room."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.end_to_end.cutting_proxy import CuttingProxy
from tests.end_to_end.demo import Demo, demo_server, staff_client
from tests.support.browser import chromium

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

STAFF = "@staff:localhost"
CONVERSATION = [
    "Hello! Which tea would you give a coffee drinker? ☕",
    "Old Grove, our red tea: malt and dried plum, no milk needed. 🍂",
    "你们送货到上海吗?",
    "送的,三到五天就到。📦",
    "太好了!一次可以买多少?",
    "想买多少都可以,满 40 欧元免运费。",
    "Then one Old Grove and one Misty Ridge, please 🍵",
    "Both are set aside for you. Shall I add a sample of 铁观音?",
    "Yes please, 谢谢! 🙏",
    "You're welcome — 祝您喝茶愉快! 😊",
]


@pytest.fixture(scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory, node: str) -> AsyncIterator[Demo]:
    """One demo for all tests; each has visitors of its own."""
    directory = tmp_path_factory.mktemp("demo")
    server = demo_server(directory)
    try:
        await server.begin()
        await asyncio.to_thread(server.stop)
        async with (
            CuttingProxy(server.port) as client_proxy,
            CuttingProxy(server.web_port) as web_proxy,
            chromium(directory) as browser,
        ):
            server.allow_origin(web_proxy.base_url)
            await server.begin()
            async with staff_client(node, client_proxy.base_url, STAFF, server.password) as staff:
                yield Demo(server, staff, browser, client_proxy, web_proxy)
    finally:
        await asyncio.to_thread(server.kill)


async def test_visitor_and_staff_exchange_ten_messages_and_a_reload_keeps_them(demo: Demo) -> None:
    visitor = await demo.visitor()
    room = ""
    for turn in range(0, len(CONVERSATION), 2):
        await visitor.say(CONVERSATION[turn])
        room = room or await demo.staff.take_invitation()
        assert await demo.staff.texts(room, turn + 1) == CONVERSATION[: turn + 1]
        await demo.staff.do("say", room=room, text=CONVERSATION[turn + 1])
        await visitor.wait_for_texts(CONVERSATION[: turn + 2])
    senders = [sender for sender, _ in await demo.staff.do("shown", room=room, count=len(CONVERSATION))]
    assert senders[1::2] == [STAFF] * 5
    assert len(set(senders[::2])) == 1
    assert senders[0].startswith("@_web_")
    await visitor.reload()
    await visitor.wait_for_texts(CONVERSATION)
    assert await demo.staff.texts(room, len(CONVERSATION)) == CONVERSATION
    assert visitor.page.errors == []


async def test_visitor_sees_that_the_staff_is_typing_and_stops(demo: Demo) -> None:
    visitor = await demo.visitor()
    await visitor.say("Is somebody there?")
    room = await demo.staff.take_invitation()
    await demo.staff.do("type", room=room, on=True)
    await visitor.wait_for_typing("Mei is typing…")
    await demo.staff.do("type", room=room, on=False)
    await visitor.wait_for_typing("")


async def test_visitors_see_nothing_of_each_other(demo: Demo) -> None:
    first, second = await demo.visitor(), await demo.visitor()
    await first.say("I am the first")
    first_room = await demo.staff.take_invitation()
    assert await demo.staff.texts(first_room, 1) == ["I am the first"]
    await demo.staff.do("say", room=first_room, text="Hello, first")
    await first.wait_for_texts(["I am the first", "Hello, first"])
    assert await second.texts() == []
    await second.say("I am the second")
    second_room = await demo.staff.take_invitation()
    assert second_room != first_room
    assert await demo.staff.texts(second_room, 1) == ["I am the second"]
    await demo.staff.do("say", room=second_room, text="Hello, second")
    await second.wait_for_texts(["I am the second", "Hello, second"])
    assert await first.texts() == ["I am the first", "Hello, first"]
    members = [set(await demo.staff.do("members", room=room)) for room in (first_room, second_room)]
    ghosts = [{user for user in each if user.startswith("@_web_")} for each in members]
    assert [len(each) for each in ghosts] == [1, 1]
    assert ghosts[0] != ghosts[1]


async def _cut(demo: Demo) -> None:
    """The network of both sides is gone for a moment."""
    proxies = (demo.web_proxy, demo.client_proxy)
    try:
        for proxy in proxies:
            while not proxy.cut(hold=True):  # not before there is something to cut
                proxy.resume()
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.7)
    finally:
        for proxy in proxies:
            proxy.resume()


async def _both_write(demo: Demo, rounds: int, disturb: Callable[[], Awaitable[None]]) -> None:
    """Both write without a pause while something goes wrong; nothing is lost, doubled or out of order."""
    visitor = await demo.visitor()
    await visitor.say("v0")
    room = await demo.staff.take_invitation()
    visitor_said = ["v0", *(f"v{number} 你好 👋" for number in range(1, 4 * rounds + 1))]
    staff_said = [f"s{number} 您好 🍵" for number in range(1, 4 * rounds + 1)]

    async def visitor_writes() -> None:
        for text in visitor_said[1:]:
            await visitor.say(text)
            await asyncio.sleep(0.1)

    async def staff_writes() -> None:
        for text in staff_said:
            await demo.staff.do("say", room=room, text=text)

    async def go_wrong() -> None:
        for _ in range(rounds):
            await asyncio.sleep(0.3)
            await disturb()

    async with asyncio.TaskGroup() as tasks:
        for side in (visitor_writes, staff_writes, go_wrong):
            tasks.create_task(side())

    count = len(visitor_said) + len(staff_said)
    at_visitor = await visitor.wait_for_count(count)
    assert [text for text in at_visitor if text.startswith("v")] == visitor_said
    assert [text for text in at_visitor if text.startswith("s")] == staff_said
    at_staff = await demo.staff.do("shown", room=room, count=count)
    assert [text for sender, text in at_staff if sender != STAFF] == visitor_said
    assert [text for sender, text in at_staff if sender == STAFF] == staff_said
    await visitor.reload()
    await visitor.wait_for_texts(at_visitor)


async def test_cuts_of_the_network_lose_and_double_nothing(demo: Demo) -> None:
    await _both_write(demo, 4, functools.partial(_cut, demo))


async def test_server_that_is_killed_while_both_write_loses_and_doubles_nothing(demo: Demo) -> None:
    await _both_write(demo, 3, demo.crash)
