"""What users do in the simulation, by requests to their own server, allowed or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.support.http import Answer
from tests.support.simulated_server import SimulatedServer

if TYPE_CHECKING:
    from tests.simulation.world import Room, World

ACTIONS = {
    "message": 9,
    "topic": 2,
    "name": 1,
    "profile": 1,
    "level": 2,
    "ban": 1,
    "kick": 1,
    "unban": 1,
    "invite": 2,
    "join": 4,
    "leave": 1,
    "join_rule": 1,
    "redact": 2,
    "whisper": 2,
}


class Actor:
    """One user. `pace`: seconds between two things they do, on average."""

    def __init__(self, world: World, server: SimulatedServer, user: str, pace: float) -> None:
        self._world = world
        self._chance = world.chance_of(f"{user} {len(world.trace)}")
        self._server = server
        self._user = user
        self._pace = pace

    async def run(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(self._chance.expovariate(1.0) * self._pace)
            action = self._chance.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            await self._act(action, self._chance.choice(self._world.rooms))

    async def _act(self, action: str, room: Room) -> None:
        chance, at = self._chance, f"/rooms/{quote(room.room_id)}"
        number = len(self._world.trace)
        if action == "message":
            await self.say(room, f"{number}")
        elif action in ("topic", "name"):
            await self._set_state(room, f"m.room.{action}", {action: f"{number}"})
        elif action == "profile":
            await self._ask(action, "PUT", f"/profile/{self._user}/displayname", {"displayname": f"{number}"})
        elif action == "level":
            await self._set_level(room)
        elif action in ("ban", "kick", "unban", "invite"):
            target = chance.choice([user for server in self._world.servers.values() for user in server.tokens])
            if target != self._user:
                await self._ask(f"{action} {target}", "POST", f"{at}/{action}", {"user_id": target})
        elif action == "join":
            via = chance.choice([name for name in self._world.servers if name != self._server.name])
            await self._ask(action, "POST", f"/join/{quote(room.room_id)}", {}, via=via)
        elif action == "leave":
            await self._ask(action, "POST", f"{at}/leave", {})
        elif action == "join_rule":
            rule = chance.choice(("public", "public", "invite"))
            await self._set_state(room, "m.room.join_rules", {"join_rule": rule})
        elif action == "redact":
            known = [one for one in self._world.acknowledged if one.room_id == room.room_id]
            if known:
                await self._send(room, f"redact/{quote(chance.choice(known).event_id)}", "redaction", {})

        elif action == "whisper":
            await self._whisper()

    async def _whisper(self) -> None:
        """A message to the devices of a user, wherever they are."""
        target = self._chance.choice([user for server in self._world.servers.values() for user in server.tokens])
        self._world.count("whispers")
        self._world.whispered.add(target)
        name = f"whisper {self._world.counts['whispers']}"
        path = f"/sendToDevice/test.whisper/{quote(name)}"
        for _ in range(self._chance.choice((1, 2, 4))):
            answer = await self._ask(name, "PUT", path, {"messages": {target: {"*": {"name": name}}}})
            if answer is not None and answer.status < 500:
                break
            await asyncio.sleep(self._pace)
        if answer is not None and answer.status == 200:
            self._world.whispers[name] = target

    async def say(self, room: Room, body: str) -> None:
        """A message, which is sent again, as clients do, when no answer comes."""
        await self._send(room, "send/m.room.message", body, {"msgtype": "m.text", "body": body})

    async def _send(self, room: Room, path: str, what: str, content: dict[str, Any]) -> None:
        self._world.count("transactions")
        path = f"/rooms/{quote(room.room_id)}/{path}/t{self._world.counts['transactions']}"
        for _ in range(self._chance.choice((1, 2, 4))):
            answer = await self._ask(what, "PUT", path, content)
            if answer is not None and answer.status < 500:
                break
            await asyncio.sleep(self._pace)
        self._note(room, what, answer)

    async def _set_state(self, room: Room, kind: str, content: dict[str, Any]) -> None:
        answer = await self._ask(kind, "PUT", f"/rooms/{quote(room.room_id)}/state/{kind}/", content)
        self._note(room, kind, answer)

    async def _set_level(self, room: Room) -> None:
        kind = "m.room.power_levels"
        answer = await self._ask("levels?", "GET", f"/rooms/{quote(room.room_id)}/state/{kind}/")
        if answer is None or answer.status != 200:
            return
        levels = dict(answer.json)
        servers = self._world.servers.values()
        target = self._chance.choice([user for server in servers for user in server.tokens])
        levels["users"] = {**levels.get("users", {}), target: self._chance.choice((0, 50, 75, 100))}
        await self._set_state(room, kind, levels)

    def _note(self, room: Room, what: str, answer: Answer | None) -> None:
        from tests.simulation.world import Acknowledged

        if answer is not None and answer.status == 200:
            event_id = answer.json["event_id"]
            self._world.acknowledged.append(Acknowledged(event_id, room.room_id, self._server.name, what))

    async def _ask(self, what: str, method: str, path: str, json: Any = ..., **query: Any) -> Answer | None:
        answer = await self._server.request(self._user, method, path, json, **query)
        status = "nothing" if answer is None else answer.status
        self._world.say(f"{self._user} {what}: {status}")
        self._world.count(f"answers {status}")
        if answer is not None and answer.status == 500:
            self._world.loop.complaints.append(f"500 to {self._user} {what} {path}: {answer.body!r}")
        return answer
