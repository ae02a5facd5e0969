"""Conversations about rooms: creation, memberships, state, aliases, directories, spaces, upgrades."""

from __future__ import annotations

from typing import Any

from tests.end_to_end.comparison.player import V1, Player

STATE = {"unordered": ("$",)}


def presets(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    for preset in ("private_chat", "trusted_private_chat", "public_chat"):
        room = p.room(
            f"create {preset}", ann, preset=preset, name=f"Room {preset}", topic="About it", invite=[ben.user_id]
        )
        p.get(f"state of {preset}", ann, "/rooms/{}/state", room, **STATE)
    for visibility in ("public", "private"):
        room = p.room(f"create by visibility {visibility}", ann, visibility=visibility)
        p.get(f"state by visibility {visibility}", ann, "/rooms/{}/state", room, **STATE)
        p.get(f"listed by visibility {visibility}", ann, "/directory/list/room/{}", room)
    for version in ("1", "6", "9", "10", "11", "12"):
        room = p.room(f"create version {version}", ann, room_version=version, preset="private_chat")
        p.get(f"state of version {version}", ann, "/rooms/{}/state", room, **STATE)
    p.post("unknown version", ann, "/createRoom", body={"room_version": "99"})
    p.post("version that is no text", ann, "/createRoom", body={"room_version": 1})
    p.post("unknown preset", ann, "/createRoom", body={"preset": "secret_chat"})
    p.post("invite nobody", ann, "/createRoom", body={"invite": ["nobody"]})
    p.post("visibility of another kind", ann, "/createRoom", body={"visibility": "other"})


def creation_options(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    room = p.room(
        "create with everything",
        ann,
        name="Everything",
        topic="All of it",
        room_alias_name=p.localpart("everything"),
        creation_content={"type": "m.space", "m.federate": False, "org.example": {"x": 1}},
        initial_state=[
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.join_rules", "content": {"join_rule": "knock"}},
            {"type": "org.example.state", "state_key": "k", "content": {"v": [1, "2", None]}},
            {"type": "m.room.name", "content": {"name": "Name from state"}},
        ],
        power_level_content_override={"events_default": 10, "users_default": 5},
        is_direct=True,
        invite=[ben.user_id],
        preset="public_chat",
    )
    p.get("its state", ann, "/rooms/{}/state", room, **STATE)
    p.sync("the invited", ben)
    p.post("alias that is taken", ann, "/createRoom", body={"room_alias_name": p.localpart("everything")})
    p.post("alias with a colon", ann, "/createRoom", body={"room_alias_name": "a:b"})
    p.post("alias with a space", ann, "/createRoom", body={"room_alias_name": "a b"})
    p.post("initial state that is no list", ann, "/createRoom", body={"initial_state": {}})
    p.post("initial state without type", ann, "/createRoom", body={"initial_state": [{"content": {}}]})
    p.post(
        "power levels that are no numbers", ann, "/createRoom", body={"power_level_content_override": {"ban": "high"}}
    )
    p.post("name that is no text", ann, "/createRoom", body={"name": 7})
    creators = {"additional_creators": [ben.user_id]}
    two = p.room("two creators", ann, creation_content=creators)
    p.get("state with two creators", ann, "/rooms/{}/state", two, **STATE)
    trusted = p.room("trusted creators", ann, preset="trusted_private_chat", invite=[ben.user_id])
    p.get("state of trusted creators", ann, "/rooms/{}/state", trusted, **STATE)
    p.post("creators that are no users", ann, "/createRoom", body={"creation_content": {"additional_creators": ["x"]}})


def memberships(p: Player) -> None:
    ann, ben, cid, dan = (p.account(name) for name in ("ann", "ben", "cid", "dan"))
    room = p.room("create", ann, preset="private_chat", name="Members", room_version="11")
    p.post("join without an invite", ben, "/rooms/{}/join", room)
    p.post("invite", ann, "/rooms/{}/invite", room, body={"user_id": ben.user_id, "reason": "come in"})
    p.post("invite again", ann, "/rooms/{}/invite", room, body={"user_id": ben.user_id})
    p.sync("invited", ben)
    p.post("join", ben, "/rooms/{}/join", room, body={"reason": "thanks"})
    p.post("join again", ben, "/rooms/{}/join", room)
    p.post("invite a member", ann, "/rooms/{}/invite", room, body={"user_id": ben.user_id})
    p.post("invite by a member without power", ben, "/rooms/{}/invite", room, body={"user_id": cid.user_id})
    p.post("kick without power", cid, "/rooms/{}/kick", room, body={"user_id": ben.user_id})
    p.post("join by the other path", cid, "/join/{}", room)
    p.get("members", ben, "/rooms/{}/members", room, unordered=("$.chunk",))
    p.get("members who joined", ben, "/rooms/{}/members", room, query={"membership": "join"}, unordered=("$.chunk",))
    p.get(
        "members who did not leave",
        ben,
        "/rooms/{}/members",
        room,
        query={"not_membership": "leave"},
        unordered=("$.chunk",),
    )
    p.get("joined members", ben, "/rooms/{}/joined_members", room)
    p.get("joined rooms", ben, "/joined_rooms")
    p.post("kick", ann, "/rooms/{}/kick", room, body={"user_id": ben.user_id, "reason": "out"})
    p.get("state of the kicked", ben, "/rooms/{}/state", room, **STATE)
    p.get("members for the kicked", ben, "/rooms/{}/members", room, unordered=("$.chunk",))
    p.get("joined members for the kicked", ben, "/rooms/{}/joined_members", room)
    p.put("send after the kick", ben, "/rooms/{}/send/m.room.message/1", room, body={"msgtype": "m.text", "body": "x"})
    p.post("kick one who is gone", ann, "/rooms/{}/kick", room, body={"user_id": ben.user_id})
    p.post("forget", ben, "/rooms/{}/forget", room)
    p.get("state after forgetting", ben, "/rooms/{}/state", room, **STATE)
    p.post("forget a room one is in", ann, "/rooms/{}/forget", room)
    p.post("ban", ann, "/rooms/{}/ban", room, body={"user_id": cid.user_id, "reason": "no"})
    p.post("invite the banned", ann, "/rooms/{}/invite", room, body={"user_id": cid.user_id})
    p.post("join of the banned", cid, "/rooms/{}/join", room)
    p.post("ban again", ann, "/rooms/{}/ban", room, body={"user_id": cid.user_id})
    p.post("unban", ann, "/rooms/{}/unban", room, body={"user_id": cid.user_id})
    p.post("unban one who is not banned", ann, "/rooms/{}/unban", room, body={"user_id": dan.user_id})
    p.post("leave a room one is not in", dan, "/rooms/{}/leave", room)
    p.post("invite dan", ann, "/rooms/{}/invite", room, body={"user_id": dan.user_id})
    p.post("reject", dan, "/rooms/{}/leave", room, body={"reason": "no thanks"})
    p.post("leave", ann, "/rooms/{}/leave", room)
    p.get("state after leaving", ann, "/rooms/{}/state", room, **STATE)
    p.post("leave again", ann, "/rooms/{}/leave", room)
    p.post("join the room that everybody left", ann, "/rooms/{}/join", room)
    p.post("join an unknown room", ann, "/rooms/{}/join", "!unknown:halfdoor.test")
    p.post("join an unknown alias", ann, "/join/{}", "#unknown:halfdoor.test")
    p.post("join nonsense", ann, "/join/{}", "nonsense")
    p.get("members of an unknown room", ann, "/rooms/{}/members", "!unknown:halfdoor.test")


def knocking(p: Player) -> None:
    ann, ben, cid = (p.account(name) for name in ("ann", "ben", "cid"))
    knock = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
    room = p.room("create", ann, name="Knock here", initial_state=[knock])
    p.post("join instead of knocking", ben, "/join/{}", room)
    p.post("knock", ben, "/knock/{}", room, body={"reason": "let me in"})
    p.post("knock again", ben, "/knock/{}", room)
    p.sync("who knocked", ben)
    p.sync("who sees it", ann)
    p.post("answer the knock", ann, "/rooms/{}/invite", room, body={"user_id": ben.user_id})
    p.post("join", ben, "/join/{}", room)
    p.post("knock as a member", ben, "/knock/{}", room)
    p.post("another knock", cid, "/knock/{}", room)
    p.post("refuse it", ann, "/rooms/{}/kick", room, body={"user_id": cid.user_id, "reason": "no"})
    p.post("knock once more", cid, "/knock/{}", room)
    p.post("take it back", cid, "/rooms/{}/leave", room)
    closed = p.room("create without knocking", ann)
    p.post("knock where it is not open", ben, "/knock/{}", closed)
    p.post("knock at an unknown room", ben, "/knock/{}", "!unknown:halfdoor.test")


def restricted(p: Player) -> None:
    ann, ben, cid = (p.account(name) for name in ("ann", "ben", "cid"))
    club = p.room("create club", ann, preset="public_chat")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    room = p.room("create", ann, name="Club room", initial_state=[{"type": "m.room.join_rules", "content": rule}])
    p.post("join without the club", ben, "/join/{}", room)
    p.post("join the club", ben, "/join/{}", club)
    p.post("join with the club", ben, "/join/{}", room)
    p.get("member event", ben, "/rooms/{}/state/m.room.member/{}", room, ben.user_id)
    knock = {"join_rule": "knock_restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    p.state("change the rule", ann, room, "m.room.join_rules", knock)
    p.post("knock", cid, "/knock/{}", room)
    p.post("join the club too", cid, "/join/{}", club)
    p.post("join after all", cid, "/join/{}", room)
    p.get("summary", cid, V1 + "/room_summary/{}", room)


def state_events(p: Player) -> None:
    ann, ben, cid = p.account("ann"), p.account("ben"), p.account("cid")
    room = p.room("create", ann, preset="public_chat", room_version="11")
    p.post("join", ben, "/join/{}", room)
    path = "/rooms/{}/state/{}"
    p.state("set name", ann, room, "m.room.name", {"name": "Named"})
    p.state("set the same name", ann, room, "m.room.name", {"name": "Named"})
    p.get("name", ann, path, room, "m.room.name")
    p.get("name with a slash", ann, path + "/", room, "m.room.name")
    p.get("name as an event", ann, path, room, "m.room.name", query={"format": "event"})
    p.get("absent", ann, path, room, "m.room.topic")
    p.get("absent with a key", ann, path + "/{}", room, "org.example", "some key/with slash")
    p.state("with a key", ann, room, "org.example", {"x": 1}, "some key/with slash")
    p.get("with a key, read", ann, path + "/{}", room, "org.example", "some key/with slash")
    p.state("without power", ben, room, "m.room.name", {"name": "x"})
    p.state("somebody else's key", ben, room, "org.example.own", {}, ann.user_id)
    p.state(
        "member event by hand", ben, room, "m.room.member", {"membership": "join", "displayname": "Benny"}, ben.user_id
    )
    p.state("somebody else's membership", ben, room, "m.room.member", {"membership": "leave"}, ann.user_id)
    p.state("membership of nonsense", ann, room, "m.room.member", {"membership": "nonsense"}, ann.user_id)
    p.state("second create event", ann, room, "m.room.create", {})
    levels = p.get("power levels", ann, path, room, "m.room.power_levels")
    p.state("raise ben", ann, room, "m.room.power_levels", {**levels, "users": {**levels["users"], ben.user_id: 50}})
    p.state(
        "ben raises himself",
        ben,
        room,
        "m.room.power_levels",
        {**levels, "users": {**levels["users"], ben.user_id: 100}},
    )
    p.state("levels that are text", ann, room, "m.room.power_levels", {**levels, "ban": "50"})
    p.state("ben names the room", ben, room, "m.room.name", {"name": "By Ben"})
    p.state("alias that does not exist", ann, room, "m.room.canonical_alias", {"alias": "#not-there:halfdoor.test"})
    p.state("alias that is no alias", ann, room, "m.room.canonical_alias", {"alias": "nonsense"})
    p.state("server acl", ann, room, "m.room.server_acl", {"allow": ["*"], "deny": ["evil.test"]})
    p.get("outsider reads state", cid, "/rooms/{}/state", room, **STATE)
    p.get("outsider reads name", cid, path, room, "m.room.name")
    p.get("all", ann, "/rooms/{}/state", room, **STATE)
    p.get("of an unknown room", ann, "/rooms/{}/state", "!unknown:halfdoor.test")
    p.state("float", ann, room, "org.example", {"x": 1.5})
    p.state("number too large", ann, room, "org.example", {"x": 2**53})
    p.state("too large", ann, room, "org.example", {"x": "y" * 66000})
    p.state("key too long", ann, room, "org.example", {}, "k" * 256)
    p.state("type too long", ann, room, "t" * 256, {})


def aliases(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    alias = f"#{p.localpart('room')}:{p.server.server_name}"
    path = "/directory/room/{}"
    room = p.room("create", ann, preset="public_chat")
    p.get("absent", ann, path, alias)
    p.put("add", ann, path, alias, body={"room_id": room})
    p.put("add again", ann, path, alias, body={"room_id": room})
    p.get("resolve", None, path, alias)
    p.get("of the room", ann, "/rooms/{}/aliases", room)
    p.get("of the room for an outsider", ben, "/rooms/{}/aliases", room)
    p.post("join by it", ben, "/join/{}", alias)
    p.state("make it canonical", ann, room, "m.room.canonical_alias", {"alias": alias})
    p.delete("removal by one without power", ben, path, alias)
    p.delete("remove", ann, path, alias)
    p.delete("remove again", ann, path, alias)
    p.get("canonical alias after removal", ann, "/rooms/{}/state/{}", room, "m.room.canonical_alias")
    p.put("for an unknown room", ann, path, alias, body={"room_id": "!unknown:halfdoor.test"})
    p.put("without room", ann, path, alias, body={})
    p.put("nonsense as alias", ann, path, "nonsense", body={"room_id": room})
    p.put("of another server", ann, path, "#a:elsewhere.test", body={"room_id": room})
    p.get("nonsense resolved", ann, path, "nonsense")


def directory(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    word = p.localpart("zebra")
    first = p.room("create first", ann, visibility="public", preset="public_chat", name=f"{word} one", topic="stripes")
    second = p.room(
        "create second", ann, preset="public_chat", name=f"{word} two", creation_content={"type": "m.space"}
    )
    p.post("join second", ben, "/join/{}", second)
    listing = "/directory/list/room/{}"
    p.get("second is not listed", None, listing, second)
    p.put("list by one without power", ben, listing, second, body={"visibility": "public"})
    p.put("list", ann, listing, second, body={"visibility": "public"})
    p.get("second is listed", None, listing, second)
    p.put("wrong visibility", ann, listing, second, body={"visibility": "secret"})
    p.get("visibility of an unknown room", None, listing, "!unknown:halfdoor.test")
    wanted = {"filter": {"generic_search_term": word}}

    def both(answer: dict[str, Any]) -> bool:
        return len(answer["chunk"]) == 2

    p.post("search", ben, "/publicRooms", body=wanted, until=both)
    p.post("search by topic", ben, "/publicRooms", body={"filter": {"generic_search_term": "STRIPES"}})
    page = p.post("first page", ben, "/publicRooms", body={**wanted, "limit": 1})
    if "next_batch" in page:
        p.post("second page", ben, "/publicRooms", body={**wanted, "limit": 1, "since": page["next_batch"]})
    p.post(
        "spaces only", ben, "/publicRooms", body={"filter": {"generic_search_term": word, "room_types": ["m.space"]}}
    )
    p.post("rooms only", ben, "/publicRooms", body={"filter": {"generic_search_term": word, "room_types": [None]}})
    p.post("nothing found", ben, "/publicRooms", body={"filter": {"generic_search_term": "no such room anywhere"}})
    p.put("unlist", ann, listing, first, body={"visibility": "private"})
    p.post("search after unlisting", ben, "/publicRooms", body=wanted, until=lambda answer: len(answer["chunk"]) == 1)
    p.post("wrong limit", ben, "/publicRooms", body={"limit": "many"})
    p.get("wrong token", None, "/publicRooms", query={"since": "nonsense"})


def summaries(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    alias = f"#{p.localpart('open')}:{p.server.server_name}"
    opened = p.room(
        "create open", ann, preset="public_chat", name="Open", topic="T", room_alias_name=p.localpart("open")
    )
    closed = p.room("create closed", ann, name="Closed")
    path = V1 + "/room_summary/{}"
    p.get("by id", ben, path, opened)
    p.get("by alias", ben, path, alias)
    p.get("without a token", None, path, opened)
    p.get("closed", ben, path, closed)
    p.get("closed for its member", ann, path, closed)
    p.get("unknown", ben, path, "!unknown:halfdoor.test")
    p.get("old path", ben, "/_matrix/client/unstable/im.nheko.summary/summary/{}", opened)


def hierarchy(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    via = {"via": [p.server.server_name]}
    space = p.room("create space", ann, name="Space", preset="public_chat", creation_content={"type": "m.space"})
    inner = p.room("create inner", ann, name="Inner", preset="public_chat", creation_content={"type": "m.space"})
    rooms = [p.room(f"create room {n}", ann, name=f"Room {n}", preset="public_chat") for n in range(3)]
    hidden = p.room("create hidden", ann, name="Hidden")
    p.state("child inner", ann, space, "m.space.child", {**via, "order": "b"}, inner)
    p.state("child room 0", ann, space, "m.space.child", {**via, "order": "a", "suggested": True}, rooms[0])
    p.state("child room 1", ann, inner, "m.space.child", {**via, "suggested": True}, rooms[1])
    p.state("child room 2", ann, inner, "m.space.child", {**via, "order": "!"}, rooms[2])
    p.state("child hidden", ann, space, "m.space.child", via, hidden)
    p.state("child without via", ann, space, "m.space.child", {}, rooms[2])
    p.state("parent", ann, rooms[0], "m.space.parent", {**via, "canonical": True}, space)
    path = V1 + "/rooms/{}/hierarchy"
    p.get("whole for the owner", ann, path, space)
    p.get("whole for a stranger", ben, path, space)
    p.get("suggested only", ben, path, space, query={"suggested_only": True})
    p.get("depth one", ben, path, space, query={"max_depth": 1})
    page = p.get("first page", ben, path, space, query={"limit": 2})
    if "next_batch" in page:
        p.get("second page", ben, path, space, query={"limit": 2, "from": page["next_batch"]})
        p.get(
            "page with another depth", ben, path, space, query={"limit": 2, "max_depth": 1, "from": page["next_batch"]}
        )
    p.get("hidden for a stranger", ben, path, hidden)
    p.get("unknown", ben, path, "!unknown:halfdoor.test")
    p.get("wrong token", ben, path, space, query={"from": "nonsense"})
    p.get("wrong limit", ben, path, space, query={"limit": "x"})


def upgrades(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    alias = p.localpart("old")
    room = p.room("create", ann, preset="public_chat", name="Old", topic="T", room_version="10", room_alias_name=alias)
    p.post("join", ben, "/join/{}", room)
    p.state("avatar", ann, room, "m.room.avatar", {"url": "mxc://halfdoor.test/a"})
    p.post("upgrade without power", ben, "/rooms/{}/upgrade", room, body={"new_version": "11"})
    p.post("to an unknown version", ann, "/rooms/{}/upgrade", room, body={"new_version": "99"})
    p.post("without version", ann, "/rooms/{}/upgrade", room, body={})
    new = p.post("upgrade", ann, "/rooms/{}/upgrade", room, body={"new_version": "11"})["replacement_room"]
    p.get("state of the new room", ann, "/rooms/{}/state", new, **STATE)
    p.get("state of the old room", ann, "/rooms/{}/state", room, **STATE)
    p.get("alias", ann, "/directory/room/{}", f"#{alias}:{p.server.server_name}")
    p.put("send in the old room", ben, "/rooms/{}/send/m.room.message/1", room, body={"msgtype": "m.text", "body": "x"})
    newest = p.post("upgrade to 12", ann, "/rooms/{}/upgrade", new, body={"new_version": "12"})["replacement_room"]
    p.get("state of the newest room", ann, "/rooms/{}/state", newest, **STATE)
    p.post("upgrade an unknown room", ann, "/rooms/{}/upgrade", "!unknown:halfdoor.test", body={"new_version": "11"})


def user_directory(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben", display_name=f"Xylophone {p.topic}")
    path = "/user_directory/search"
    p.post("stranger", ann, path, body={"search_term": "Xylophone"})
    room = p.room("create", ann, preset="private_chat", invite=[ben.user_id])
    p.post("join", ben, "/join/{}", room)
    p.post(
        "by name",
        ann,
        path,
        body={"search_term": f"Xylophone {p.topic}"},
        until=lambda answer: len(answer["results"]) == 1,
    )
    p.post("by the beginning", ann, path, body={"search_term": "xylo"})
    p.post("by user id", ann, path, body={"search_term": ben.user_id})
    p.post("nothing", ann, path, body={"search_term": "nobody is called so"})
    p.post("limit", ann, path, body={"search_term": "Xylophone", "limit": 1})
    p.post("without a term", ann, path, body={})


CONVERSATIONS = {
    "presets": presets,
    "creation-options": creation_options,
    "memberships": memberships,
    "knocking": knocking,
    "restricted": restricted,
    "state-events": state_events,
    "aliases": aliases,
    "directory": directory,
    "summaries": summaries,
    "hierarchy": hierarchy,
    "upgrades": upgrades,
    "user-directory": user_directory,
}
