"""Whatever drops, repeats or crashes: the visitor and the room see each message once, in order (W19, W33)."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridges.kit.testing import ERROR, HANG, LIMITED, LOST, OK, UNREACHABLE
from tests.bridges.webchat_harness import MEI, Visitor, WebchatHarness


class Widget(Visitor):
    """The rules of widget.js: a queue that is sent one by one, numbers that only go up, resume by the last of them."""

    def __init__(self, harness: WebchatHarness) -> None:
        super().__init__(harness)
        self.queue: list[tuple[str, str]] = []
        self.last = 0
        self.shown: list[tuple[str, str]] = []
        self._read_frames = 0

    def write(self, text: str) -> None:
        self.queue.append((f"client-{text}", text))

    async def resume(self) -> None:
        self._read_frames = 0
        await self.connect(since=self.last)
        self.look()

    async def send_next(self) -> None:
        if self.queue:
            client_id, text = self.queue[0]
            await self.say(text, client_id)

    def look(self) -> None:
        """Take in the frames that arrived."""
        new = self.wire.frames[self._read_frames :]
        self._read_frames = len(self.wire.frames)
        for frame in new:
            if frame["type"] == "ack":
                self.queue = [item for item in self.queue if item[0] != frame["client_id"]]
            elif frame["type"] == "event" and frame["seq"] > self.last:
                assert frame["seq"] == self.last + 1, "a hole in the numbers"
                self.last = frame["seq"]
                if frame["kind"] == "message":
                    self.shown.append((frame["from"], frame["text"]))


STEPS = st.lists(
    st.sampled_from(["write", "answer", "send", "send", "look", "drop", "lose", "resume", "push twice", "work"]),
    min_size=5,
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_drops_and_repeats_lose_and_double_nothing(steps: list[str]) -> None:
    async with WebchatHarness() as harness:
        visitor = Widget(harness)
        await visitor.resume()
        visitor.write("0")
        await visitor.send_next()
        room = await harness.welcome_staff(visitor)
        said: dict[str, list[str]] = {"visitor": ["0"], "staff": []}
        for number, step in enumerate(steps, 1):
            if step == "write":
                said["visitor"].append(str(number))
                visitor.write(str(number))
            elif step == "answer":
                said["staff"].append(f"a{number}")
                harness.homeserver.say(room, MEI, f"a{number}")
            elif step == "send":
                await visitor.send_next()
            elif step == "look":
                visitor.look()
            elif step == "drop":
                visitor.disconnect()
            elif step == "lose":
                visitor.wire.lost = True
            elif step == "resume":
                await visitor.resume()
            elif step == "push twice":
                await harness.push(times=2)
            else:
                await harness.settle()
        for _ in range(3 * len(steps) + 5):
            await visitor.resume()
            await visitor.send_next()
            visitor.look()
        await visitor.settle()
        visitor.look()
        await visitor.resume()
        assert visitor.queue == []
        for side, texts in said.items():
            assert [text for who, text in visitor.shown if who == side] == texts
        in_room = harness.homeserver.texts(room)
        assert [text for who, text in in_room if who != MEI] == said["visitor"]


FAULTS = (OK, OK, OK, ERROR, LOST, LIMITED, UNREACHABLE, HANG)


async def crash_story(seed: int, directory: Path) -> None:
    """Messages both ways while the homeserver fails in every way and the bridge is torn down in between."""
    chance = random.Random(seed)
    harness = WebchatHarness(database=str(directory / "webchat.db"))
    harness.homeserver.fault = lambda method, path: chance.choice(FAULTS)
    async with harness:
        visitor = Widget(harness)
        said: dict[str, list[str]] = {"visitor": [], "staff": []}
        log: list[dict[str, Any]] = []
        await visitor.resume()
        pushed = 0
        for number in range(14):
            if chance.random() < 0.6:
                said["visitor"].append(f"v{number}")
                visitor.write(f"v{number}")
            rooms = harness.homeserver.portal_rooms()
            if rooms and chance.random() < 0.6:
                said["staff"].append(f"s{number}")
                harness.homeserver.say(rooms[0].room_id, MEI, f"s{number}")
            for _ in range(chance.randrange(4)):
                await visitor.send_next()
                visitor.look()
            log += harness.homeserver.unsent
            harness.homeserver.unsent = []
            # The homeserver repeats a transaction until it is answered, and sometimes once more.
            while pushed < len(log) and chance.random() < 0.7:
                end = min(len(log), pushed + chance.randrange(1, 6))
                for _ in range(chance.randrange(1, 3)):
                    await harness.push_transaction(f"{seed}-{pushed}-{end}", log[pushed:end])
                pushed = end
            for _ in range(chance.randrange(1, 40)):
                await harness.clock.sleep(0)
            await harness.restart()
            await visitor.resume()
        harness.homeserver.fault = lambda method, path: OK
        await harness.restart()
        log += harness.homeserver.unsent
        harness.homeserver.unsent = []
        await harness.push_transaction(f"{seed}-rest", log[pushed:])
        for _ in range(2 * len(said["visitor"]) + 2):
            await visitor.resume()
            await visitor.send_next()
            visitor.look()
        await visitor.settle()
        await visitor.resume()
        assert visitor.queue == []
        for side, texts in said.items():
            assert [text for who, text in visitor.shown if who == side] == texts, side
        rooms = harness.homeserver.portal_rooms()
        assert len(rooms) == (1 if said["visitor"] else 0)
        for room in rooms:
            texts = [text for who, text in harness.homeserver.texts(room.room_id) if who != MEI]
            assert texts == said["visitor"]


@pytest.mark.parametrize("seed", range(10))
async def test_W33_a_hundred_crashes_lose_and_double_nothing(seed: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        await crash_story(seed, Path(directory))
