"""The people and rooms of one server that the work needs; settled once, before the first round."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.elsewhere import Elsewhere
from benchmarks.person import Person, register

MEMBERS = 60
WRITERS = 16
BIG_ACCOUNT_ROOMS = 150
MESSAGES_IN_BIG_ROOM = 5
MANY_ROOMS = 1_000


@dataclass
class Town:
    """The people and rooms of one server."""

    pid: int
    port: int
    shared_secret: str
    server_name: str = ""
    tls: tuple[Path, Path] | None = None
    """Certificate and key that the server trusts, for the servers elsewhere."""
    people: list[Person] = field(default_factory=list)
    """MEMBERS people; the first WRITERS of them write."""
    shared_room: str = ""
    """Where the writers write."""
    own_rooms: list[str] = field(default_factory=list)
    """One room for each writer."""
    waiting_room: str = ""
    """A room with all MEMBERS."""
    owner: Person | None = None
    """Has BIG_ACCOUNT_ROOMS rooms."""
    big_rooms: list[str] = field(default_factory=list)
    traveller: Person | None = None
    """Is in MANY_ROOMS rooms."""
    many_rooms: list[str] = field(default_factory=list)
    rooms_made: int = 0
    elsewheres: list[Elsewhere] = field(default_factory=list)
    newcomers: int = 0

    @property
    def reader(self) -> Person:
        """Who reads what comes from elsewhere."""
        return self.people[0]

    async def settle_federated(self) -> None:
        """Make what the work between servers needs."""
        self.people = [await self._register("reader")]

    async def open_elsewhere(self, names: int) -> Elsewhere:
        """Other servers, whose keys nobody knows yet; they stay until the end, lest they be looked for in vain."""
        assert self.tls is not None
        elsewhere = await Elsewhere.open(*self.tls, names=names)
        self.elsewheres.append(elsewhere)
        return elsewhere

    async def newcomer(self) -> Person:
        self.newcomers += 1
        return await self._register(f"newcomer{self.newcomers}")

    def close(self) -> None:
        for elsewhere in self.elsewheres:
            elsewhere.close()

    @property
    def writers(self) -> list[Person]:
        return self.people[:WRITERS]

    async def settle(self, wanted: set[str]) -> None:
        """Make what the wanted cases need."""
        names = [f"person{number}" for number in range(MEMBERS)]
        self.people = await at_once(8, [self._register(name) for name in names])
        if "sends16" in wanted or "pagination" in wanted or "sends1" in wanted:
            self.shared_room = await room_of(self.writers, "Shared")
        if "sends16_rooms" in wanted:
            self.own_rooms = [await room_of([writer], "Own") for writer in self.writers]
        if "waiting" in wanted:
            self.waiting_room = await room_of(self.people, "Waiting")
        if wanted & {"initial_sync", "incremental_sync"}:
            await self._settle_owner()
        if wanted & {"sliding", "initial1000"}:
            await self._settle_traveller()
        if "pagination" in wanted:
            await at_once(4, [self._writes(writer, 75) for writer in self.writers])

    async def _register(self, name: str) -> Person:
        return await register(self.port, self.shared_secret, name)

    async def _writes(self, writer: Person, messages: int) -> None:
        for number in range(messages):
            await writer.send(self.shared_room, f"older message {number}")

    async def _settle_owner(self) -> None:
        self.owner = owner = await self._register("owner")
        for number in range(BIG_ACCOUNT_ROOMS):
            neighbour = self.people[number % WRITERS]
            room_id = await owner.create_room(f"Room {number}", preset="public_chat")
            await neighbour.join(room_id)
            for message in range(MESSAGES_IN_BIG_ROOM):
                await (owner, neighbour)[message % 2].send(room_id, f"message {message}")
            self.big_rooms.append(room_id)

    async def _settle_traveller(self) -> None:
        self.traveller = traveller = await self._register("traveller")

        async def settle(host: Person, numbers: range) -> None:
            for number in numbers:
                room_id = await host.create_room(f"Place {number}", preset="public_chat")
                visitor = Person(self.port, traveller.user_id, traveller.token)
                await visitor.join(room_id)
                visitor.http.close()
                await host.send(room_id, f"message of place {number}")
                self.many_rooms.append(room_id)

        hosts = self.people[:4]
        share = MANY_ROOMS // len(hosts)
        await asyncio.gather(
            *(settle(host, range(index * share, (index + 1) * share)) for index, host in enumerate(hosts))
        )


async def room_of(members: Sequence[Person], name: str) -> str:
    """A public room that all are in; the first one made it."""
    room_id = await members[0].create_room(name, preset="public_chat")
    for member in members[1:]:
        await member.join(room_id)
    return room_id


async def at_once(limit: int, jobs: Sequence[Awaitable[Any]]) -> list[Any]:
    """The results of all jobs, at most `limit` at a time."""
    gate = asyncio.Semaphore(limit)

    async def one(job: Awaitable[Any]) -> Any:
        async with gate:
            return await job

    return list(await asyncio.gather(*(one(job) for job in jobs)))
