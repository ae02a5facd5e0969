"""One run of the simulation: a few homeservers, their users, and everything that may go wrong between them.

All that happens follows from the seed. A run is set up in fine weather; then users act while the network, the disks and
the servers fail; then all is well again, and when quiet has come the rooms are compared (`invariants.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeserver.protocol.errors import Unavailable
from tests.simulation.actions import Actor
from tests.simulation.invariants import check_rooms, check_told, check_whispers
from tests.support.simulated_network import NetworkWeather, SimulatedNetwork
from tests.support.simulated_server import USERS, SimulatedServer, prepared
from tests.support.simulated_storage import Disk, DiskWeather
from tests.support.virtual_loop import VirtualLoop, current_process, run_virtually

VERSIONS = ("6", "10", "11", "12")
NAMES = ("a.test", "b.test", "c.test", "d.test")
FAST_DISK = "/dev/shm"


class Failed(AssertionError):
    """Something did not hold; each line says what."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room of the run; `creator` is a user id."""

    room_id: str
    version: str
    creator: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An event that a server has told its client is sent."""

    event_id: str
    room_id: str
    server: str
    what: str


@dataclass
class World:
    """Everything there is."""

    seed: int
    loop: VirtualLoop
    chance: random.Random
    network: SimulatedNetwork
    servers: dict[str, SimulatedServer] = field(default_factory=dict)
    rooms: list[Room] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    whispers: dict[str, str] = field(default_factory=dict)
    """To whom messages between devices went whose sending was acknowledged, by their names."""
    whispered: set[str] = field(default_factory=set)
    """To whom any such message went, acknowledged or not."""
    trace: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    is_stormy: bool = False
    is_loud: bool = False
    acts: tuple[int, int] = (2, 8)
    """How much each user does."""

    def say(self, line: str) -> None:
        self.trace.append(f"{self.loop.time():.3f} {line}")
        if self.is_loud:
            print(f"{self.loop.time():10.3f} {line}")  # noqa: T201

    def chance_of(self, who: str) -> random.Random:
        """Chance that nobody else uses, so that a change somewhere else does not make all of a run another one."""
        return random.Random(f"{self.seed} {who}")

    def count(self, what: str, by: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + by

    @property
    def digest(self) -> str:
        """What happened, in short: two runs of a seed have the same."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]

    # ---- the story

    async def run(self, folder: Path) -> None:
        await self._set_up(folder)
        await self._storm()
        await self._heal()
        await self.settle()
        untold = await check_told(self)
        for _ in range(3):
            await self._speak_in_the_end()
            self.problems = await check_rooms(self)
            if not self.problems:
                break
        self.problems += untold
        self.problems += await check_whispers(self)
        self.problems += self.loop.complaints
        self.say(f"{len(self.acknowledged)} acknowledged, {len(self.problems)} problems")
        for server in self.servers.values():
            await server.crash()
            server.disk.close()

    async def _set_up(self, folder: Path) -> None:
        for name in NAMES[: self.chance.choice((2, 3, 3, 3, 4))]:
            disk = Disk(folder / name, prepared(name)[0], self.chance_of(f"disk of {name}"))
            skew_ms = self.chance.choice((0, 0, -1500, 4000))
            chance = self.chance_of(name)
            self.servers[name] = SimulatedServer(name, self.loop, self.network, disk, chance, skew_ms)
            await self.servers[name].start()
        for _ in range(self.chance.choice((1, 1, 2))):
            await self._make_room()
        await self.settle()

    async def _make_room(self) -> None:
        home = self.chance.choice(list(self.servers))
        creator = f"@{USERS[0]}:{home}"
        version = self.chance.choice(VERSIONS)
        others = [f"@{USERS[0]}:{name}" for name in self.servers if name != home]
        levels = {user: self.chance.choice((0, 50, 50, 100)) for user in others}
        if version != "12":
            levels[creator] = 100
        wanted = {
            "room_version": version,
            "preset": "public_chat",
            "power_level_content_override": {"users": levels},
        }
        answer = await self.servers[home].request(creator, "POST", "/createRoom", wanted)
        assert answer is not None
        assert answer.status == 200, answer.body
        room = Room(answer.json["room_id"], version, creator)
        self.rooms.append(room)
        for user in others:
            name = user.partition(":")[2]
            joined = await self.servers[name].request(user, "POST", f"/join/{room.room_id}", {}, via=home)
            assert joined is not None
            assert joined.status == 200, joined.body

    async def _storm(self) -> None:
        chance = self.chance
        self.is_stormy = True
        self.network.weather = NetworkWeather(
            delay=chance.choice((0.01, 0.05, 0.5, 3.0)),
            lost=chance.choice((0, 0, 0.05, 0.2)),
            unanswered=chance.choice((0, 0, 0.05, 0.2)),
            repeated=chance.choice((0, 0, 0.05, 0.2)),
            late=chance.choice((0, 0, 0.02)),
        )
        for server in self.servers.values():
            server.disk.weather = DiskWeather(
                slow=chance.choice((0.0, 0.05, 0.3)),
                full=chance.choice((0, 0, 0, 0.03)),
                broken=chance.choice((0, 0, 0, 0.01)),
            )
        self.say(f"storm: {self.network.weather}")
        users = [(server, user) for server in self.servers.values() for user in server.tokens]
        pace = chance.choice((0.02, 0.5, 5.0, 60.0))
        actors = [Actor(self, server, user, pace) for server, user in users]
        acting = [asyncio.ensure_future(actor.run(chance.randint(*self.acts))) for actor in actors]
        troubles = [asyncio.ensure_future(self._divide(pace)), asyncio.ensure_future(self._crash(pace))]
        await asyncio.gather(*acting)
        self.is_stormy = False
        await asyncio.gather(*troubles)

    async def _divide(self, pace: float) -> None:
        """The network falls into parts, and is whole again."""
        if self.chance.random() < 0.3:
            return
        while self.is_stormy:
            await asyncio.sleep(self.chance.expovariate(1.0) * pace * 6)
            self.network.parts = {name: self.chance.randrange(2) for name in self.servers}
            self.say(f"parts: {self.network.parts}")
            await asyncio.sleep(self.chance.expovariate(1.0) * pace * 8)
            self.network.parts = {}
            self.say("one network")

    async def _crash(self, pace: float) -> None:
        """Servers die and start again; one whose disk failed needs that."""
        are_frail = self.chance.random() < 0.6
        while self.is_stormy:
            await asyncio.sleep(self.chance.expovariate(1.0) * pace * 8)
            for server in self.servers.values():
                if self._is_broken(server) or (are_frail and self.chance.random() < 0.3):
                    await self._restart(server, self.chance.choice((0.0, 1.0, 4.0)) * pace)

    def _is_broken(self, server: SimulatedServer) -> bool:
        return server.process.alive and server.homeserver.db.is_broken  # type: ignore[attr-defined]

    async def _restart(self, server: SimulatedServer, pause: float) -> None:
        self.say(f"crash of {server.name}")
        self.count("crashes")
        await server.crash()
        await asyncio.sleep(pause)
        self.say(f"start of {server.name}")
        await server.start()

    async def _heal(self) -> None:
        self.network.weather = NetworkWeather()
        self.network.parts = {}
        for server in self.servers.values():
            self.count("failed commits", server.disk.failures)
            server.disk.weather = DiskWeather()
            if not server.process.alive:
                await server.start()
            elif self._is_broken(server):
                await self._restart(server, 0.0)
        self.say("all is well")

    async def settle(self) -> None:
        """Wait until nobody has anything to tell any more."""
        pause = 0.1
        end = self.loop.time() + 6 * 3600
        quiet = 0
        while quiet < 2:
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 60.0)
            is_quiet = not self.network.under_way and all(server.is_idle for server in self.servers.values())
            quiet = quiet + 1 if is_quiet else 0
            if self.loop.time() > end:
                raise Failed("after six hours there is no quiet")
        self.say("quiet")

    async def _speak_in_the_end(self) -> None:
        """Everybody says something, one after another, until all of a room is one line again. What is soft-failed on
        one side counts there once an event of the other side stands on it."""
        for room in self.rooms:
            for server in self.servers.values():
                live = await server.process.run(server.homeserver.rooms.live.find(room.room_id))
                for user in server.tokens:
                    if live is not None and live.membership(user) == "join":
                        await Actor(self, server, user, 0.0).say(room, "in the end")
                        await self.settle()
                        break


