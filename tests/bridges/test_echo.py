"""The tutorial bridge works, and stays as small as the tutorial says."""

from __future__ import annotations

from pathlib import Path

import bridges.echo
from bridges.echo import EchoNetwork
from bridges.kit.testing import BridgeHarness

ALICE = "@alice:example.org"


async def test_echo_answers_in_the_room_it_was_invited_to() -> None:
    async with BridgeHarness(EchoNetwork) as harness:
        room = harness.homeserver.create_room(ALICE, invite=[harness.bot])
        await harness.settle()
        harness.homeserver.say(room, ALICE, "hello")
        harness.homeserver.say(room, ALICE, "你好")
        await harness.settle()
        echo = "@_test_echo:example.org"
        assert harness.homeserver.texts(room) == [
            (ALICE, "hello"),
            (ALICE, "你好"),
            (echo, "hello"),
            (echo, "你好"),
        ]


async def test_W27_two_echo_bridges_in_one_room_do_not_answer_themselves() -> None:
    async with BridgeHarness(EchoNetwork) as harness:
        room = harness.homeserver.create_room(ALICE, invite=[harness.bot])
        await harness.settle()
        harness.homeserver.say(room, ALICE, "once")
        for _ in range(5):
            await harness.settle()
        assert len(harness.homeserver.texts(room)) == 2


async def test_pending_work_of_the_echo_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with BridgeHarness(EchoNetwork, database=str(tmp_path / "echo.db")) as harness:
        room = harness.homeserver.create_room(ALICE, invite=[harness.bot])
        await harness.settle()
        harness.homeserver.say(room, ALICE, "hello")
        await harness.push()
        await harness.restart()
        await harness.settle()
        assert [text for _, text in harness.homeserver.texts(room)] == ["hello", "hello"]


def test_the_tutorial_bridge_has_at_most_40_lines() -> None:
    source = Path(bridges.echo.__file__ or "").read_text()
    assert len(source.splitlines()) <= 40
