"""The queues of a bridge while its own database cannot be written."""

from __future__ import annotations

import logging

import pytest

from bridges.kit.queues import STORE_PAUSE, ChatQueues
from bridges.kit.store import StoreUnavailable


class Naps:
    """A clock that only counts what was slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_row_waits_while_the_database_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    clock = Naps()
    done: list[str] = []

    async def handle(key: str) -> bool:
        if len(clock.slept) < 30:
            raise StoreUnavailable("the bridge's database cannot be used: database or disk is full")
        done.append(key)
        return len(done) < 2

    queues = ChatQueues(handle, "incoming", clock)
    queues.begin()
    queues.wake("chat")
    await queues.drained()
    assert done == ["chat", "chat"]
    assert clock.slept == [STORE_PAUSE] * 30
    assert all(record.levelno == logging.ERROR and record.exc_info is None for record in caplog.records)
