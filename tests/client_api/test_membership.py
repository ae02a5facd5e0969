"""Who may come, go, ask, invite and throw out: every transition, and every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.server import SERVER_NAME, Server, User


async def people(server: Server, *names: str) -> list[User]:
    return [await server.register(name) for name in names]


async def membership(reader: User, room: str, user: User) -> Any:
    answer = await reader.request("GET", f"/rooms/{room}/state/m.room.member/{user.user_id}")
    return answer.json.get("membership")


async def refused(user: User, path: str, body: Any = None, status: int = 403, errcode: str = "M_FORBIDDEN") -> None:
    answer = await user.request("POST", path, {} if body is None else body)
    assert (answer.status, answer.json["errcode"]) == (status, errcode), answer.body


async def put_into(room: str, alice: User, bob: User, state: str) -> None:
    """Bring bob into a state of membership in alice's public room."""
    target = {"user_id": bob.user_id}
    match state:
        case "join":
            await bob.join(room)
        case "invite":
            await alice.invite(room, bob)
        case "left":
            await bob.join(room)
            await bob.post(f"/rooms/{room}/leave")
        case "ban":
            await alice.post(f"/rooms/{room}/ban", target)
        case "knock":
            await alice.set_state(room, "m.room.join_rules", {"join_rule": "knock"})
            await bob.post(f"/knock/{room}")


TRANSITIONS = [
    # state before, who acts, action, status, membership afterwards
    ("none", "bob", "join", 200, "join"),
    ("none", "bob", "leave", 403, None),
    ("none", "bob", "knock", 403, None),
    ("none", "alice", "invite", 200, "invite"),
    ("none", "alice", "kick", 403, None),
    ("none", "alice", "ban", 200, "ban"),
    ("none", "alice", "unban", 403, None),
    ("join", "bob", "join", 200, "join"),
    ("join", "bob", "leave", 200, "leave"),
    ("join", "alice", "invite", 403, "join"),
    ("join", "alice", "kick", 200, "leave"),
    ("join", "alice", "ban", 200, "ban"),
    ("join", "alice", "unban", 403, "join"),
    ("invite", "bob", "join", 200, "join"),
    ("invite", "bob", "leave", 200, "leave"),
    ("invite", "alice", "invite", 200, "invite"),
    ("invite", "alice", "kick", 200, "leave"),
    ("invite", "alice", "ban", 200, "ban"),
    ("left", "bob", "join", 200, "join"),
    ("left", "bob", "leave", 200, "leave"),
    ("left", "alice", "invite", 200, "invite"),
    ("left", "alice", "kick", 403, "leave"),
    ("left", "alice", "ban", 200, "ban"),
    ("ban", "bob", "join", 403, "ban"),
    ("ban", "bob", "leave", 403, "ban"),
    ("ban", "bob", "knock", 403, "ban"),
    ("ban", "alice", "invite", 403, "ban"),
    ("ban", "alice", "kick", 403, "ban"),
    ("ban", "alice", "ban", 200, "ban"),
    ("ban", "alice", "unban", 200, "leave"),
    ("knock", "bob", "join", 403, "knock"),
    ("knock", "bob", "leave", 200, "leave"),
    ("knock", "bob", "knock", 200, "knock"),
    ("knock", "alice", "invite", 200, "invite"),
    ("knock", "alice", "kick", 200, "leave"),
    ("knock", "alice", "ban", 200, "ban"),
]


@pytest.mark.parametrize(("before", "actor", "action", "status", "after"), TRANSITIONS)
async def test_membership_changes_as_the_rules_say(
    whole_server: Server, before: str, actor: str, action: str, status: int, after: str | None
) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    room = await alice.create_room(preset="public_chat")
    await put_into(room, alice, bob, before)
    path = f"/knock/{room}" if action == "knock" else f"/rooms/{room}/{action}"
    body = {"user_id": bob.user_id} if actor == "alice" else {}
    user = alice if actor == "alice" else bob
    assert (await user.request("POST", path, body)).status == status
    assert await membership(alice, room, bob) == after


