"""Plays the cases: every round gives each server its turn, while the other one is stopped in its tracks."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import memory_mib, wait_until_idle
from benchmarks.profiling import profiled
from benchmarks.results import Results
from benchmarks.servers import Contestant, contestants
from benchmarks.town import Town
from benchmarks.work import CASES, Case
from tests.support.certificates import self_signed


@dataclass(frozen=True)
class State:
    """What is read off a server rather than worked out of it; the same fields as a case."""

    name: str
    title: str
    unit: str
    higher_is_better: bool = False
    bar: float | None = None


MEMORY_IDLE = State("memory_idle", "memory, idle after the start", "MiB", bar=2)
MEMORY_AFTER = State("memory_after", "memory after all of this", "MiB")
FIRST_START = State("first_start", "start-up with an empty database", "s")
START = State("start", "start-up with these data", "s")
STATES = [MEMORY_IDLE, MEMORY_AFTER, FIRST_START, START]
ALL: list[Case | State] = [*CASES, *STATES]


@dataclass(frozen=True)
class Plan:
    """What to play."""

    kinds: list[str]
    databases: list[str]
    cases: list[str]
    rounds: int
    profile: Path | None = None


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


async def play(plan: Plan, results: Results) -> None:
    alone = [case for case in CASES if case.name in plan.cases and not case.federated]
    abroad = [case for case in CASES if case.name in plan.cases and case.federated]
    for database in plan.databases:
        if alone:
            say(f"{database}: starting {' and '.join(plan.kinds)}")
            with contestants(plan.kinds, database) as taking_part:
                await play_on(plan, database, alone, taking_part, results)
        if abroad:
            say(f"{database}: starting {' and '.join(plan.kinds)}, open to other servers")
            with tempfile.TemporaryDirectory() as folder:
                tls = self_signed(Path(folder), "localhost")
                with contestants(plan.kinds, database, tls[0]) as taking_part:
                    await play_abroad(plan, database, abroad, taking_part, results, tls)


async def play_abroad(
    plan: Plan,
    database: str,
    cases: list[Case],
    taking_part: list[Contestant],
    results: Results,
    tls: tuple[Path, Path],
) -> None:
    towns = {each.kind: town_of(each, tls) for each in taking_part}
    try:
        for each in taking_part:
            with each.awake():
                await towns[each.kind].settle_federated()
        await play_rounds(plan, database, cases, taking_part, towns, results)
    finally:
        for town in towns.values():
            town.close()


async def play_on(
    plan: Plan, database: str, cases: list[Case], taking_part: list[Contestant], results: Results
) -> None:
    towns: dict[str, Town] = {}
    for each in taking_part:
        with each.awake():
            wait_until_idle(each.process.pid)
            results.add(database, FIRST_START.name, each.kind, each.first_start_seconds)
            results.add(database, MEMORY_IDLE.name, each.kind, memory_mib(each.process.pid))
            town = town_of(each)
            begun = time.monotonic()
            await town.settle(set(plan.cases))
            wait_until_idle(each.process.pid)
            say(f"{database}: {each.kind} has its people and rooms ({time.monotonic() - begun:.0f} s)")
            towns[each.kind] = town
    await play_rounds(plan, database, cases, taking_part, towns, results)
    for each in taking_part:
        with each.awake():
            wait_until_idle(each.process.pid)
            results.add(database, MEMORY_AFTER.name, each.kind, memory_mib(each.process.pid))
        measure_starts(plan, database, each, results)


def town_of(each: Contestant, tls: tuple[Path, Path] | None = None) -> Town:
    process = each.process
    return Town(process.pid, process.port, process.shared_secret, process.server_name, tls)


async def play_rounds(
    plan: Plan,
    database: str,
    cases: list[Case],
    taking_part: list[Contestant],
    towns: dict[str, Town],
    results: Results,
) -> None:
    for number in range(plan.rounds):
        for case in cases:
            # The one that begins changes from round to round.
            for each in taking_part if number % 2 == 0 else reversed(taking_part):
                with each.awake(), maybe_profiled(plan, each, f"{database}-{case.name}-{number + 1}"):
                    measured = await case.measure(towns[each.kind])
                results.add(database, case.name, each.kind, measured)
                turn = f"round {number + 1} of {plan.rounds}"
                say(f"{database}: {turn}, {case.name}, {each.kind}: {measured:.2f} {case.unit}")


def measure_starts(plan: Plan, database: str, each: Contestant, results: Results) -> None:
    """Stop and start as often as there are rounds; the server stays stopped at the end."""
    each.stop()
    for _ in range(plan.rounds):
        each.process.start()
        results.add(database, START.name, each.kind, each.process.start_seconds)
        each.process.stop()


def maybe_profiled(plan: Plan, each: Contestant, name: str) -> contextlib.AbstractContextManager[None]:
    if plan.profile is None:
        return contextlib.nullcontext()
    return profiled(each.process.pid, plan.profile, f"{each.kind}-{name}")
