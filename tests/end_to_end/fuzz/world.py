"""The server that is asked, with its people, and how to tell whether it is still in order."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from homeserver.composition import build
from homeserver.http.application import HttpApplication
from homeserver.http.routing import Auth, Route, Router
from homeserver.media.services import MediaSettings
from homeserver.oauth.services import OAuthSettings
from homeserver.protocol.identifiers import parse_user_id
from homeserver.storage.database import Database
from tests.appservice_api.appservices import FakeCalls, registration
from tests.end_to_end.fuzz.forms import Browser
from tests.end_to_end.fuzz.pool import Pool
from tests.support.clock import FakeClock
from tests.support.http import MemoryClient
from tests.support.server import PASSWORD, SERVER_NAME, Server, User, in_place, server_settings

GHOST = f"@_irc_ghost:{SERVER_NAME}"
MEMORY_ONLY = ("presence", "next_batch", "ephemeral")
"""What a second look may rightly show otherwise: it is not stored, or moves by being looked at."""


@dataclass
class Person:
    """Somebody who asks. `query` is added to every request (an application service acting as a ghost)."""

    kind: str
    name: str = ""
    token: str | None = None
    user_id: str = ""
    device_id: str = ""
    query: tuple[tuple[str, str], ...] = ()
    browser: Browser = field(default_factory=Browser)
    is_dead: bool = False
    is_lost: bool = False
    """Suspended for good: only a new account helps."""
    """The token no longer works: somebody logged out, changed a password, locked or deactivated."""


@dataclass
class World:
    """A homeserver on a database, and who is in it."""

    server: Server
    routes: list[Route]
    pool: Pool = field(default_factory=Pool)
    people: list[Person] = field(default_factory=list)
    made: int = 0
    _reviving: asyncio.Lock = field(default_factory=asyncio.Lock)

    def somebody(self, chance: random.Random, auth: Auth) -> Person:
        """Whom the row is for mostly; others, and nobody, now and then."""
        wanted = {Auth.ADMIN: "admin", Auth.APPSERVICE: "appservice"}.get(auth)
        if wanted is not None and chance.random() < 0.75:
            return next(person for person in self.people if person.kind == wanted)
        weights = {"user": 12, "admin": 6, "guest": 5, "appservice": 5, "ghost": 5, "nobody": 4, "wrong": 2}
        return chance.choices(self.people, [weights[person.kind] for person in self.people])[0]

    async def revive(self, person: Person) -> None:
        """A new session, or a new account where that is not allowed any more."""
        async with self._reviving:
            if person.is_dead:
                await self._revive(person)
                person.is_dead = False

    async def _revive(self, person: Person, *, is_new: bool = False) -> None:
        if person.kind == "guest":
            answer = await self._ask("POST", "/register?kind=guest", {})
            person.token, person.user_id, person.device_id = _session(answer)
            return
        identifier = {"type": "m.id.user", "user": person.name}
        answer = await self._ask(
            "POST", "/login", {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        )
        if "access_token" not in answer or person.is_lost:
            person.is_lost = False
            assert is_new is False, f"a new account cannot log in: {answer}"
            self.made += 1
            person.name = f"{person.kind}{self.made}"
            user_id = parse_user_id(f"@{person.name}:{SERVER_NAME}")
            is_admin = person.kind == "admin"
            await self.server.homeserver.users.accounts.create_account(user_id, password=PASSWORD, is_admin=is_admin)
            await self._revive(person, is_new=True)
            return
        person.token, person.user_id, person.device_id = _session(answer)
        self.pool.learn(answer)

    async def refurnish(self, chance: random.Random) -> None:
        """One more room with everybody in it: operators delete rooms, people leave and are banned."""
        users = [person for person in self.people if person.kind in ("user", "admin") and not person.is_dead]
        if not users:
            return
        for room in self.pool.every(f"room of {users[0].user_id}")[-1:]:
            found = await self._ask("GET", f"/rooms/{room}/joined_members", ..., users[0].token)
            if len(found.get("joined", ())) > 1 and chance.random() < 0.8:
                return
        made = await self._ask("POST", "/createRoom", {"preset": "public_chat"}, chance.choice(users).token)
        room = made.get("room_id")
        if room is None:
            return
        self.pool.add("room", room)
        for number, person in enumerate(users):
            await self._ask("POST", f"/rooms/{room}/join", {}, person.token)
            path = f"/rooms/{room}/send/m.room.message/furnish{number}"
            said = await self._ask("PUT", path, {"msgtype": "m.text", "body": "hello there"}, person.token)
            self.pool.add(f"room of {person.user_id}", room)
            if "event_id" in said:
                self.pool.add(f"event of {room}", said["event_id"])

    async def _ask(self, method: str, path: str, body: Any, token: str | None = None) -> Any:
        answer = await self.server.client.request(method, f"/_matrix/client/v3{path}", json=body, token=token)
        return answer.json

    async def look(self, person: Person) -> Any:
        """What an initial sync shows somebody, without what is not stored."""
        wanted = json.dumps({"room": {"include_leave": True, "timeline": {"limit": 30}}})
        path = f"/_matrix/client/v3/sync?filter={quote(wanted)}&set_presence=offline"
        answer = await self.server.client.request("GET", path, token=person.token)
        assert answer.status == 200, f"{person.user_id} cannot sync: {answer.status} {answer.body[:300]!r}"
        return _stable(answer.json)

    def forget(self) -> None:
        """Drop what is in memory, as when another process wrote."""
        homeserver = self.server.homeserver
        homeserver.rooms.live.forget_all()
        homeserver.users.forget_all()
        homeserver.encryption.forget_all()
        homeserver.sync.user_rooms.forget_all()

    async def check_health(self) -> None:
        """A conversation works, and what is in memory is what is stored. Raises AssertionError."""
        self.server.client.address = "198.51.100.77"
        ann, ben = await self.server.register("healthy-ann"), await self.server.register("healthy-ben")
        room = await ann.create_room(invite=[ben.user_id])
        await ben.join(room)
        said = await ann.say(room, "Is everybody well?")
        synced = await ben.sync()
        shown = [event["event_id"] for event in synced["rooms"]["join"][room]["timeline"]["events"]]
        assert said in shown, "a message does not arrive any more"
        for person in self.people:
            if person.kind not in ("user", "admin"):
                continue
            person.is_dead = True
            await self.revive(person)
            before = await self.look(person)
            self.forget()
            after = await self.look(person)
            assert before == after, f"memory and database differ for {person.user_id}: {_difference(before, after)}"


def _session(answer: Any) -> tuple[str, str, str]:
    return answer["access_token"], answer["user_id"], answer["device_id"]


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stable(inner) for name, inner in value.items() if name not in MEMORY_ONLY and name != "age"}
    if isinstance(value, list):
        return [_stable(inner) for inner in value]
    return value


def _difference(before: Any, after: Any, place: str = "$") -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            if before.get(name, ...) != after.get(name, ...):
                return _difference(before.get(name, ...), after.get(name, ...), f"{place}.{name}")
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            if one != other:
                return _difference(one, other, f"{place}[{number}]")
    return f"{place}: {str(before)[:600]} became {str(after)[:600]}"


async def make_world(db: Database, folder: Path) -> World:
    """A server with people, rooms and an application service. The caller closes `world.server`."""
    clock = FakeClock()
    settings = server_settings(
        media=MediaSettings(folder=folder / "media"),
        oauth=OAuthSettings(is_enabled=True, base_url=f"https://matrix.{SERVER_NAME}"),
    )
    irc = registration("irc")
    homeserver = build(
        db,
        clock,
        settings,
        run_in_thread=in_place,
        appservices=[irc],
        appservice_calls=FakeCalls(),
        **_outside(),
    )
    routes = [*homeserver.client_routes, *homeserver.admin_routes]
    application = HttpApplication(Router(routes), homeserver.authenticator, clock=clock)
    await homeserver.start()
    server = Server(homeserver, clock, MemoryClient(application))
    world = World(server, routes)
    users = [await server.register(name) for name in ("alice", "bob", "carol")]
    admin = await server.register("admin", admin=True)
    world.people = [
        *(
            Person("user", user.user_id[1:].partition(":")[0], user.token, user.user_id, user.device_id)
            for user in users
        ),
        Person("admin", "admin", admin.token, admin.user_id),
        Person("guest", is_dead=True),
        Person("appservice", token=irc.as_token, user_id=irc.sender),
        Person("ghost", token=irc.as_token, user_id=GHOST, query=(("user_id", GHOST),)),
        Person("nobody"),
        Person("wrong", token="no such token"),
    ]
    body = {"type": "m.login.application_service", "username": "_irc_ghost", "inhibit_login": True}
    await User(server, irc.sender, irc.as_token, "").post("/register", body)
    await _furnish(world, users)
    return world


def _outside() -> dict[str, Any]:
    """Doubles of what the server would ask or send outside."""
    known = inspect.signature(build).parameters
    made: dict[str, Any] = {}
    if "mailer" in known:
        from tests.support.mail import Outbox

        made["mailer"] = Outbox()
    if "outbound" in known:
        from tests.support.outbound import FakeOutbound

        made["outbound"] = FakeOutbound()
    return made


async def _furnish(world: World, users: list[User]) -> None:
    alice, *others = users
    for number, preset in enumerate(("public_chat", "private_chat", "public_chat")):
        room = await alice.create_room(
            preset=preset,
            room_alias_name=f"fuzz{number}",
            invite=[user.user_id for user in others],
            room_version=("12", "11", "6")[number],
            initial_state=[{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}],
        )
        for user in others:
            await user.join(room)
            await user.say(room, "hello there")
        world.pool.add("room", room)
        for user in users:
            world.pool.add(f"room of {user.user_id}", room)
    world.pool.add("user", *(user.user_id for user in users), GHOST)
    world.pool.add("alias", *(f"#fuzz{number}:{SERVER_NAME}" for number in range(3)))
    for user in users:
        world.pool.learn(await user.get("/sync"))
        world.pool.learn(await user.get("/devices"))