@pytest.mark.parametrize("action", ["invite", "kick", "ban", "unban"])
async def test_outsiders_and_the_powerless_do_nothing_to_others(whole_server: Server, action: str) -> None:
    alice, bob, carol = await people(whole_server, "alice", "bob", "carol")
    room = await alice.create_room(preset="public_chat")
    if action == "unban":
        await alice.post(f"/rooms/{room}/ban", {"user_id": carol.user_id})
    elif action != "invite":
        await carol.join(room)
    await refused(bob, f"/rooms/{room}/{action}", {"user_id": carol.user_id})
    await bob.join(room)
    await refused(bob, f"/rooms/{room}/{action}", {"user_id": carol.user_id})
    await refused(bob, f"/rooms/{room}/{action}", {"user_id": "carol"}, 400, "M_INVALID_PARAM")


async def test_reasons_are_kept(whole_server: Server) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    room = await alice.create_room(preset="public_chat")
    target = {"user_id": bob.user_id}

    async def reason() -> Any:
        return (await alice.get(f"/rooms/{room}/state/m.room.member/{bob.user_id}")).get("reason")

    for user, action in ((alice, "invite"), (bob, "join"), (bob, "leave"), (alice, "ban"), (alice, "unban")):
        body = {"reason": f"because {action}", **(target if user is alice else {})}
        await user.post(f"/rooms/{room}/{action}", body)
        assert await reason() == f"because {action}"
    await bob.join(room)
    assert await reason() is None
    await alice.post(f"/rooms/{room}/kick", {"reason": "out", **target})
    assert await reason() == "out"
    await refused(bob, f"/rooms/{room}/join", {"reason": 5}, 400, "M_BAD_JSON")


@pytest.mark.parametrize(
    ("join_rule", "version"), [("restricted", "8"), ("restricted", "12"), ("knock_restricted", "10")]
)
async def test_restricted_join_needs_an_allowed_room(whole_server: Server, join_rule: str, version: str) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    space = await alice.create_room(preset="public_chat")
    rule = {"join_rule": join_rule, "allow": [{"type": "m.room_membership", "room_id": space}, {"type": "x"}, 5]}
    room = await alice.create_room(room_version=version, initial_state=[{"type": "m.room.join_rules", "content": rule}])
    await refused(bob, f"/rooms/{room}/join")
    await bob.join(space)
    await bob.join(room)
    content = await alice.get(f"/rooms/{room}/state/m.room.member/{bob.user_id}")
    assert content == {"membership": "join", "join_authorised_via_users_server": alice.user_id}
    await bob.put(f"/profile/{bob.user_id}/displayname", {"displayname": "Bob"})
    content = await alice.get(f"/rooms/{room}/state/m.room.member/{bob.user_id}")
    assert content == {"membership": "join", "displayname": "Bob"}
    if join_rule == "knock_restricted":
        await bob.post(f"/rooms/{room}/leave")
        await bob.post(f"/rooms/{space}/leave")
        await refused(bob, f"/rooms/{room}/join")
        await bob.post(f"/knock/{room}", {"reason": "please"})
        assert await membership(alice, room, bob) == "knock"


async def test_invited_user_needs_no_allowed_room_and_nobody_forges_the_authoriser(whole_server: Server) -> None:
    alice, bob, carol = await people(whole_server, "alice", "bob", "carol")
    rule = {"join_rule": "restricted", "allow": []}
    room = await alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": rule}])
    await alice.invite(room, bob)
    await bob.join(room)
    forged = {"membership": "join", "join_authorised_via_users_server": alice.user_id}
    answer = await carol.request("PUT", f"/rooms/{room}/state/m.room.member/{carol.user_id}", forged)
    assert answer.status == 403


