"""The run: start, load, kill, start again, look; and at the end look at everything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.end_to_end.crash.checks import Checker, check_log, check_sqlite
from tests.end_to_end.crash.ledger import Ledger
from tests.end_to_end.crash.person import Person, sync_path
from tests.end_to_end.crash.wire import Line, Weather, room_path
from tests.support.halfdoor_process import halfdoor
from tests.support.postgresql import PostgresServer
from tests.support.server_process import ServerProblem, ServerProcess

PEOPLE = 8
WANDERERS = 2
PAUSE_SECONDS = 0.08
KILL_DURING_START = 0.15
SHUTDOWN_SECONDS = 5.0
WAITING = 4
SETTINGS = {
    "shutdown_seconds": SHUTDOWN_SECONDS,
    "sync": {"timeline_limit_max": 1000},
    "logging": {"format": "console", "level": "info"},
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """`database`: `sqlite` or `postgresql`; of the latter, every `kill_database_every`th cycle also kills the database
    (0: never). The load runs between `shortest` and `longest` seconds before each kill."""

    cycles: int = 25
    seed: int = 1
    database: str = "sqlite"
    kill_database_every: int = 3
    shortest: float = 0.5
    longest: float = 2.5
    gently: bool = False
    """SIGTERM instead of SIGKILL: what is under way must be answered, long polls too, and the exit status be 0."""
    tokens: int = 2
    """Old tokens of two people that are looked at after each kill."""
    tokens_at_the_end: int = 40
    """Old tokens of everybody that are looked at in the end."""


@dataclass
class Report:
    """What came of it. `problems` is empty when every promise was kept."""

    problems: list[str] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    """Seconds from each start to the first answer."""
    start_cpu: list[float] = field(default_factory=list)
    """Seconds of processor time that the server took until then; what the rest of the machine does is not in it."""
    load: float = 0.0
    """The longest queue of processes per processor that was seen: above 1, the machine had more to do than it could."""
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each start of a killed database to the first write."""
    stops: list[float] = field(default_factory=list)
    """Seconds from each SIGTERM to the end of the process."""
    kills_of_server: int = 0
    kills_during_start: int = 0
    kills_of_database: int = 0
    seconds: float = 0.0
    facts: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        lines = [
            f"{self.kills_of_server} kills of the server, {self.kills_during_start} more while it started, "
            f"{self.kills_of_database} of the database, in {self.seconds:.0f} s",
            f"restart: median {_median(self.restarts):.2f} s, longest {max(self.restarts, default=0):.2f} s; "
            f"of processor time {_median(self.start_cpu):.2f} s, at most {max(self.start_cpu, default=0):.2f} s; "
            f"load per processor up to {self.load:.1f}",
        ]
        if self.stops:
            lines.append(f"{len(self.stops)} stops by SIGTERM, the longest in {max(self.stops):.2f} s")
        if self.recoveries:
            lines.append(f"after the database's restart: first write within {max(self.recoveries):.2f} s")
        lines += [f"  {count:>8} {name}" for name, count in self.facts.items()]
        lines += [f"PROBLEM {problem}" for problem in self.problems[:40]]
        lines.append(f"{len(self.problems)} problems")
        return "\n".join(lines)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


async def run(options: Options, directory: Path, say: Say) -> Report:
    """All cycles on a new server in `directory`."""
    with contextlib.ExitStack() as stack:
        postgresql: PostgresServer | None = None
        if options.database == "postgresql":
            postgresql = PostgresServer()
            stack.callback(postgresql.remove)
            await asyncio.to_thread(postgresql.start)
        url = "sqlite" if postgresql is None else postgresql.url()
        server = halfdoor(directory, database=url, settings=SETTINGS)
        stack.callback(server.kill)
        return await CrashRun(options, server, postgresql, say).run()


