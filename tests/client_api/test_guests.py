"""Guests in a whole server: what they see and do, how they are sent away, and how they become full accounts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from tests.support.http import Answer
from tests.support.server import PASSWORD, Server, User


@dataclass
class Scene:
    """A public room of Alice's that lets guests in, and a guest in it."""

    server: Server
    alice: User
    guest: User
    room_id: str

    async def upgrade(self, *, waits_for: asyncio.Barrier | None = None, **body: object) -> Answer:
        """The guest registers. `waits_for`: others who are as far."""
        name = self.guest.user_id[1:].partition(":")[0]
        wanted = {"username": name, "password": PASSWORD, "guest_access_token": self.guest.token, **body}
        session = (await self.server.request("POST", "/register", wanted)).json["session"]
        auth = {"type": "m.login.dummy", "session": session}
        if waits_for is not None:
            await waits_for.wait()
        return await self.server.request("POST", "/register", {**wanted, "auth": auth})

    async def membership(self, user: User) -> str:
        path = f"/rooms/{self.room_id}/state/m.room.member/{user.user_id}"
        membership: str = (await self.alice.get(path))["membership"]
        return membership


@pytest.fixture
async def scene(whole_server: Server) -> Scene:
    alice = await whole_server.register("alice")
    guest = whole_server._user(await whole_server.request("POST", "/register", {}, kind="guest"))
    room_id = await alice.create_room(preset="public_chat")
    await alice.set_state(room_id, "m.room.guest_access", {"guest_access": "can_join"})
    await guest.join(room_id)
    return Scene(whole_server, alice, guest, room_id)


async def test_a_guest_reads_writes_and_names_itself(scene: Scene) -> None:
    guest, room_id = scene.guest, scene.room_id
    await scene.alice.say(room_id, "Welcome")
    joined = (await guest.sync())["rooms"]["join"][room_id]
    assert [each["content"].get("body") for each in joined["timeline"]["events"]][-1] == "Welcome"
    await guest.put(f"/profile/{guest.user_id}/displayname", {"displayname": "Visitor"})
    await guest.say(room_id, "Thank you")
    chunk = (await guest.get(f"/rooms/{room_id}/messages", dir="b", limit=1))["chunk"]
    assert chunk[0]["content"]["body"] == "Thank you"
    for path in (f"/rooms/{room_id}/state", f"/rooms/{room_id}/members", "/devices", "/account/whoami"):
        await guest.get(path)
    await guest.post(f"/rooms/{room_id}/leave")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/createRoom"),
        ("POST", "/rooms/{room}/invite"),
        ("POST", "/rooms/{room}/kick"),
        ("PUT", "/rooms/{room}/redact/$event/t1"),
        ("GET", "/publicRooms"),
        ("POST", "/user_directory/search"),
        ("GET", "/account/3pid"),
        ("POST", "/account/deactivate"),
        ("GET", "/pushers"),
        ("POST", "/search"),
        ("POST", "/_matrix/media/v3/upload"),
    ],
)
async def test_F18_a_guest_does_nothing_else(scene: Scene, method: str, path: str) -> None:
    if path == "/publicRooms":  # open to everybody, logged in or not
        assert (await scene.server.request("GET", path)).status == (await scene.guest.request("GET", path)).status
        return
    answer = await scene.guest.request(method, path.replace("{room}", scene.room_id), {})
    assert (answer.status, answer.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_guests_leave_when_the_room_stops_to_let_them_in_and_full_accounts_stay(scene: Scene) -> None:
    bob = await scene.server.register("bob")
    await bob.join(scene.room_id)
    await scene.alice.set_state(scene.room_id, "m.room.guest_access", {"guest_access": "forbidden"})
    assert await scene.membership(scene.guest) == "leave"
    assert await scene.membership(bob) == "join"
    answer = await scene.guest.request("POST", f"/rooms/{scene.room_id}/join")
    assert (answer.status, answer.json["errcode"]) == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_a_guest_who_registers_keeps_name_and_rooms_and_may_do_everything(scene: Scene) -> None:
    guest = scene.guest
    await guest.put(f"/profile/{guest.user_id}/displayname", {"displayname": "Visitor"})
    upgraded = scene.server._user(await scene.upgrade())
    assert upgraded.user_id == guest.user_id
    assert (await guest.request("GET", "/account/whoami")).json["errcode"] == "M_UNKNOWN_TOKEN"
    assert (await upgraded.get(f"/profile/{guest.user_id}"))["displayname"] == "Visitor"
    await upgraded.say(scene.room_id, "It is still me")
    await upgraded.create_room()
    found = await scene.alice.post("/user_directory/search", {"search_term": "Visitor"})
    assert [each["user_id"] for each in found["results"]] == [guest.user_id]
    await scene.alice.set_state(scene.room_id, "m.room.guest_access", {"guest_access": "forbidden"})
    assert await scene.membership(upgraded) == "join"


async def test_F05_two_registrations_of_one_guest_at_once_set_one_password(scene: Scene) -> None:
    both = asyncio.Barrier(2)
    answers = await asyncio.gather(
        scene.upgrade(waits_for=both), scene.upgrade(waits_for=both, password="the other one's password")
    )
    assert sorted(answer.status for answer in answers) == [200, 403]
    winner = PASSWORD if answers[0].status == 200 else "the other one's password"
    await scene.server.log_in(scene.guest.user_id, password=winner)