@pytest.mark.parametrize("version", ["6", "7"])
async def test_unknown_join_rule_of_an_old_version_lets_nobody_in(whole_server: Server, version: str) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    space = await alice.create_room(preset="public_chat")
    await bob.join(space)
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room = await alice.create_room(room_version=version, initial_state=[{"type": "m.room.join_rules", "content": rule}])
    await refused(bob, f"/rooms/{room}/join")


async def test_knock_needs_the_rule_and_the_version(whole_server: Server) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    closed = await alice.create_room()
    await refused(bob, f"/knock/{closed}")
    rule = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    old = await alice.create_room(room_version="6", initial_state=rule)
    await refused(bob, f"/knock/{old}")
    room = await alice.create_room(initial_state=rule, room_alias_name="door", name="Door")
    assert (await bob.post(f"/knock/%23door:{SERVER_NAME}", {"reason": "let me in"}))["room_id"] == room
    knock = (await bob.sync())["rooms"]["knock"][room]["knock_state"]["events"]
    assert {one["type"] for one in knock} >= {"m.room.create", "m.room.name", "m.room.join_rules"}
    assert knock[-1]["content"] == {"membership": "knock", "reason": "let me in"}
    await refused(bob, f"/knock/!nowhere:{SERVER_NAME}", status=403, errcode="M_FORBIDDEN")
    await alice.invite(room, bob)
    await refused(bob, f"/knock/{room}")
    await bob.join(room)
    await refused(bob, f"/knock/{room}")


async def test_joining_by_alias_and_unknown_rooms(whole_server: Server) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    room = await alice.create_room(preset="public_chat", room_alias_name="hall")
    assert (await bob.post(f"/join/%23hall:{SERVER_NAME}"))["room_id"] == room
    assert (await bob.post(f"/join/{room}"))["room_id"] == room
    await refused(bob, f"/join/%23nothing:{SERVER_NAME}", status=404, errcode="M_NOT_FOUND")
    await refused(bob, f"/join/!nothing:{SERVER_NAME}", status=403, errcode="M_FORBIDDEN")
    await refused(bob, "/join/nonsense", status=400, errcode="M_INVALID_PARAM")


async def test_empty_room_can_be_joined_again_and_its_invites_declined(whole_server: Server) -> None:
    alice, bob, carol = await people(whole_server, "alice", "bob", "carol")
    room = await alice.create_room(preset="public_chat", room_alias_name="hall", invite=[carol.user_id])
    await alice.post(f"/rooms/{room}/leave")
    await carol.post(f"/rooms/{room}/leave")
    assert (await bob.post(f"/join/%23hall:{SERVER_NAME}"))["room_id"] == room


async def test_forgotten_room_is_out_of_sight(whole_server: Server) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    said = await alice.say(room, "hello")
    await refused(bob, f"/rooms/{room}/forget", status=400, errcode="M_UNKNOWN")
    await bob.post(f"/rooms/{room}/leave")
    assert (await bob.get(f"/rooms/{room}/messages", dir="b"))["chunk"]
    include = '{"room":{"include_leave":true}}'
    assert room in (await bob.get("/sync", filter=include))["rooms"]["leave"]
    for _ in range(2):
        await bob.post(f"/rooms/{room}/forget")
    assert "rooms" not in await bob.get("/sync", filter=include)
    for path in ("messages?dir=b", "state", "members", f"event/{said}", f"context/{said}"):
        assert (await bob.request("GET", f"/rooms/{room}/{path}")).status in (403, 404), path
    await bob.join(room)
    assert (await bob.get(f"/rooms/{room}/messages", dir="b"))["chunk"]
    await refused(alice, f"/rooms/!nothing:{SERVER_NAME}/forget", status=400, errcode="M_UNKNOWN")