class CrashRun:
    """One run on one server."""

    def __init__(self, options: Options, server: ServerProcess, postgresql: PostgresServer | None, say: Say) -> None:
        self.options = options
        self.server = server
        self.postgresql = postgresql
        self.say = say
        self.chance = random.Random(options.seed)
        self.weather = Weather(server.port)
        self.ledger = Ledger()
        self.report = Report()
        self.people: list[Person] = []
        self.rooms: list[str] = []

    async def run(self) -> Report:
        began = time.monotonic()
        await asyncio.to_thread(self.server.start)
        await self.move_in()
        checker = Checker(self.people, WANDERERS, self.ledger, self.chance)
        load = [asyncio.create_task(each) for each in self.load()]
        try:
            for cycle in range(1, self.options.cycles + 1):
                await self.cycle(cycle, checker)
                if any(task.done() for task in load):
                    break  # somebody's work ended with an exception, which is told below
            await self.calm_down(load)
            await checker.everything(self.rooms, tokens=self.options.tokens_at_the_end)
        finally:
            for task in load:
                task.cancel()
            results = await asyncio.gather(*load, return_exceptions=True)
            for person in self.people:
                person.close()
        self.weather.problems += [f"the load failed: {each!r}" for each in results if isinstance(each, Exception)]
        self.check_files(thorough=True)
        await asyncio.to_thread(self.server.stop)
        self.weather.problems += check_log(self.server.log_file.read_text(errors="replace"))
        self.report.seconds = time.monotonic() - began
        self.report.problems = self.weather.problems
        self.report.facts = self.facts(checker)
        return self.report

    def facts(self, checker: Checker) -> dict[str, int]:
        sends = self.ledger.sends.values()
        return {
            "messages acknowledged": len(self.ledger.acknowledged),
            "  of them after more than one try": sum(1 for send in sends if send.event_id and send.tries > 1),
            "messages given up without an answer": sum(1 for send in sends if send.event_id is None),
            "rooms created": len(self.ledger.created),
            **{f"compared: {name}": count for name, count in sorted(checker.compared.items())},
            **dict(sorted(self.weather.counts.items())),
        }

    # ---- the load

    async def move_in(self) -> None:
        """Accounts, rooms, everybody in them, and each one's first sync."""
        accounts = [await asyncio.to_thread(self.server.register, f"person{index}") for index in range(PEOPLE)]
        self.people = [Person(each, self.weather, self.ledger, self.chance) for each in accounts]
        self.weather.up.set()
        first = self.people[0].line()
        for name in ("one", "two", "three"):
            body = {
                "preset": "public_chat",
                "name": name,
                "power_level_content_override": {"state_default": 0},
            }
            room_id: str = (await first.ask("POST", "/_matrix/client/v3/createRoom", body))["room_id"]
            self.rooms.append(room_id)
            for person in self.people[1:]:
                await person.line().ask("POST", room_path(room_id, "join"), {})
        for person in self.people:
            await person.sync_once(person.line(), 0)

    def load(self) -> list[Any]:
        """What everybody does, as coroutines that end once the people are stopping."""
        one, two, three = self.rooms
        work: list[Any] = []
        for index, person in enumerate(self.people):
            other = self.people[(index + 1) % PEOPLE].user_id
            work.append(person.sync_for_ever())
            work.append(person.keep_at_it(lambda line, who=person: _ignore(who.say(line, one)), PAUSE_SECONDS))  # type: ignore[misc]
            work.append(person.keep_at_it(lambda line, who=person: self.vary(who, line, two), PAUSE_SECONDS))  # type: ignore[misc]
            work.append(
                person.keep_at_it(lambda line, who=person, to=other: self.errand(who, line, to), 2 * PAUSE_SECONDS)  # type: ignore[misc]
            )
            if index >= PEOPLE - WANDERERS:
                work.append(person.keep_at_it(lambda line, who=person: who.come_and_go(line, three), 0.4))  # type: ignore[misc]
            else:
                work.append(person.keep_at_it(lambda line, who=person: _ignore(who.say(line, three)), 0.3))  # type: ignore[misc]
        return work

    async def vary(self, person: Person, line: Line, room_id: str) -> None:
        """A message, which may be redacted at once, or state."""
        if self.chance.random() < 0.25:
            await person.set_state(line, room_id)
            return
        send = await person.say(line, room_id)
        if send.event_id is not None and self.chance.random() < 0.3:
            await person.redact(line, send)

    async def errand(self, person: Person, line: Line, other: str) -> None:
        """One of the small things."""
        drawn = self.chance.random()
        if drawn < 0.35:
            await person.mark_read(line, self.chance.choice(self.rooms[:2]))
        elif drawn < 0.5:
            await person.set_account_data(line, "")
        elif drawn < 0.6:
            await person.set_account_data(line, self.rooms[0])
        elif drawn < 0.98:
            await person.send_note(line, other)
        else:
            await person.create_room(line, other)
        await person.accept_invites(line)

    # ---- the kills

    async def cycle(self, cycle: int, checker: Checker) -> None:
        self.ledger.cycle = cycle
        await asyncio.sleep(self.chance.uniform(self.options.shortest, self.options.longest))
        every = self.options.kill_database_every
        if self.postgresql is not None and every and cycle % every == 0:
            await self.kill_database()
        await (self.stop_server() if self.options.gently else self.kill_server())
        problems = len(self.weather.problems)
        await checker.sample(self.rooms, tokens=self.options.tokens)
        if cycle % 5 == 0:
            self.check_files(thorough=False)
        self.say(
            f"cycle {cycle}: {len(self.ledger.acknowledged)} acknowledged, restart {self.report.restarts[-1]:.2f} s, "
            f"{len(self.weather.problems)} problems"
        )
        for problem in self.weather.problems[problems : problems + 5]:
            self.say(f"  {problem}")
        self.weather.up.set()

    async def kill_server(self) -> None:
        """SIGKILL in the middle of everything; now and then once more while it starts."""
        self.weather.up.clear()
        await asyncio.to_thread(self.server.kill)
        self.report.kills_of_server += 1
        if self.chance.random() < KILL_DURING_START:
            starting = asyncio.create_task(asyncio.to_thread(self.server.start))
            await asyncio.sleep(self.chance.uniform(0.2, 1.2))
            if self.server.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.server.process.pid, signal.SIGKILL)
            with contextlib.suppress(ServerProblem):
                await starting
            await asyncio.to_thread(self.server.kill)
            self.report.kills_during_start += 1
        await self.start_server()

    async def stop_server(self) -> None:
        """SIGTERM in the middle of everything, and while some wait for news that do not come."""
        account = await asyncio.to_thread(self.server.register, f"sleeper{self.ledger.cycle}")
        sleeper = Person(account, self.weather, self.ledger, self.chance)
        await sleeper.sync_once(sleeper.line(), 0)
        await sleeper.sync_to_the_end()
        path = sync_path(sleeper.view.token, 1, 30_000)
        waits = [asyncio.create_task(sleeper.line(waits=False).ask("GET", path)) for _ in range(WAITING)]
        await asyncio.sleep(0.3)
        self.weather.up.clear()
        process = self.server.process
        assert process is not None
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*waits)
        if any(answer is None for answer in answers):
            self.weather.problem("a long poll was cut off by SIGTERM")
        status = await asyncio.to_thread(process.wait, SHUTDOWN_SECONDS + 30)
        self.report.stops.append(time.monotonic() - began)
        if status != 0 or self.report.stops[-1] > SHUTDOWN_SECONDS + 10:
            self.weather.problem(f"SIGTERM: exit status {status} after {self.report.stops[-1]:.1f} s")
        sleeper.close()
        self.server.kill()
        await self.start_server()

    async def start_server(self) -> None:
        await asyncio.to_thread(self.server.start)
        self.report.restarts.append(self.server.start_seconds)
        self.report.start_cpu.append(processor_seconds(self.server.pid))
        self.report.load = max(self.report.load, os.getloadavg()[0] / (os.cpu_count() or 1))

    async def kill_database(self) -> None:
        """SIGKILL for PostgreSQL alone: the server stays up, refuses, and goes on once the database is back."""
        assert self.postgresql is not None
        self.weather.may_refuse = True
        await asyncio.to_thread(self.postgresql.stop, signal.SIGKILL)
        self.report.kills_of_database += 1
        await asyncio.sleep(self.chance.uniform(0.1, 0.5))
        await asyncio.to_thread(self.postgresql.start)
        began = time.monotonic()
        person = self.people[0]
        line = person.line()
        await person.send_note(line, self.people[1].user_id)
        line.close()
        self.report.recoveries.append(time.monotonic() - began)
        await asyncio.sleep(1.0)  # connections that broke are found out one by one
        self.weather.may_refuse = False
        await asyncio.sleep(self.chance.uniform(0.2, 1.0))

    async def calm_down(self, load: list[asyncio.Task[None]]) -> None:
        """Everybody finishes what they are at; then everybody takes all there is to take."""
        for person in self.people:
            person.stopping = True
        await asyncio.wait_for(asyncio.gather(*load), 60)
        for person in self.people:
            await person.sync_to_the_end()

    def check_files(self, *, thorough: bool) -> None:
        if self.postgresql is None:
            self.weather.problems += check_sqlite(self.server.directory / "halfdoor.db", thorough=thorough)


def processor_seconds(pid: int) -> float:
    """What a process took of the processors until now (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _ignore(coroutine: Any) -> None:
    await coroutine
