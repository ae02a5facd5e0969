"""Presence as time passes: online, idle, offline, and told no more often than needed."""

from __future__ import annotations

from typing import Any

from homeserver.stream import Change
from homeserver.users.presence import State
from tests.support.clock import settle
from tests.support.user_server import Person, UserServer, open_user_server


async def state(server: UserServer, person: Person) -> str:
    content = await server.services.presence.content_of(person.user_id)
    presence: str = content["presence"]
    return presence


def tellings(server: UserServer) -> list[tuple[int, tuple[str, ...]]]:
    told: list[tuple[int, tuple[str, ...]]] = []

    def listen(kind: Change, position: int, rooms: Any, users: tuple[str, ...]) -> None:
        if kind is Change.PRESENCE:
            told.append((position, users))

    server.stream.listen(listen)
    return told


async def test_syncing_makes_online_and_stopping_makes_offline(server: UserServer) -> None:
    alice = await server.register("alice")
    presence = server.services.presence
    assert await state(server, alice) == "offline"
    await presence.sync_begins(alice.user_id, alice.device_id)
    assert await state(server, alice) == "online"
    await server.clock.advance(100)
    assert await state(server, alice) == "online"
    presence.sync_ends(alice.user_id, alice.device_id)
    await server.clock.advance(30)
    assert await state(server, alice) == "online"
    await server.clock.advance(6)
    assert await state(server, alice) == "offline"
    await server.clock.advance(60)
    presence.close()


async def test_five_quiet_minutes_make_idle_and_activity_online(server: UserServer) -> None:
    alice = await server.register("alice")
    presence = server.services.presence
    await presence.sync_begins(alice.user_id, alice.device_id)
    await server.clock.advance(61)
    assert (await presence.content_of(alice.user_id))["currently_active"] is False
    await server.clock.advance(240)
    assert await state(server, alice) == "unavailable"
    presence.note_activity(alice.user_id)
    assert await presence.content_of(alice.user_id) == {
        "presence": "online",
        "currently_active": True,
        "last_active_ago": 0,
    }
    presence.close()


async def test_sync_may_ask_to_be_idle_or_unseen(server: UserServer) -> None:
    alice = await server.register("alice")
    presence = server.services.presence

    async def poll(wanted: State) -> str:
        await presence.sync_begins(alice.user_id, alice.device_id, wanted)
        presence.sync_ends(alice.user_id, alice.device_id, wanted)
        return await state(server, alice)

    assert await poll("offline") == "offline"
    assert await poll("unavailable") == "unavailable"
    assert await poll("online") == "online"
    assert await poll("unavailable") == "unavailable"
    await presence.sync_begins(alice.user_id, "OTHER", "online")
    assert await state(server, alice) == "online"
    presence.close()


async def test_D16_changes_are_told_at_most_every_ten_seconds(server: UserServer) -> None:
    alice = await server.register("alice")
    told = tellings(server)
    for number in range(50):
        wished = ("online", "unavailable")[number % 2]
        path = f"/presence/{alice.user_id}/status"
        assert (await server.put(path, {"presence": wished}, token=alice.token)).status == 200
    assert len(told) == 1
    await server.clock.advance(10)
    assert len(told) == 2
    await server.clock.advance(10)
    assert len(told) == 2
    server.services.presence.close()


async def test_nothing_is_told_while_nothing_changes(server: UserServer) -> None:
    alice = await server.register("alice")
    told = tellings(server)
    presence = server.services.presence
    for _ in range(40):
        await presence.sync_begins(alice.user_id, alice.device_id)
        presence.note_activity(alice.user_id)
        await server.clock.advance(5)
        presence.sync_ends(alice.user_id, alice.device_id)
    assert len(told) == 1
    presence.close()


async def test_changes_are_read_by_position(server: UserServer) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    before = server.stream.position
    presence = server.services.presence
    await presence.sync_begins(alice.user_id, alice.device_id)
    middle = server.stream.position
    await presence.sync_begins(bob.user_id, bob.device_id)
    everybody = [alice.user_id, bob.user_id]
    assert await presence.list_changed_users(before, server.stream.position) == everybody
    assert (await presence.content_of(alice.user_id))["presence"] == "online"
    assert await presence.list_changed_users(middle, middle + 99) == [bob.user_id]
    presence.close()


async def test_last_state_outlives_a_restart(server: UserServer) -> None:
    alice = await server.register("alice")
    path = f"/presence/{alice.user_id}/status"
    await server.put(path, {"presence": "online", "status_msg": "here"}, token=alice.token)
    server.services.presence.close()
    again = open_user_server(server.db)
    content = await again.services.presence.content_of(alice.user_id)
    assert (content["presence"], content["status_msg"]) == ("offline", "here")


async def test_no_timer_is_left_when_everybody_has_gone(server: UserServer) -> None:
    alice = await server.register("alice")
    presence = server.services.presence
    await presence.sync_begins(alice.user_id, alice.device_id)
    presence.sync_ends(alice.user_id, alice.device_id)
    await server.clock.advance(120)
    await settle()
    assert presence._living == {}
    await server.clock.advance(10)
    assert server.clock.pending == 0


async def test_presence_of_other_servers_is_kept_as_told(server: UserServer) -> None:
    told = tellings(server)
    presence = server.services.presence
    before = server.stream.position
    await presence.set_remote("@x:elsewhere.test", "online", "hi", 5000)
    assert [users for _, users in told] == [("@x:elsewhere.test",)]
    assert await presence.list_changed_users(before, server.stream.position) == ["@x:elsewhere.test"]
    assert await presence.content_of("@x:elsewhere.test") == {
        "presence": "online",
        "status_msg": "hi",
        "last_active_ago": 5000,
        "currently_active": True,
    }