async def test_profile_change_reaches_every_room_of_the_user(whole_server: Server) -> None:
    alice, bob = await people(whole_server, "alice", "bob")
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    left, private = await alice.create_room(preset="public_chat"), await alice.create_room(preset="public_chat")
    for room in (*rooms, left, private):
        await bob.join(room)
    await bob.post(f"/rooms/{left}/leave")
    # Under a join rule that nobody knows, not even members may say anything about their membership.
    await alice.set_state(private, "m.room.join_rules", {"join_rule": "org.example.none"})
    await bob.put(f"/profile/{bob.user_id}/displayname", {"displayname": "Bobby"})
    for room in rooms:
        content = await alice.get(f"/rooms/{room}/state/m.room.member/{bob.user_id}")
        assert content == {"membership": "join", "displayname": "Bobby"}
    assert await membership(alice, left, bob) == "leave"


async def test_guest_joins_only_where_guests_may(whole_server: Server) -> None:
    alice = await whole_server.register("alice")
    answer = await whole_server.request("POST", "/register", {}, kind="guest")
    guest = User(whole_server, answer.json["user_id"], answer.json["access_token"], answer.json["device_id"])
    closed = await alice.create_room(preset="public_chat")
    await refused(guest, f"/rooms/{closed}/join", errcode="M_GUEST_ACCESS_FORBIDDEN")
    await refused(guest, f"/join/{closed}", errcode="M_GUEST_ACCESS_FORBIDDEN")
    can_join = [{"type": "m.room.guest_access", "content": {"guest_access": "can_join"}}]
    opened = await alice.create_room(preset="public_chat", initial_state=can_join)
    await guest.join(opened)
    await guest.say(opened, "hello")
    # "Guests can now send any event type", and since v1.2 state, where their power suffices.
    levels = await alice.get(f"/rooms/{opened}/state/m.room.power_levels")
    await alice.set_state(opened, "m.room.power_levels", {**levels, "events": {**levels["events"], "m.room.topic": 0}})
    await guest.set_state(opened, "m.room.topic", {"topic": "of a guest"})
    bob = await whole_server.register("bob")
    await bob.join(opened)
    await alice.set_state(opened, "m.room.guest_access", {"guest_access": "forbidden"})
    assert await membership(alice, opened, guest) == "leave"
    assert await membership(alice, opened, bob) == "join"


async def test_member_event_sent_as_state_follows_the_same_rules(whole_server: Server) -> None:
    alice, bob, carol = await people(whole_server, "alice", "bob", "carol")
    room = await alice.create_room()
    put = f"/rooms/{room}/state/m.room.member/"
    invited = await alice.set_state(room, "m.room.member", {"membership": "invite"}, bob.user_id)
    assert await alice.set_state(room, "m.room.member", {"membership": "invite"}, bob.user_id) == invited
    await bob.set_state(room, "m.room.member", {"membership": "join", "displayname": "B"}, bob.user_id)
    for content in ({"membership": "nonsense"}, {}, {"membership": 5}):
        answer = await bob.request("PUT", put + bob.user_id, content)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await bob.request("PUT", put + carol.user_id, {"membership": "join"})).status == 403
    assert (await carol.request("PUT", put + carol.user_id, {"membership": "join"})).status == 403
    assert (await alice.request("PUT", put + "nobody", {"membership": "invite"})).status in (400, 403)
    await alice.set_state(room, "m.room.member", {"membership": "ban"}, bob.user_id)
    assert await membership(alice, room, bob) == "ban"


async def test_memberships_are_the_same_on_each_engine(stored_server: Server) -> None:
    alice, bob = await people(stored_server, "alice", "bob")
    room = await alice.create_room(preset="public_chat")
    for state in ("join", "left", "invite", "ban"):
        await put_into(room, alice, bob, state)
    assert await membership(alice, room, bob) == "ban"
    assert (await alice.get(f"/rooms/{room}/members", membership="ban"))["chunk"][0]["state_key"] == bob.user_id