class _Complaints(logging.Handler):
    """Errors that servers log, but for those of what was done to them."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        process = current_process()
        error = record.exc_info[1] if record.exc_info else None
        if (process is not None and not process.alive) or isinstance(error, Unavailable):
            return
        if record.name.startswith("homeserver.storage"):
            return
        text = logging.Formatter().format(record) if error else record.getMessage()
        self._complaints.append(text)


def run(
    seed: int, see: Callable[[World], None] | None = None, *, is_loud: bool = False, is_long: bool = False
) -> World:
    """Run a seed. Raises Failed. `see` is called at the end, however it ends; `is_loud`: print the trace as it goes."""

    def main(folder: Path) -> Coroutine[Any, Any, World]:
        async def made() -> World:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            world = World(seed, loop, random.Random(seed), None)  # type: ignore[arg-type]
            world.is_loud = is_loud
            if is_long:
                world.acts = (3, 12)
            world.network = SimulatedNetwork(world.chance_of("network"), world.say)
            complaints = _Complaints(loop.complaints)
            logging.getLogger().addHandler(complaints)
            try:
                await world.run(folder)
            finally:
                logging.getLogger().removeHandler(complaints)
                if see is not None:
                    see(world)
            return world

        return made()

    for name in NAMES:
        prepared(name)
    with tempfile.TemporaryDirectory(dir=FAST_DISK if Path(FAST_DISK).is_dir() else None) as folder:
        world = run_virtually(lambda: main(Path(folder)), f"simulation {seed}")
    if world.problems:
        raise Failed(f"seed {seed}:\n" + "\n".join(world.problems[:40]))
    return world
