"""Services are asked for users of their namespaces who are invited before they exist."""

from __future__ import annotations

from tests.appservice_api.appservices import ghost, open_with_appservices, registration
from tests.support.server import SERVER_NAME


async def test_service_makes_the_user_before_the_invite_arrives() -> None:
    irc = registration()
    server, calls = await open_with_appservices(irc)
    alice = await server.register()
    user_id = f"@_irc_nick:{SERVER_NAME}"

    async def make() -> None:
        await ghost(server, irc, "_irc_nick")

    calls.users[user_id] = make
    room_id = await alice.create_room()
    await alice.post(f"/rooms/{room_id}/invite", {"user_id": user_id})
    assert calls.asked == [user_id]
    assert await server.homeserver.users.accounts.find_account(user_id) is not None
    other = await alice.create_room(invite=[user_id])
    await alice.put(f"/rooms/{other}/state/m.room.member/{user_id}", {"membership": "invite"})
    assert calls.asked == [user_id]  # who exists is not asked for
    await server.close()


async def test_invite_is_made_whatever_the_service_answers_and_others_are_not_asked_for() -> None:
    server, calls = await open_with_appservices(registration())
    alice = await server.register()
    unknown = f"@_irc_nobody:{SERVER_NAME}"
    room_id = await alice.create_room(invite=[unknown])
    assert calls.asked == [unknown]
    assert (await alice.get(f"/rooms/{room_id}/state/m.room.member/{unknown}"))["membership"] == "invite"
    await alice.post(f"/rooms/{room_id}/invite", {"user_id": f"@somebody:{SERVER_NAME}"})
    assert calls.asked == [unknown]
    await server.close()
